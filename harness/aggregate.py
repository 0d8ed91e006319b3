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
from harness.splits import Plan, ProtocolConfig
from harness.statistics import t_interval
from harness.voting import majority_vote
from pipelines.records import ClipOutcome, Prediction
from pipelines.shards import ShardSet
from pipelines.storage import write_json, write_table


def predictions_of(
    segments: pa.Table, outcomes: Mapping[str, ClipOutcome], classes: Sequence[str]
) -> list[Prediction]:
    """Vote on every clip of every split, in the order of split and clip."""
    probabilities = np.column_stack([segments[f"p_{label}"].to_numpy() for label in classes])
    keys = list(
        zip(
            *(segments[name].to_pylist() for name in ("split_id", "repeat", "seed", "clip_id")),
            strict=True,
        )
    )
    rows: dict[tuple[str, int, int, str], list[int]] = {}
    for number, key in enumerate(keys):
        rows.setdefault(key, []).append(number)
    predictions = []
    for (split_id, repeat, seed, clip_id), numbers in sorted(rows.items()):
        vote = majority_vote(probabilities[numbers])
        predictions.append(
            Prediction(
                split_id=split_id,
                repeat=repeat,
                seed=seed,
                clip_id=clip_id,
                subject=outcomes[clip_id].subject,
                emotion=outcomes[clip_id].emotion,
                predicted=classes[vote.winner],
                tie=vote.tie,
                probabilities=dict(zip(classes, vote.mean_probabilities.tolist(), strict=True)),
            )
        )
    return predictions


def predictions_table(predictions: Sequence[Prediction], classes: Sequence[str]) -> pa.Table:
    """Return predictions in the columns of predictions.parquet."""
    names = ("split_id", "repeat", "seed", "clip_id", "subject", "emotion", "predicted", "tie")
    columns: dict[str, Any] = {name: [getattr(row, name) for row in predictions] for name in names}
    columns["repeat"] = pa.array(columns["repeat"], pa.int32())
    for label in classes:
        columns[f"p_{label}"] = [row.probabilities[label] for row in predictions]
    return pa.table(columns)


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
    protocol: ProtocolConfig,
    corpus: str,
    shards: ShardSet,
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
    told = [*protocol.warnings, *warnings]
    for entry in done:
        told += [f"split {entry.split_id}: {warning}" for warning in entry.warnings]
    summary: dict[str, Any] = {
        "protocol": protocol.label,
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
        "clips": len(shards.outcomes),
        "clips_usable": len(shards.usable),
        **digests,
        "seconds": dict(seconds),
    }
    if done:
        segments = ledger.segments([entry.split_id for entry in done])
        outcomes = {outcome.clip_id: outcome for outcome in shards.outcomes}
        predictions = predictions_of(segments, outcomes, classes)
        write_table(folder / "segment_predictions.parquet", segments)
        write_table(folder / "predictions.parquet", predictions_table(predictions, classes))
        summary["per_subject"] = per_subject(predictions)
        summary["coverage"] = len({p.clip_id for p in predictions}) / len(shards.outcomes)
        if complete:
            summary |= headline(predictions, segments, outcomes, classes, predicts)
    if not complete:
        told.insert(0, f"incomplete: {len(done)} of {len(plan.splits)} splits are done")
    summary["warnings"] = told
    write_json(folder / "summary.json", summary)
    return summary


def headline(
    predictions: Sequence[Prediction],
    segments: pa.Table,
    outcomes: Mapping[str, ClipOutcome],
    classes: Sequence[str],
    predicts: str,
) -> dict[str, Any]:
    """Return the figures of a complete study."""
    true = [row.emotion for row in predictions]
    predicted = [row.predicted for row in predictions]
    right = sum(t == p for t, p in zip(true, predicted, strict=True))
    subjects = t_interval([row["clip_accuracy"] for row in per_subject(predictions)])
    return {
        "clip_accuracy": accuracy(true, predicted),
        "clip_accuracy_all": right / len(outcomes),
        "uar": unweighted_average_recall(true, predicted),
        "clip_accuracy_subject_mean": subjects.mean,
        # One subject has no interval: null, not a number that looks like one.
        "ci95_low": None if math.isnan(subjects.low) else subjects.low,
        "ci95_high": None if math.isnan(subjects.high) else subjects.high,
        "segment_accuracy": (
            _segment_accuracy(segments, outcomes, classes) if predicts == "segment" else None
        ),
        "tie_rate": sum(row.tie for row in predictions) / len(predictions),
        "confusion": confusion(true, predicted, classes),
    }


def _segment_accuracy(
    segments: pa.Table, outcomes: Mapping[str, ClipOutcome], classes: Sequence[str]
) -> float:
    choices = np.column_stack([segments[f"p_{label}"].to_numpy() for label in classes]).argmax(1)
    true = [outcomes[clip_id].emotion for clip_id in segments["clip_id"].to_pylist()]
    return accuracy(true, [classes[choice] for choice in choices])
