"""Splits -> study: the vote on every test clip, joined here with its label, and the figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from harness.ledger import DONE, Ledger
from harness.metrics import accuracy, confusion, unweighted_average_recall
from harness.predictions import predictions_of, predictions_table
from harness.splits import SEGMENT, Plan
from harness.statistics import t_interval
from pipelines.records import Clip, Prediction
from pipelines.storage import write_json, write_table


def per_subject(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return clips, accuracy and UAR of each subject."""
    rows = []
    for subject in sorted({row.subject for row in predictions}):
        of_subject = [row for row in predictions if row.subject == subject]
        true = [row.emotion for row in of_subject]
        predicted = [row.predicted for row in of_subject]
        rows.append(
            {
                "subject": subject,
                "clips": len(of_subject),
                "clip_accuracy": accuracy(true, predicted),
                "uar": unweighted_average_recall(true, predicted),
            }
        )
    return rows


def aggregate(
    folder: Path,
    *,
    plan: Plan,
    protocol: str,
    corpus: str,
    clips: Mapping[str, Clip],
    classes: Sequence[str],
    predicts: str,
    digests: Mapping[str, str],
    seconds: Mapping[str, float],
    warnings: Sequence[str],
) -> dict[str, Any]:
    """Write predictions.parquet, segment_predictions.parquet and summary.json of a study.

    A study with a missing split is `complete: false` and has no headline figure: an average over
    the splits that survived would be an average over chosen people.

    Where `predicts` is `clip`, not `segment`, each segment of a clip bears the clip's one
    prediction: the vote is unanimous, and there is no accuracy of segments to report.

    Returns:
        The summary.
    """
    ledger = Ledger(folder / "splits")
    entries = [ledger.entry(split.split_id) for split in plan.splits]
    done = [entry for entry in entries if entry is not None and entry.status == DONE]
    complete = len(done) == len(plan.splits)
    told = list(warnings)
    to_test = plan.test_clips | set(plan.lost)
    for entry in done:
        told += [f"split {entry.split_id}: {warning}" for warning in entry.warnings]
    summary: dict[str, Any] = {
        "protocol": protocol,
        "corpus": corpus,
        "classes": list(classes),
        "predicts": predicts,
        "complete": complete,
        "splits_expected": len(plan.splits),
        "splits_done": len(done),
        "splits_failed": [
            {"split_id": entry.split_id, "error": entry.error}
            for entry in entries
            if entry is not None and entry.status != DONE
        ],
        "clips": len(to_test),
        "clips_usable": len(plan.test_clips),
        **digests,
        "seconds": dict(seconds),
    }
    if done:
        segments = ledger.segments([entry.split_id for entry in done])
        predictions = predictions_of(segments, clips, classes, divided=plan.unit == SEGMENT)
        write_table(folder / "segment_predictions.parquet", segments)
        write_table(folder / "predictions.parquet", predictions_table(predictions, classes))
        summary["per_subject"] = per_subject(predictions)
        summary["coverage"] = len({p.clip_id for p in predictions}) / len(to_test)
        if complete:
            summary |= headline(predictions, segments, clips, classes, predicts, len(to_test))
    if not complete:
        told.insert(0, f"incomplete: {len(done)} of {len(plan.splits)} splits are done")
    summary["warnings"] = told
    write_json(folder / "summary.json", summary)
    return summary


def headline(
    predictions: Sequence[Prediction],
    segments: pa.Table,
    clips: Mapping[str, Clip],
    classes: Sequence[str],
    predicts: str,
    to_test: int,
) -> dict[str, Any]:
    """Return the figures of a complete study."""
    true = [row.emotion for row in predictions]
    predicted = [row.predicted for row in predictions]
    right = sum(t == p for t, p in zip(true, predicted, strict=True))
    subjects = t_interval([row["clip_accuracy"] for row in per_subject(predictions)])
    return {
        "clip_accuracy": accuracy(true, predicted),
        "clip_accuracy_all": right / to_test,
        "uar": unweighted_average_recall(true, predicted),
        "clip_accuracy_subject_mean": subjects.mean,
        # One subject has no interval: null, not a number that looks like one.
        "ci95_low": None if math.isnan(subjects.low) else subjects.low,
        "ci95_high": None if math.isnan(subjects.high) else subjects.high,
        "segment_accuracy": (
            _segment_accuracy(segments, clips, classes) if predicts == "segment" else None
        ),
        "tie_rate": sum(row.tie for row in predictions) / len(predictions),
        "confusion": confusion(true, predicted, classes),
    }


def _segment_accuracy(
    segments: pa.Table, clips: Mapping[str, Clip], classes: Sequence[str]
) -> float:
    choices = np.column_stack([segments[f"p_{label}"].to_numpy() for label in classes]).argmax(1)
    true = [clips[clip_id].emotion for clip_id in segments["clip_id"].to_pylist()]
    return accuracy(true, [classes[choice] for choice in choices])
