"""Intervals: the subject is the unit, because clips of one subject hang together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


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
