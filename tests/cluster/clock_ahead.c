// A host whose clock differs: loaded into its processes, it adds CLOCK_AHEAD_S to the time of day.
// Clocks that only measure how long something takes stay as they are.
//   gcc -shared -fPIC -o clock_ahead.so clock_ahead.c -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static time_t ahead(void) {
    const char *told = getenv("CLOCK_AHEAD_S");
    return told ? atol(told) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*kernels)(clockid_t, struct timespec *);
    if (!kernels) kernels = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = kernels(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += ahead();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
