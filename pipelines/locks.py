"""One process at a time on a folder, on a disk or in an object store."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from upath import UPath

from pipelines.storage import Location, claim

POLL_SECONDS = 0.5
RENEW_SECONDS = 15.0
"""How often the holder of a lock in an object store says that it is alive."""
STALE_SECONDS = 60.0
"""After this long without a word the holder is taken for dead."""


@contextmanager
def hold(folder: Location, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of `folder` for the block; wait for another process that holds it.

    On a disk the kernel frees the lock with the process that held it, however that ended. In an
    object store it is an object put on the condition that there is none, renewed while its holder
    lives. Should a stalled holder come back after it was taken for dead, two would work at once:
    both would write the same bytes, whole, so it costs time and nothing else.

    Args:
        folder: what is to be worked on.
        say: told once, in a line, whom it waits for.
    """
    lock = (
        _FileLock(folder / ".lock") if isinstance(folder, Path) else _ObjectLock(folder / ".lock")
    )
    told = False
    while not lock.take():
        if not told:
            say(f"{lock.holder()} is working on {folder}: waiting for it to end")
            told = True
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        lock.free()


def _myself() -> bytes:
    mark = {"host": socket.gethostname(), "process": os.getpid(), "token": uuid.uuid4().hex}
    return json.dumps(mark).encode()


def _name(content: bytes) -> str:
    try:
        held = json.loads(content)
        return f"process {held['process']} on {held['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


class _FileLock:
    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self) -> bool:
        file = claim(self._path)
        if file is None:
            return False
        self._file = file
        file.truncate(0)
        file.write(_myself())
        file.flush()
        return True

    def holder(self) -> str:
        # Whoever has just taken it writes its name a moment later.
        for _ in range(20):
            if told := self._path.read_bytes():
                break
            time.sleep(0.05)
        return _name(told)

    def free(self) -> None:
        self._file.close()


class _ObjectLock:
    def __init__(self, path: UPath) -> None:
        self._object = path
        self._myself = _myself()
        self._ended = threading.Event()
        self._seen: tuple[object, float] | None = None

    def take(self) -> bool:
        try:
            self._object.fs.pipe_file(self._object.path, self._myself, mode="create")
        except FileExistsError:
            self._remove_if_stale()
            return False
        self._renewal = threading.Thread(target=self._renew, daemon=True)
        self._renewal.start()
        return True

    def holder(self) -> str:
        try:
            return _name(self._object.read_bytes())
        except FileNotFoundError:
            return "another process"

    def free(self) -> None:
        self._ended.set()
        self._renewal.join()
        # A store that fails just now fails the work by itself; the lock goes stale.
        with suppress(Exception):
            if self._is_mine():
                self._object.unlink(missing_ok=True)

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            with suppress(Exception):
                if self._is_mine():
                    self._object.fs.pipe_file(self._object.path, self._myself)

    def _is_mine(self) -> bool:
        """Whether nobody took the lock over while this process stood still."""
        return bool(self._object.read_bytes() == self._myself)

    def _remove_if_stale(self) -> None:
        """Only this process' own clock is asked: those of hosts and store may differ."""
        try:
            stamp = str(self._object.fs.info(self._object.path))
        except FileNotFoundError:
            return
        now = time.monotonic()
        if self._seen is None or self._seen[0] != stamp:
            self._seen = (stamp, now)
        elif now - self._seen[1] > STALE_SECONDS:
            self._object.unlink(missing_ok=True)
