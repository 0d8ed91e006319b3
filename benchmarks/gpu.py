"""What the networks and their training cost on a GPU: `python -m benchmarks.gpu [--json FILE]`.

Plain torch: runs on a machine with torch, torchvision and NumPy, and none of the project's other
libraries. Each row stands for itself: one that fails says why, and the others go on. Without a GPU,
`--small` shows in seconds that everything runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Read when cuBLAS starts: without it, torch refuses to compute deterministically.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch

from benchmarks.gpu_rows import fine_tuning, frozen_study, heads_at_once, lstm_step, study_floor
from benchmarks.gpu_rows.machine import Machine

ROWS: dict[str, Callable[[Machine], dict[str, Any]]] = {
    "lstm_step": lstm_step.run,
    "heads_at_once": heads_at_once.run,
    "fine_tuning": fine_tuning.run,
    "study_floor": study_floor.run,
    "frozen_study": frozen_study.run,
}
RESULTS = Path(__file__).parent / "results" / "gpu.json"


def main() -> int:
    """Measure the rows, writing after each what there is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--small", action="store_true", help="sizes that a CPU does in seconds")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--json", type=Path, help="default: benchmarks/results/gpu.json")
    parser.add_argument("--commit", default=_commit(), help="where there is no repository")
    options = parser.parse_args()
    machine = Machine(
        torch.device("cuda" if torch.cuda.is_available() else "cpu"), small=options.small
    )
    if machine.device.type == "cpu" and not machine.small:
        parser.error("there is no GPU: use --small")
    if machine.device.type == "cpu":
        torch.set_num_threads(1)  # several threads would wait for each other over so little
    target = options.json or RESULTS
    target.parent.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"name": "gpu", "small": machine.small, **provenance(options.commit)}
    rows = result["rows"] = {}
    for name in options.rows:
        begun = time.perf_counter()
        try:
            rows[name] = ROWS[name](machine)
        except Exception as error:  # the other rows are worth having
            rows[name] = {"error": f"{type(error).__name__}: {error}"[:1000]}
        machine.clear()
        rows[name]["seconds"] = round(time.perf_counter() - begun, 1)
        target.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
        print(name, json.dumps(rows[name], sort_keys=True), flush=True)
    return int(any("error" in row for row in rows.values()))


def provenance(commit: str) -> dict[str, Any]:
    """Return device, versions and commit."""
    on_gpu = torch.cuda.is_available()
    return {
        "machine": {
            "device": torch.cuda.get_device_name() if on_gpu else platform.machine(),
            "cuda": torch.version.cuda,
            "cudnn": _cudnn() if on_gpu else None,
            "cores": len(os.sched_getaffinity(0)),
        },
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "torchvision", "numpy")},
        },
        "commit": commit,
    }


def _cudnn() -> int | None:
    found: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return found


def _commit() -> str:
    command = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
