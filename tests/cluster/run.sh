#!/usr/bin/env bash
# Runs the tests that need a cluster of several hosts, which are namespaces of this machine: all of
# it in a PID, network and mount namespace of its own, so that whatever happens nothing is left
# running, listening or mounted, and `ray stop` there stops nothing of anyone else.
#   tests/cluster/run.sh PYTHON [ARGUMENTS OF PYTEST]
# CLUSTER_TESTS: marks of the tests; unset: those that are not long. CLUSTER_LIMIT_S: all must end.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$1
shift
marks=${CLUSTER_TESTS:-cluster and not long}

missing() {
    for package in openssh-server:sshd iproute2:ip rsync:rsync procps:ps bindfs:bindfs \
        gcc:gcc; do
        command -v "${package#*:}" > /dev/null || echo "${package%:*}"
    done
    [ -e /usr/include/stdio.h ] || echo libc6-dev
}
export PATH=$PATH:/usr/sbin:/sbin
if [ "$(id -u)" != 0 ]; then
    why="it takes root to make hosts of namespaces"
elif [ -n "$(missing)" ] && ! { command -v apt-get > /dev/null &&
    timeout 60 apt-get update -qq && export DEBIAN_FRONTEND=noninteractive &&
    install="apt-get install -y -qq --no-install-recommends $(missing)" &&
    timeout 120 $install --download-only > /dev/null && $install > /dev/null; }; then
    why="these Debian packages are not here and can't be installed: $(missing | xargs)"
elif ! why=$(unshare --pid --fork --mount-proc --mount --net --uts bash -ec '
    mount -t tmpfs tmpfs /mnt
    ip link add hosts0 type bridge
    ip link add h0 type veth peer name t0' 2>&1); then
    why="namespaces can't be made here: $why"
else
    why=""
fi
if [ -n "$why" ]; then
    exec env NO_HOSTS="$why" "$python" -m pytest -m "$marks" tests/cluster "$@"
fi

# With the packages within 15 minutes.
limit=${CLUSTER_LIMIT_S:-$((870 - SECONDS))}
# What is held by nobody was left by one that was killed outright.
for left in /var/tmp/harness-hosts.*; do
    [ ! -d "$left" ] || flock --nonblock "$left" rm -rf "$left" || true
done
scratch=$(mktemp -d /var/tmp/harness-hosts.XXXXXX)
exec 9< "$scratch"
flock --nonblock 9
# Whoever kills this script kills all of it: the kernel ends the namespace with its first process,
# and that with whatever waits for it.
setpriv --pdeathsig KILL timeout --signal=KILL "$limit" setpriv --pdeathsig KILL \
    unshare --pid --fork --mount-proc --mount --net --uts --kill-child \
    bash -c 'mkdir -p /tmp/ray && mount -t tmpfs tmpfs /tmp/ray && exec "$@"' - \
    env HOSTS_SCRATCH="$scratch" "$python" -m pytest -m "$marks" tests/cluster "$@" &
all=$!
trap 'kill -KILL "$all" 2> /dev/null || true; sleep 1; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM HUP
status=0
wait "$all" || status=$?
[ "$status" != 137 ] || echo "tests/cluster: not done after $limit s, ended" >&2
exit "$status"
