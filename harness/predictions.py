"""Segments of a study -> one prediction for each test clip, each time that it was tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.metrics import accuracy, unweighted_average_recall
from harness.voting import majority_vote
from pipelines.records import Clip, Prediction

CONTENTS = "contents.json"
"""Beside predictions: clip_id -> sha256 of its file, so that studies of other recordings are told
apart.
"""
ALL_SPLITS = "all"
"""Stands for the split where the segments of a clip were tested in several."""


def predictions_of(
    segments: pa.Table, clips: Mapping[str, Clip], classes: Sequence[str], *, divided: bool = False
) -> list[Prediction]:
    """Vote on every clip of every split, in the order of split and clip.

    Args:
        segments: columns of segment_predictions.parquet.
        clips: by id, with their true labels.
        classes: all labels, in order.
        divided: the segments of a clip were dealt out to several splits: they vote together.
    """
    probabilities = np.column_stack([segments[f"p_{label}"].to_numpy() for label in classes])
    names = ("split_id", "repeat", "seed_index", "seed", "clip_id")
    rows: dict[tuple[Any, ...], list[int]] = {}
    for number, key in enumerate(zip(*(segments[name].to_pylist() for name in names), strict=True)):
        if divided:
            key = (ALL_SPLITS, *key[1:3], 0, key[4])
        rows.setdefault(key, []).append(number)
    predictions = []
    for (split_id, repeat, seed_index, seed, clip_id), numbers in sorted(rows.items()):
        vote = majority_vote(probabilities[numbers])
        predictions.append(
            Prediction(
                split_id=split_id,
                repeat=repeat,
                seed_index=seed_index,
                seed=seed,
                clip_id=clip_id,
                subject=clips[clip_id].subject,
                emotion=clips[clip_id].emotion,
                predicted=classes[vote.winner],
                predicted_by_mean=classes[vote.mean_winner],
                tie=vote.tie,
                probabilities=dict(zip(classes, vote.mean_probabilities.tolist(), strict=True)),
            )
        )
    return predictions


def predictions_table(predictions: Sequence[Prediction], classes: Sequence[str]) -> pa.Table:
    """Return predictions in the columns of predictions.parquet."""
    names = (
        "split_id",
        "repeat",
        "seed_index",
        "seed",
        "clip_id",
        "subject",
        "emotion",
        "predicted",
        "predicted_by_mean",
        "tie",
    )
    columns: dict[str, Any] = {name: [getattr(row, name) for row in predictions] for name in names}
    for name in ("repeat", "seed_index"):
        columns[name] = pa.array(columns[name], pa.int32())
    # Those of another system may be unknown.
    columns["predicted_by_mean"] = pa.array(
        [row.predicted_by_mean or None for row in predictions], pa.string()
    )
    for label in classes:
        of_label = [row.probabilities.get(label) for row in predictions]
        columns[f"p_{label}"] = pa.array(of_label, pa.float64())
    return pa.table(columns)


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a predictions.parquet; none where a study has no finished split."""
    return pq.read_table(path).to_pylist() if path.exists() else []


def split_figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the test figures of one split's predictions, as MLflow gets them."""
    if not rows:
        return {}
    true = [row["emotion"] for row in rows]
    predicted = [row["predicted"] for row in rows]
    return {
        "test/clip_accuracy": accuracy(true, predicted),
        "test/uar": unweighted_average_recall(true, predicted),
        "test/clips": float(len(rows)),
    }


def weights_of(predictions: Sequence[Prediction]) -> list[float]:
    """Return one weight a prediction, so that each clip counts once however often it was tested."""
    times = Counter(row.clip_id for row in predictions)
    return [1 / times[row.clip_id] for row in predictions]
