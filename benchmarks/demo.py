"""The demo from nothing: how long it takes, how much memory over all processes, what comes out."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measured_process import measure

REPEATS = 3
MOST_SECONDS, MOST_GIB = 240, 6


def run() -> dict[str, Any]:
    """Run the main job in new folders, with no corpus and no shards, and check its limits."""
    runs = []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "harness.loso", "--json"]
            runs.append(measure(command, Path(folder)))
            if runs[-1].status != 0:
                raise RuntimeError(f"the demo failed: {runs[-1].stderr[-2000:]}")
    summaries = [json.loads(run.stdout) for run in runs]
    figures = [{key: summary[key] for key in ("clip_accuracy", "uar")} for summary in summaries]
    seconds = sorted(run.seconds for run in runs)
    peak_gib = max(run.peak_bytes for run in runs) / 2**30
    return {
        "work": "python -m harness.loso from nothing: 72 clips made and preprocessed, 6 splits",
        "repeats": REPEATS,
        "seconds_median": round(seconds[REPEATS // 2], 1),
        "seconds_max": round(seconds[-1], 1),
        "seconds_per_stage": {k: round(v, 1) for k, v in summaries[0]["seconds"].items()},
        "peak_memory_gib": round(peak_gib, 2),
        "peak_processes": max(run.peak_processes for run in runs),
        "within_limits": seconds[-1] <= MOST_SECONDS and peak_gib <= MOST_GIB,
        "equal": all(figure == figures[0] for figure in figures),
        "clip_accuracy": summaries[0]["clip_accuracy"],
        "uar": summaries[0]["uar"],
        "ci95": [summaries[0]["ci95_low"], summaries[0]["ci95_high"]],
    }
