"""Intervals: the subject is the unit, because clips of one subject hang together.

How often each covers the truth at 8 and 42 subjects is measured: docs/statistics.md. Their labels
say *nominal* 95 %, because not all of them reach it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

BOOTSTRAP_RESAMPLES = 10_000
ALIKE = 1e-12
"""Shares that differ by less are equal: they are sums of parts of a clip, in some order."""


@dataclass(frozen=True)
class Interval:
    """A mean and its nominal 95 % interval; the ends are NaN where one value can't give any."""

    mean: float
    low: float
    high: float


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Return the t interval of the mean over subjects, clipped to 0-1.

    Args:
        values: one share a subject, each in 0-1.
        level: nominal coverage.
    """
    return _t(values, level, least=0.0)


def paired_t_interval(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Interval:
    """Return the t interval of the mean over subjects of `b` minus `a`, clipped to -1 to 1.

    Args:
        a: one share a subject.
        b: the same subjects in the other study.
        level: nominal coverage.
    """
    return _t((np.asarray(b, float) - np.asarray(a, float)).tolist(), level, least=-1.0)


def _t(values: Sequence[float], level: float, least: float) -> Interval:
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan)
    if np.ptp(values) <= ALIKE:
        return Interval(mean, mean, mean)
    error = float(stats.sem(values))
    low, high = stats.t.interval(level, len(values) - 1, loc=mean, scale=error)
    return Interval(mean, max(least, float(low)), min(1.0, float(high)))


def cluster_bootstrap(
    right: Sequence[float],
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
        right: clips recognised of each subject; parts of a clip where it was tested several times.
        clips: clips of each subject.
        seed: of the draws; from stable names, so that the same study prints the same interval.
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
    if high - low <= ALIKE:
        return Interval(pooled, pooled, pooled)
    return Interval(pooled, float(low), float(high))


def paired_bootstrap(
    a: Sequence[float],
    b: Sequence[float],
    clips: Sequence[int],
    *,
    seed: int,
    level: float = 0.95,
    resamples: int = BOOTSTRAP_RESAMPLES,
) -> Interval:
    """Return the percentile interval of the pooled difference, `b` minus `a`.

    A subject is drawn with all of its clips in both studies.

    Args:
        a: clips recognised of each subject in one study.
        b: those of the same subjects in the other.
        clips: clips of each subject, the same in both.
        seed: of the draws.
        level: nominal coverage.
        resamples: number of draws.
    """
    gained = (np.asarray(b, float) - np.asarray(a, float)).tolist()
    return cluster_bootstrap(gained, clips, seed=seed, level=level, resamples=resamples)


def wilson_interval(right: float, clips: int, level: float = 0.95) -> Interval:
    """Return Wilson's interval of a share of clips (1927). It ignores subjects: too narrow where
    clips of one subject hang together.

    Args:
        right: clips recognised; parts of a clip where it was tested several times.
        clips: how many there are, each counted once.
        level: nominal coverage.
    """
    share = right / clips
    z = float(stats.norm.ppf((1 + level) / 2))
    shrunk = 1 + z**2 / clips
    centre = (share + z**2 / (2 * clips)) / shrunk
    half = z / shrunk * math.sqrt(share * (1 - share) / clips + z**2 / (4 * clips**2))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))
