"""The child of `pipelines.sandbox`: decodes one clip at a time until its parent hangs up.

`python -m pipelines.sandbox_child FD PARENT BY_SIGNAL` answers requests on the socket FD; it ends
with the process PARENT, by a signal of the kernel's where BY_SIGNAL is 1.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.decode import ClipReader, DecodeError

_MEMORY_BYTES = 3 * 2**30
"""What a child may take beside its programs: a frame of 8K video takes 100 MB, and a decoder holds
some. A damaged or malicious file asks for more, and gets a refusal instead of the machine."""
_PARENT_CHECK_S = 1.0
_SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl."""


def _die_with(parent: int, by_signal: bool) -> None:
    """End this process when its parent is gone, even while a decoder is at work.

    A child that waits for a request sees the closed socket. One that is busy is killed by the
    kernel (Linux), or ends itself at the next look.
    """
    if by_signal and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_CHECK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _limit_memory() -> None:
    """Let a request for more memory fail here, before the machine runs out of it (Linux)."""
    statistics = Path("/proc/self/statm")
    if not statistics.exists():
        return
    taken = int(statistics.read_text().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = taken + _MEMORY_BYTES
    limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))


def _serve(connection: Connection) -> None:
    """Answer requests until the parent hangs up."""
    reader: ClipReader | None = None
    while True:
        try:
            what, *arguments = connection.recv()
        except EOFError:
            return
        try:
            if what == "ready":
                import av  # noqa: F401  here, so that no clip pays for it
                import decord  # noqa: F401
                import soxr  # noqa: F401

                _limit_memory()
                connection.send(("value", None))
            elif what == "open":
                if reader:
                    reader.close()
                    reader = None
                reader = ClipReader(*arguments)
                connection.send(("value", reader.info))
            elif reader is None:
                connection.send(("refused", "internal", "no clip is open"))
            elif what == "audio":
                samples, rate = reader.audio(*arguments)
                _send_array(connection, samples, rate)
            else:
                _send_array(connection, reader.frames(*arguments))
        except DecodeError as refusal:
            connection.send(("refused", refusal.reason, refusal.detail))
        except MemoryError:
            connection.send(("refused", "too_large", "it takes more memory than the decoder has"))
        except (BrokenPipeError, ConnectionResetError):
            return
        except Exception as problem:  # a bug here costs one clip, not the run
            connection.send(("refused", "internal", f"{type(problem).__name__}: {problem}"))


def _send_array(connection: Connection, array: npt.NDArray[Any], *others: object) -> None:
    """Send an array as its bytes: pickling would copy it."""
    array = np.ascontiguousarray(array)
    connection.send(("array", array.shape, array.dtype.str, others))
    if array.size:
        connection.send_bytes(array.data.cast("B"))


def main(arguments: Sequence[str]) -> None:
    """Serve a parent: its socket, its process, and whether to ask for a death signal."""
    descriptor, parent, by_signal = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _die_with(int(parent), by_signal == "1")
    with Connection(int(descriptor)) as connection:
        _serve(connection)


if __name__ == "__main__":
    main(sys.argv[1:])
