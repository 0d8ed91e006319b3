"""On what, with what and when a study was trained: what its run folder keeps beside the results."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines.commit import git_commit
from pipelines.storage import write_json

FILE = "provenance.json"
PACKAGES = (
    "torch",
    "torchvision",
    "ray",
    "numpy",
    "librosa",
    "decord",
    "av",
    "opencv-python-headless",
    "scikit-learn",
    "scipy",
)
"""What decides a study's bits."""


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def machine() -> dict[str, Any]:
    """Return processor, cores that this process may use, memory in GiB, operating system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "system": platform.system(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the bits."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def begin(folder: Path, *, place: str, splits: int) -> None:
    """Note in provenance.json that splits of a study are being trained, where and with what.

    A study that went on after an interruption has one record for each time.
    """
    runs = _runs(folder)
    runs.append(
        {
            "started": now(),
            "finished": None,
            "place": place,
            "splits": splits,
            "machine": machine(),
            "versions": versions(),
            "git_commit": git_commit(),
        }
    )
    write_json(folder / FILE, {"runs": runs})


def end(folder: Path) -> None:
    """Note that what has begun came to its end."""
    runs = _runs(folder)
    runs[-1]["finished"] = now()
    write_json(folder / FILE, {"runs": runs})


def _runs(folder: Path) -> list[dict[str, Any]]:
    try:
        runs: list[dict[str, Any]] = json.loads((folder / FILE).read_text())["runs"]
    except FileNotFoundError:
        return []
    return runs


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
