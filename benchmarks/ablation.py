"""The demo's ablation from nothing: how long all of its rows take, and what each of them costs."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measured_process import measure

MOST_SECONDS = 20 * 60
KEPT = ("status", "reason", "same_as", "clip_accuracy_subject_mean", "parameters", "train_seconds")


def run() -> dict[str, Any]:
    """Run every row, with no corpus and no shards."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "harness.ablate", "--json"]
        measured = measure(command, Path(folder))
    if measured.status != 0:
        raise RuntimeError(f"the ablation failed: {measured.stderr[-2000:]}")
    result = json.loads(measured.stdout)
    return {
        "work": "python -m harness.ablate from nothing: 72 clips made and preprocessed, with VAD "
        f"and without, {len(result['rows'])} rows of 6 splits",
        "seconds": round(measured.seconds, 1),
        "limit_seconds": MOST_SECONDS,
        "within_limit": measured.seconds <= MOST_SECONDS,
        "peak_memory_gib": round(measured.peak_bytes / 2**30, 2),
        "rows": {row["row"]: {key: row[key] for key in KEPT if row[key]} for row in result["rows"]},
    }
