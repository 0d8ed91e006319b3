"""Decode clips in a child process that can be killed.

A damaged file can hang a decoder or crash it. `Sandbox` keeps that away from the process that
works: the child is killed when a clip takes too long, started again when it dies, and replaced
after some clips because decord grows with every file that it opens. A clip on which the child dies
gets a second one, without decord: what an earlier clip left behind, a signal from outside or a
fault of decord's is not its own.

The child is `pipelines.sandbox_child`, started as a new program, not forked or spawned by
multiprocessing, which would import the main module of whatever process works here once more.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from pipelines.decode import DecodeError, MediaInfo

_START_LIMIT_S = 120.0
"""For the child to import its decoders: not charged to a clip, and long on a busy machine."""
_STALL_LIMIT_S = 20.0
"""For an answer that has begun to go on."""


class Sandbox:
    """A child process that decodes one clip at a time. For one thread at a time.

    Args:
        time_limit_s: how long the calls for one clip may take together.
        clips_per_child: after how many clips the child is replaced.
    """

    def __init__(self, time_limit_s: float, clips_per_child: int = 50) -> None:
        self._time_limit_s = time_limit_s
        self._clips_per_child = clips_per_child
        self._child: _Child | None = None
        self._clips = 0
        self._left_s = time_limit_s
        self._opened: tuple[object, ...] = ()
        self._second_try = False

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def child_pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        return self._child.process.pid if self._child else None

    def open(
        self, path: str | Path, max_seconds: float | None = None, keep_truncated: bool = False
    ) -> MediaInfo:
        """Turn to a clip; the clip before is let go. The arguments are those of `ClipReader`.

        Raises:
            DecodeError: as `ClipReader`, or time_limit or decoder_crashed.
        """
        self._left_s = self._time_limit_s
        self._second_try = False
        self._opened = ("open", str(path), max_seconds, keep_truncated)
        if self._child and (self._clips >= self._clips_per_child or not self._child.alive()):
            self.close()
        if self._child is None:
            self._start_child()
        self._clips += 1
        info = self._ask(*self._opened)
        assert isinstance(info, MediaInfo)
        return info

    def audio(self, rate: int | None = None) -> tuple[npt.NDArray[np.float32], int]:
        """See `ClipReader.audio`; raises DecodeError time_limit or decoder_crashed, too."""
        samples, actual = self._ask("audio", rate)
        return samples, actual

    def frames(
        self, indices: Sequence[int] | npt.NDArray[np.integer[Any]]
    ) -> npt.NDArray[np.uint8]:
        """See `ClipReader.frames`; raises DecodeError time_limit or decoder_crashed, too."""
        (pictures,) = self._ask("frames", [int(index) for index in indices])
        return np.asarray(pictures, dtype=np.uint8)

    def close(self) -> None:
        """End the child."""
        if self._child:
            self._child.end()
            self._child = None

    def _start_child(self) -> None:
        self._clips = 0
        try:
            self._child = _Child()
        except _DeathError:
            try:
                self._child = _Child()
            except _DeathError as death:
                raise DecodeError(
                    "internal", f"the decoder process did not start: {death}"
                ) from None

    def _ask(self, *request: object) -> Any:
        """The child's answer within what is left of the clip's time."""
        if self._child is None:
            raise RuntimeError("the sandbox has no clip: call open first, also after a DecodeError")
        try:
            return self._ask_child(request)
        except _DeathError as death:
            if self._second_try:
                raise DecodeError("decoder_crashed", f"twice: {death}") from None
        self._second_try = True
        self._start_child()
        self._clips = 1
        info = self._ask(*self._opened, True)
        return info if request == self._opened else self._ask(*request)

    def _ask_child(self, request: tuple[object, ...]) -> Any:
        assert self._child is not None
        started = time.monotonic()
        try:
            return self._child.ask(request, self._left_s)
        except TimeoutError:
            self._child.kill()
            self.close()
            raise DecodeError("time_limit", f"more than {self._time_limit_s:g} s") from None
        except (EOFError, OSError):
            death = _DeathError(self._child.cause_of_death())
            self.close()
            raise death from None
        except DecodeError:
            raise
        except BaseException:
            self.close()  # interrupted: what the child still sends would answer the next question
            raise
        finally:
            self._left_s -= time.monotonic() - started


class _DeathError(Exception):
    """The child ended on its own, or by a signal."""


class _Child:
    """The child process as its parent sees it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        # Reading fails, rather than waits, where an answer stops half way.
        stall = struct.pack("@ll", int(_STALL_LIMIT_S), 0)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, stall)
        # Appended to, so that it can be emptied while the child writes.
        self._chatter: IO[bytes] = tempfile.TemporaryFile("a+b")  # noqa: SIM115  closed by end
        self._connection = Connection(ours.detach())
        with theirs:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "pipelines.sandbox_child",
                    *_arguments(theirs.fileno()),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._chatter,
                env={**os.environ, "PYTHONPATH": _python_path()},
            )
        try:
            self.ask(("ready",), _START_LIMIT_S)
        except (TimeoutError, EOFError, OSError):
            self.kill()
            death = _DeathError(self.cause_of_death())
            self.end()
            raise death from None

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def ask(self, request: tuple[object, ...], limit_s: float) -> Any:
        """The answer to a request.

        Raises:
            TimeoutError: none came within the limit.
            EOFError, OSError: the child is gone.
            DecodeError: the child's own answer.
        """
        self._chatter.truncate(0)
        self._connection.send(request)
        if not self._connection.poll(max(0.0, limit_s)):
            raise TimeoutError
        try:
            return self._receive()
        except BlockingIOError:
            raise TimeoutError from None

    def _receive(self) -> Any:
        kind, *rest = self._connection.recv()
        if kind == "refused":
            raise DecodeError(*rest)
        if kind == "value":
            return rest[0]
        shape, dtype, others = rest
        array = np.empty(shape, dtype=dtype)
        if array.size:
            self._connection.recv_bytes_into(array.data.cast("B"))
        return (array, *others)

    def kill(self) -> None:
        """Kill the process; a hung decoder listens to nothing else."""
        self.process.kill()

    def cause_of_death(self) -> str:
        """The signal or status that the child ended with, and the end of what it wrote."""
        try:
            status = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it does not answer"
        cause = f"status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
        self._chatter.seek(0)
        said = self._chatter.read()[-400:].decode(errors="replace").strip()
        return f"{cause}: {said}" if said else cause

    def end(self) -> None:
        """Close the connection, which ends a child that listens, and wait for it."""
        self._connection.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            # One that waits for a file system that is gone can't even be killed.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=5)
        self._chatter.close()


def _arguments(descriptor: int) -> list[str]:
    """The child's arguments: its socket, its parent, and whether to ask for a death signal."""
    # The kernel ties the signal to the thread that started the child: any but the main thread may
    # end while its process, and the clip, go on.
    lasting = threading.current_thread() is threading.main_thread()
    return [str(descriptor), str(os.getpid()), "1" if lasting else "0"]


def _python_path() -> str:
    """Where the child finds this package, whatever folder the parent works in."""
    here = str(Path(__file__).resolve().parents[1])
    inherited = os.environ.get("PYTHONPATH")
    return f"{here}{os.pathsep}{inherited}" if inherited else here
