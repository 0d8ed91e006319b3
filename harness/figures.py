"""The figures of a study's predictions. Each clip counts once, however often it was tested."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from harness.metrics import (
    accuracy,
    confusion,
    confusion_percent,
    unweighted_average_recall,
    weighted_f1,
)
from harness.predictions import weights_of
from harness.statistics import Interval, cluster_bootstrap, t_interval, wilson_interval
from pipelines.records import Clip, Prediction
from pipelines.split_task import seed_for

NEAR_CEILING, FEW = 0.9, 20
"""Accuracy above which, and subjects below which, intervals cover less than they should:
docs/statistics.md."""
NO_SEGMENT_FIGURES = dict.fromkeys(
    ("segment_accuracy", "segment_uar", "segment_weighted_f1", "segment_confusion")
)
"""Of a study in which each clip has one prediction."""


def scores_of(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Return how many clips these are of, their accuracy and UAR."""
    true, predicted = _labels(predictions)
    weights = weights_of(predictions)
    return {
        "clips": len({row.clip_id for row in predictions}),
        "clip_accuracy": accuracy(true, predicted, weights),
        "uar": unweighted_average_recall(true, predicted, weights),
    }


def per_subject(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return clips, accuracy and UAR of each subject."""
    groups = grouped(predictions, lambda row: row.subject)
    return [{"subject": subject, **scores_of(rows)} for subject, rows in groups.items()]


def clip_figures(predictions: Sequence[Prediction], classes: Sequence[str]) -> dict[str, Any]:
    """Return the figures over all clips: pooled, and the mean over subjects with its interval."""
    true, predicted = _labels(predictions)
    weights = weights_of(predictions)
    by_mean = [row.predicted_by_mean for row in predictions]
    has_means = all(row.probabilities for row in predictions)
    subjects = per_subject(predictions)
    shares = [row["clip_accuracy"] for row in subjects]
    mean = t_interval(shares)
    counts = confusion(true, predicted, classes, weights)
    shown = Counter({row.clip_id: row.emotion for row in predictions}.values())
    commonest = max(sorted(shown), key=shown.__getitem__)
    return {
        "clip_accuracy": accuracy(true, predicted, weights),
        "clip_accuracy_by_mean": accuracy(true, by_mean, weights) if has_means else None,
        "uar": unweighted_average_recall(true, predicted, weights),
        "weighted_f1": weighted_f1(true, predicted, weights),
        "clip_accuracy_subject_mean": mean.mean,
        "ci95_low": or_null(mean.low),
        "ci95_high": or_null(mean.high),
        "subject_sd": deviation(shares),
        "intervals": intervals(predictions),
        "tie_rate": float(np.average([row.tie for row in predictions], weights=weights)),
        "confusion": counts,
        "confusion_percent": confusion_percent(counts),
        "chance": 1 / len(shown),
        "majority_class": commonest,
        "majority_class_rate": shown[commonest] / sum(shown.values()),
    }


def intervals(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return the nominal 95 % intervals: what each is of, how it is made, how it is to be read."""
    subjects = per_subject(predictions)
    shares = [row["clip_accuracy"] for row in subjects]
    clips = [row["clips"] for row in subjects]
    right = [share * count for share, count in zip(shares, clips, strict=True)]
    total = sum(clips)
    over = by_clip = f"nominal 95 % over {len(subjects)} subjects"
    if len(subjects) < 2:
        over = by_clip = "one subject gives no interval"
    elif np.allclose(shares, shares[0], rtol=0, atol=1e-12):
        over = by_clip = f"{over}, all alike: it has no width and says nothing"
    else:
        if np.mean(shares) > NEAR_CEILING:
            over = by_clip = f"{over}, covers less near the ceiling"
        if len(subjects) < FEW:
            by_clip += ", too narrow with so few"
    # From the people, not from a name that the study was given: the same figures, the same draws.
    seed = seed_for(0, "bootstrap", *(row["subject"] for row in subjects))
    found = [
        ("clip_accuracy_subject_mean", "t interval", over, t_interval(shares)),
        (
            "clip_accuracy",
            "cluster bootstrap",
            by_clip,
            cluster_bootstrap(right, clips, seed=seed),
        ),
        (
            "clip_accuracy",
            "Wilson",
            f"nominal 95 % over {total} clips, ignores subjects",
            wilson_interval(min(sum(right), total), total),
        ),
    ]
    return [
        {"of": of, "method": method, "label": label, **ends(interval)}
        for of, method, label, interval in found
    ]


def segment_figures(
    segments: pa.Table, clips: Mapping[str, Clip], classes: Sequence[str]
) -> dict[str, Any]:
    """Return the figures over segments, each counted once however often it was tested."""
    choices = np.column_stack([segments[f"p_{label}"].to_numpy() for label in classes]).argmax(1)
    predicted = [classes[choice] for choice in choices]
    clip_ids = segments["clip_id"].to_pylist()
    true = [clips[clip_id].emotion for clip_id in clip_ids]
    pieces = list(zip(clip_ids, segments["segment_index"].to_pylist(), strict=True))
    times = Counter(pieces)
    weights = [1 / times[piece] for piece in pieces]
    return {
        "segments": len(times),
        "segment_accuracy": accuracy(true, predicted, weights),
        "segment_uar": unweighted_average_recall(true, predicted, weights),
        "segment_weighted_f1": weighted_f1(true, predicted, weights),
        "segment_confusion": confusion(true, predicted, classes, weights),
    }


def grouped(
    predictions: Sequence[Prediction], key: Callable[[Prediction], Any]
) -> dict[Any, list[Prediction]]:
    """Return key -> the predictions that have it, in the order of keys."""
    groups: defaultdict[Any, list[Prediction]] = defaultdict(list)
    for row in predictions:
        groups[key(row)].append(row)
    return dict(sorted(groups.items()))


def deviation(shares: Sequence[float]) -> float | None:
    """Return the sample standard deviation; None of a single value."""
    return float(np.std(shares, ddof=1)) if len(shares) > 1 else None


def ends(interval: Interval) -> dict[str, float | None]:
    """Return the ends as they stand in JSON: null, not a number that looks like one."""
    return {"low": or_null(interval.low), "high": or_null(interval.high)}


def or_null(value: float) -> float | None:
    """Return None for NaN."""
    return None if math.isnan(value) else value


def _labels(predictions: Sequence[Prediction]) -> tuple[list[str], list[str]]:
    return [row.emotion for row in predictions], [row.predicted for row in predictions]
