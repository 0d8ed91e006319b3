"""A study to MLflow as its folder has it: what was sent before stays as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.ledger import DONE, Ledger
from harness.mlflow_study import StudyRecord
from harness.plan_file import read_plan
from harness.predictions import read_predictions, split_figures
from harness.study import ARTIFACTS
from harness.tracking import Tracker, TrackingConfig
from pipelines.errors import require

MARK = "study.json"
"""Of a study's folder: its name and digests, and what MLflow is told of it."""


def send_study(folder: Path, config: TrackingConfig) -> Tracker:
    """Send one study as its folder has it.

    Raises:
        UsageError: the folder holds no study.
    """
    require(folder.is_dir(), f"{folder} is no folder: give that of a study, as runs/X")
    folder = folder.absolute()
    mark, plan_file = folder / MARK, folder / "plan.json"
    for path in (mark, plan_file):
        require(path.exists(), f"{folder} is no study's folder: it has no {path.name}")
    study: dict[str, Any] = json.loads(mark.read_text())
    require(
        "tags" in study,
        f"{mark} is of an earlier version: run the study's own command again, which finds it done "
        "and sends it",
    )
    tracker = Tracker(config, runs=folder.parent, record=StudyRecord.of(study))
    tracker.start()
    ledger = Ledger(folder / "splits")
    predictions = read_predictions(folder / "predictions.parquet")
    for split in read_plan(plan_file).splits:
        entry = ledger.entry(split.split_id)
        if entry is not None:
            of_split = [row for row in predictions if row["split_id"] == split.split_id]
            tracker.split(split, entry, split_figures(of_split) if entry.status == DONE else {})
    summary = folder / "summary.json"
    if summary.exists():
        tracker.finish(json.loads(summary.read_text()), [folder / name for name in ARTIFACTS])
    else:
        tracker.fail("the study has not ended: run its command again")
    return tracker
