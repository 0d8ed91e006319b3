"""Accuracy, unweighted average recall, weighted F1 and confusion, by scikit-learn.

Each takes a weight a prediction, for clips that were tested several times; without, each counts 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
)

Weights = Sequence[float] | None


def accuracy(true: Sequence[str], predicted: Sequence[str], weights: Weights = None) -> float:
    """Return the share of right predictions."""
    return float(accuracy_score(true, predicted, sample_weight=weights))


def unweighted_average_recall(
    true: Sequence[str], predicted: Sequence[str], weights: Weights = None
) -> float:
    """Return the mean recall over the classes that occur among the true ones (UAR)."""
    with warnings.catch_warnings():
        # A predicted class that is not among the true ones has no recall to average: said here.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        # Nor does it matter that a confusion of one class is small.
        warnings.filterwarnings("ignore", message="A single label was found")
        return float(balanced_accuracy_score(true, predicted, sample_weight=weights))


def weighted_f1(true: Sequence[str], predicted: Sequence[str], weights: Weights = None) -> float:
    """Return the mean F1 over classes, each weighted by how often it is the true one."""
    score = f1_score(true, predicted, average="weighted", sample_weight=weights, zero_division=0)
    return float(score)


def confusion(
    true: Sequence[str],
    predicted: Sequence[str],
    classes: Sequence[str],
    weights: Weights = None,
) -> list[list[float]]:
    """Return counts [true class][predicted class] in the order of `classes`.

    Whole numbers, unless clips that were tested several times count once among several cells.
    """
    counts = confusion_matrix(true, predicted, labels=list(classes), sample_weight=weights)
    whole = np.rint(counts)
    # A third and two thirds make one clip again, but for the last bits of a sum.
    if np.allclose(counts, whole, rtol=0, atol=1e-9):
        counts = whole.astype(np.int64)
    rows: list[list[float]] = counts.tolist()
    return rows


def confusion_percent(counts: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return each row of a confusion in percent of its sum: the diagonal is recall.

    A class that nobody showed has a row of zeros, as in scikit-learn.
    """
    return [[100 * cell / sum(row) if sum(row) else 0.0 for cell in row] for row in counts]
