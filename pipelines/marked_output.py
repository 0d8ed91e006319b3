"""How a command in a job tells apart, in its one log, what belongs on stderr and how far it is.

A job's log holds stdout and stderr together. In a job, each line for stderr and each state of a
stage is one marked line; what is not marked is stdout, byte for byte.
"""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TextIO

IN_JOB = "HARNESS_JOB"
"""Environment variable that whoever submits a job sets in it."""
MARK = "\x1f"
"""The unit separator, which no text of ours holds."""
STDERR, STAGE, BEGIN = "E", "P", "B"
TELL_EVERY_S = 0.5


@dataclass(frozen=True)
class StageState:
    """How far a stage is."""

    name: str
    total: int
    done: int
    seconds: float
    """Since it began."""
    note: str = ""
    ended: bool = False


class MarkedStderr(io.TextIOBase):
    """Stands in the place of stderr in a job, and marks each of its lines."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self._rest = ""
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            self._log.writelines(f"{MARK}{STDERR}{line}\n" for line in lines)
            self._log.flush()
        return len(text)

    def flush(self) -> None:
        self._log.flush()

    def writable(self) -> bool:
        return True

    def tell_stage(self, state: StageState) -> None:
        """Write how far a stage is."""
        with self._lock:
            self._log.write(f"{MARK}{STAGE}{json.dumps(asdict(state))}\n")
            self._log.flush()


def mark_stderr(environment: Mapping[str, str] = os.environ) -> None:
    """Mark what goes to stderr from now on, if this process is a job's."""
    if environment.get(IN_JOB) and not isinstance(sys.stderr, MarkedStderr):
        # What stands before this in the log is Ray's own.
        sys.stderr.write(f"{MARK}{BEGIN}\n")
        sys.stderr = MarkedStderr(sys.stderr)


class Teller:
    """Tells of a stage now and then, in a job; elsewhere it says nothing."""

    def __init__(self) -> None:
        self._last = 0.0

    def tell(self, state: StageState) -> None:
        """Tell it if the last time is a while ago, or the stage has ended."""
        if not isinstance(sys.stderr, MarkedStderr):
            return
        if state.ended or time.monotonic() - self._last >= TELL_EVERY_S:
            self._last = time.monotonic()
            sys.stderr.tell_stage(state)


@dataclass(frozen=True)
class Line:
    """One line of a job's log."""

    kind: str
    """STDERR, STAGE, BEGIN, or empty for stdout."""
    text: str

    @property
    def stage(self) -> StageState:
        """What a line of the kind STAGE says."""
        return StageState(**json.loads(self.text))


def parse(line: str) -> Line:
    """Return what a line of a job's log, without its end, is."""
    return Line(line[1:2], line[2:]) if line.startswith(MARK) else Line("", line)
