"""A trial that sleeps as long as a real one took; it imports nothing of a trial's own."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ray import tune

DURATIONS = "NAP_DURATIONS"
"""Variable with the file of seconds by name of the split."""
TOGETHER = "NAP_TOGETHER"
"""Variable with how many processes begin together: the first naps wait for all of them."""
HERE = ".here"
"""Beside it, of each process that has come."""
PATIENCE_S = 600.0
NOTES = ".naps"
"""Beside it, of each process."""


def nap(config: dict[str, Any]) -> None:
    """Sleep, note from when to when, and end as Tune has it."""
    name = config["trial"]["name"]
    told = Path(os.environ[DURATIONS])
    _wait_for_all(told.parent, int(os.environ.get(TOGETHER, "1")))
    begun = time.monotonic()
    time.sleep(json.loads(told.read_text())[name])
    # The clock is that of the machine: processes may be compared.
    with (told.parent / f"{os.getpid()}{NOTES}").open("a") as file:
        file.write(f"{begun} {time.monotonic()}\n")
    tune.report({"name": name, "rows": [], "done": True})


def _wait_for_all(folder: Path, processes: int) -> None:
    here = folder / f"{os.getpid()}{HERE}"
    if here.exists():
        return
    here.touch()
    deadline = time.monotonic() + PATIENCE_S
    while len(list(folder.glob(f"*{HERE}"))) < processes:
        if time.monotonic() > deadline:
            raise RuntimeError(f"not all of {processes} processes came in {PATIENCE_S:g} s")
        time.sleep(0.05)


def naps_in(folder: Path) -> list[list[tuple[float, float]]]:
    """Return begin and end of the naps of each process, in order."""
    found = []
    for path in folder.glob(f"*{NOTES}"):
        rows = (line.split() for line in path.read_text().splitlines())
        found.append([(float(begin), float(end)) for begin, end in rows])
    return found
