"""Tests of a difference between two studies on the same clips.

A test prints beside its p the smallest one that so few subjects, or clips, could have given: a p
above 0.05 of four subjects is no evidence that two systems are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

MOST_EXACT = 20
"""Subjects up to which every assignment of signs is gone through."""
RANDOM_PERMUTATIONS = 99_999
_BATCH = 2**14


@dataclass(frozen=True)
class Test:
    """What a test of no difference came to, two-sided."""

    __test__ = False  # its name is statistics', not pytest's

    name: str
    p: float
    smallest_p: float
    """The least that it could have been with so many pairs."""


def paired_permutation(a: Sequence[float], b: Sequence[float], *, seed: int) -> Test:
    """Test the mean difference over subjects by swapping the two studies within subjects.

    Exact up to `MOST_EXACT` subjects; beyond, random swaps of which the observed one is counted as
    one, so that p is never 0 (Phipson and Smyth 2010).

    Args:
        a: accuracy of each subject in one study.
        b: the same subjects in the other.
        seed: of the random swaps.
    """
    differences = np.asarray(a, float) - np.asarray(b, float)
    exact = len(differences) <= MOST_EXACT
    name = f"paired permutation over {len(differences)} subjects, {'exact' if exact else 'random'}"
    if len(differences) < 2:
        return Test(name, 1.0, 1.0)  # swapped or not, one subject's difference is as large
    found = stats.permutation_test(
        (differences,),
        _mean,
        permutation_type="samples",
        n_resamples=np.inf if exact else RANDOM_PERMUTATIONS,
        batch=_BATCH,
        vectorized=True,
        random_state=np.random.default_rng(seed),
    )
    smallest = 2 / 2 ** len(differences) if exact else 2 / (RANDOM_PERMUTATIONS + 1)
    return Test(name, min(1.0, float(found.pvalue)), min(1.0, smallest))


def _mean(differences: npt.NDArray[np.float64], axis: int = -1) -> npt.NDArray[np.float64]:
    # Accuracies are multiples of 1/clips: rounding keeps equal means equal however they are summed.
    rounded: npt.NDArray[np.float64] = np.round(differences.mean(axis=axis), 12)
    return rounded


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> Test:
    """Test by the clips that only one of two studies recognised, exactly. It ignores clustering:
    clips of one subject count as independent.

    Args:
        a: whether each clip was recognised in one study.
        b: the same clips in the other.
    """
    only_a = sum(one and not other for one, other in zip(a, b, strict=True))
    only_b = sum(other and not one for one, other in zip(a, b, strict=True))
    told = f"McNemar over {only_a + only_b} clips that one study alone recognised, exact"
    if only_a + only_b == 0:
        return Test(told, 1.0, 1.0)
    p = float(stats.binomtest(only_a, only_a + only_b).pvalue)
    return Test(told, p, min(1.0, 2 / 2 ** (only_a + only_b)))


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, by Holm's step-down (1979), in the same order.

    The family must have been declared before looking: what is left out afterwards is not corrected
    for.
    """
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, float)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(value) for value in adjusted]
