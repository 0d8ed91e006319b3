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

CLIPS = (("sandbox_child",), "")
TRIAL = ((), "ray::ImplicitFunc.train")
"""One that is at work: between two trials its process waits for the next."""
CUT_SHORT = re.compile(r"^warning: loso-s0\d was cut short and is tried again \(", re.MULTILINE)
"""A trial that was on a host is told of by name, whatever became of the host."""
HAS_COME = re.compile(r"^host \S+ has come: the cluster has 6 CPUs", re.MULTILINE)


@dataclass
class Struck:
    """One fault, and what came of it: a row of the table."""

    where: str
    what: str
    seed: int
    victim: str = ""
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
        strike: does it; returns what it struck, or None where there is nothing just now.
        seed: of the moment.
        within_s: the longest that it waits after the first moment.
    """

    strike: Callable[[random.Random], str | None]
    there: Callable[[], bool]
    seed: int
    within_s: float
    victim: str = ""
    after_s: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Fault:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
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


def processes_on(
    hosts: Sequence[Host], words: Sequence[str], begins: str = ""
) -> list[tuple[Host, Process]]:
    """Return what a fault may choose from, in an order that does not depend on the moment."""
    return [
        (host, process)
        for host in hosts
        for process in sorted(host.processes(*words), key=lambda process: process.pid)
        if process.command.startswith(begins)
    ]


def finished(data: Path, study: Path) -> dict[Path, int]:
    """Return what lies there of a study that is never done again, and when it was written.

    Args:
        data: with its shards.
        study: its run folder, with the ledger.
    """
    found = [*data.glob("shards/*/outcomes/*.parquet"), *study.glob("splits/*.json")]
    return {path: path.stat().st_mtime_ns for path in found}


def host_at_work(
    hosts: Sequence[Host], work: tuple[Sequence[str], str], chance: random.Random
) -> Host | None:
    """Return a host on which such a process is; None where there is none just now."""
    found = processes_on(hosts, *work)
    return chance.choice(found)[0] if found else None


def killer(
    hosts: Sequence[Host], words: Sequence[str], begins: str = ""
) -> tuple[Callable[[], bool], Callable[[random.Random], str | None]]:
    """Return whether there is such a process on these hosts, and what kills one of them."""

    def there() -> bool:
        return bool(processes_on(hosts, words, begins))

    def strike(chance: random.Random) -> str | None:
        found = processes_on(hosts, words, begins)
        if not found:
            return None
        host, process = chance.choice(found)
        process.kill()
        return f"{process.command.split()[0].rpartition('/')[2]} on {host.name}"

    return there, strike
