from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score

from harness.metrics import accuracy, confusion, unweighted_average_recall

CLASSES = ["anger", "fear", "joy", "sadness"]


@pytest.mark.parametrize("seed", range(20))
def test_metrics_equal_scikit_learns_on_random_cases(seed: int) -> None:
    generator = np.random.default_rng(seed)
    size = int(generator.integers(4, 60))
    true = [*CLASSES, *generator.choice(CLASSES, size).tolist()]
    predicted = generator.choice(CLASSES, len(true)).tolist()
    assert accuracy(true, predicted) == accuracy_score(true, predicted)
    assert unweighted_average_recall(true, predicted) == pytest.approx(
        recall_score(true, predicted, average="macro", labels=CLASSES, zero_division=0)
    )
    assert confusion(true, predicted, CLASSES) == confusion_matrix(true, predicted).tolist()


def test_uar_weighs_each_class_alike() -> None:
    true = ["anger"] * 8 + ["joy"] * 2
    predicted = ["anger"] * 10
    assert accuracy(true, predicted) == 0.8
    assert unweighted_average_recall(true, predicted) == 0.5


def test_a_class_nobody_showed_does_not_lower_uar() -> None:
    assert unweighted_average_recall(["anger", "anger"], ["anger", "joy"]) == 0.5
