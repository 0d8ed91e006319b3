"""Accuracy, unweighted average recall and confusion, by scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix


def accuracy(true: Sequence[str], predicted: Sequence[str]) -> float:
    """Return the share of right predictions."""
    return float(accuracy_score(true, predicted))


def unweighted_average_recall(true: Sequence[str], predicted: Sequence[str]) -> float:
    """Return the mean recall over the classes that occur among the true ones (UAR)."""
    with warnings.catch_warnings():
        # A predicted class that is not among the true ones has no recall to average: said here.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        return float(balanced_accuracy_score(true, predicted))


def confusion(
    true: Sequence[str], predicted: Sequence[str], classes: Sequence[str]
) -> list[list[int]]:
    """Return counts [true class][predicted class] in the order of `classes`."""
    counts: list[list[int]] = confusion_matrix(true, predicted, labels=list(classes)).tolist()
    return counts
