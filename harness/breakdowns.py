"""The figures of a study by subgroup, by seed and by drawing of the folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.figures import deviation, ends, grouped, per_subject, scores_of
from harness.statistics import t_interval
from pipelines.records import Clip, Prediction

MOST_VALUES = 12
"""Of an attribute that gives a table: more would be one for each person."""
NOT_KNOWN = "not known"
"""Stands for the value of an attribute that some clips lack."""


def spread(
    predictions: Sequence[Prediction], key: Callable[[Prediction], int]
) -> dict[str, Any] | None:
    """Return how much the accuracy depends on the seed, or on the drawing of the folds.

    Args:
        predictions: of the whole study.
        key: `seed_index` or `repeat` of a prediction.

    Returns:
        The pooled accuracy and UAR of each, the mean and the standard deviation of the accuracies;
        None where there is one only.
    """
    groups = grouped(predictions, key)
    if len(groups) < 2:
        return None
    each = [{"index": index, **scores_of(rows)} for index, rows in groups.items()]
    shares = [row["clip_accuracy"] for row in each]
    return {"each": each, "mean": float(np.mean(shares)), "sd": deviation(shares)}


def subgroups(
    predictions: Sequence[Prediction], clips: Mapping[str, Clip]
) -> dict[str, list[dict[str, Any]]]:
    """Return, for each attribute that the corpus knows, the figures of the clips of each value.

    Attributes of one value, or of more than `MOST_VALUES`, have no table. The interval is the t
    interval of the mean over the subjects of a value.
    """
    tested = {row.clip_id for row in predictions}
    tables = {}
    for name in sorted({name for clip_id in tested for name in clips[clip_id].attributes}):
        values = {clip_id: clips[clip_id].attributes.get(name) or NOT_KNOWN for clip_id in tested}
        if 2 <= len({*values.values()} - {NOT_KNOWN}) <= MOST_VALUES:
            tables[name] = [
                _subgroup(value, [row for row in predictions if values[row.clip_id] == value])
                for value in sorted({*values.values()})
            ]
    return tables


def _subgroup(value: str, predictions: Sequence[Prediction]) -> dict[str, Any]:
    shares = [row["clip_accuracy"] for row in per_subject(predictions)]
    mean = t_interval(shares)
    return {
        "value": value,
        "subjects": len(shares),
        **scores_of(predictions),
        "clip_accuracy_subject_mean": mean.mean,
        **ends(mean),
    }
