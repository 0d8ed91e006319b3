"""Intervals: the subject is the unit, because clips of one subject hang together.

How often each covers the truth at 8 and 42 subjects is measured: docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

BOOTSTRAP_RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; the ends are NaN where one value can't give any."""

    mean: float
    low: float
    high: float


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Return the t interval of the mean over subjects, clipped to 0-1.

    Args:
        values: one share a subject, each in 0-1.
        level: nominal coverage.
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan)
    error = float(stats.sem(values))
    if error == 0.0:
        return Interval(mean, mean, mean)
    low, high = stats.t.interval(level, len(values) - 1, loc=mean, scale=error)
    return Interval(mean, max(0.0, float(low)), min(1.0, float(high)))


def cluster_bootstrap(
    right: Sequence[int],
    clips: Sequence[int],
    *,
    seed: int,
    level: float = 0.95,
    resamples: int = BOOTSTRAP_RESAMPLES,
) -> Interval:
    """Return the percentile interval of the pooled accuracy, whole subjects drawn anew.

    A subject comes with all of its clips, so that those of one person stay together; somebody with
    more clips counts for more, as in the pooled figure.

    Args:
        right: clips recognised of each subject.
        clips: clips of each subject.
        seed: of the draws; from the study's, so that the same study prints the same interval.
        level: nominal coverage.
        resamples: number of draws.
    """
    hits, counts = np.asarray(right), np.asarray(clips)
    pooled = float(hits.sum() / counts.sum())
    if len(hits) < 2:
        return Interval(pooled, math.nan, math.nan)
    random = np.random.default_rng(seed)
    drawn = random.integers(0, len(hits), (resamples, len(hits)))
    shares: npt.NDArray[np.float64] = hits[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    return Interval(pooled, float(low), float(high))


def wilson_interval(right: int, clips: int, level: float = 0.95) -> Interval:
    """Return Wilson's interval of a share of clips. It ignores subjects: too narrow where clips
    of one subject hang together.
    """
    found = stats.binomtest(right, clips).proportion_ci(level, method="wilson")
    return Interval(right / clips, float(found.low), float(found.high))
