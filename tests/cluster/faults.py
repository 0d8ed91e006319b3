"""Faults that strike a study at a seeded moment, and the table of what came of them."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hosts import Host, Process
from kept_results import FAULT

Work = tuple[Sequence[str], str]
"""What a process is known by: words of its command line, and how that begins."""
CLIPS: Work = (("sandbox_child",), "")
TRIAL: Work = ((), "ray::ImplicitFunc.train")
"""One that is at work: between two trials its process waits for the next."""
RAYLET = "raylet/raylet"
CUT_SHORT = re.compile(r"^warning: loso-s0\d was cut short and is tried again \(", re.MULTILINE)
"""A trial that was on a host is told of by name, whatever became of the host."""


There = Callable[[], bool]
"""Whether there is something to strike."""
Strike = Callable[[random.Random], str | None]
"""Does it; returns what it struck, or None where there is nothing just now."""
Deed = Callable[[Host, Process], str]
"""What is done to a process or to its host; returns the name of what was struck."""


@dataclass
class Struck:
    """One fault, and what came of it: a row of the table."""

    where: str
    what: str
    seed: int
    victim: str = ""
    at: str = ""
    """What the study was at, where the table tells faults apart by that."""
    after_s: float = 0.0
    """From the first moment that there was something to strike."""
    ended: str = "by itself"
    """Or how often the same command was given again."""
    same: bool = False
    """To the bit, nothing lost and nothing twice."""

    def keep(self) -> None:
        """Print it, for the table of faults."""
        print(f"{FAULT}{json.dumps(asdict(self))}")


@dataclass
class Fault:
    """Waits until there is something to strike, and a seeded time longer; then strikes once.

    Args:
        strike: does it.
        seed: of the moment.
        within_s: the longest that it waits after the first moment.
    """

    strike: Strike
    there: There
    seed: int
    within_s: float
    victim: str = ""
    after_s: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)
    _failed: Exception | None = None

    def __enter__(self) -> Fault:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._failed:
            raise self._failed

    def _run(self) -> None:
        try:
            self._strike_once()
        except Exception as error:
            self._failed = error

    def _strike_once(self) -> None:
        chance = random.Random(self.seed)
        while not self.there():
            if self._over.wait(0.05):
                return
        first = time.monotonic()
        self._over.wait(chance.uniform(0.0, self.within_s))
        while not self._over.is_set():
            struck = time.monotonic()
            if victim := self.strike(chance):
                self.victim, self.after_s = victim, round(struck - first, 2)
                return
            self._over.wait(0.05)


def finished(data: Path, study: Path) -> dict[Path, int]:
    """Return what lies there of a study that is never done again, and when it was written.

    Args:
        data: with its shards.
        study: its run folder, with the ledger.
    """
    found = [*data.glob("shards/*/outcomes/*.parquet"), *study.glob("splits/*.json")]
    return {path: path.stat().st_mtime_ns for path in found}


def striker(hosts: Sequence[Host], work: Work, deed: Deed) -> tuple[There, Strike]:
    """Return whether something is at such work on these hosts, and what strikes one of it."""

    def found() -> list[tuple[Host, Process]]:
        # In an order that does not depend on the moment.
        words, begins = work
        return [
            (host, process)
            for host in hosts
            for process in sorted(host.processes(*words), key=lambda process: process.pid)
            if process.command.startswith(begins)
        ]

    def strike(chance: random.Random) -> str | None:
        there = found()
        return deed(*chance.choice(there)) if there else None

    return lambda: bool(found()), strike


def kill(host: Host, process: Process) -> str:
    """The process alone."""
    process.kill()
    return f"{process.command.split()[0].rpartition('/')[2]} on {host.name}"


def kill_ray(host: Host, process: Process) -> str:
    """All of Ray on its host, which ends with the raylet."""
    for each in host.processes(RAYLET):
        each.kill()
    return f"raylet on {host.name}"


def lose_host(host: Host, process: Process) -> str:
    """Its host, at once."""
    host.lose()
    return host.name
