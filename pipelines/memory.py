"""What a process does with the memory that its tensors leave behind."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of glibc's settings in malloc.h."""
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed, up to 2 GiB, for the next tensor of its size.

    By default memory above 32 MiB goes back to the kernel at once, and comes again page by page,
    each filled with zeros: a quarter of the training step of an LSTM of 4096.

    Returns:
        Whether this is glibc, and took it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _MOST) and mallopt(_TRIM_THRESHOLD, _MOST))
