from __future__ import annotations

import math

import pytest
from scipy import stats

from harness.statistics import t_interval


def test_the_interval_is_the_formula_worked_by_hand() -> None:
    values = [0.6, 0.7, 0.8, 0.5]
    # mean 0.65, sample deviation sqrt(0.05/3), t(0.975, 3) = 3.182446
    half = 3.182446305284263 * math.sqrt(0.05 / 3) / 2
    interval = t_interval(values)
    assert interval.mean == pytest.approx(0.65)
    assert interval.low == pytest.approx(0.65 - half)
    assert interval.high == pytest.approx(0.65 + half)


def test_the_interval_equals_scipys() -> None:
    values = [0.61, 0.72, 0.55, 0.49, 0.66, 0.7]
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    interval = t_interval(values)
    assert [interval.low, interval.high] == pytest.approx([low, high])


def test_it_stays_within_possible_accuracies() -> None:
    interval = t_interval([0.0, 0.1, 0.9])
    assert interval.low == 0.0
    assert interval.high == 1.0


def test_one_subject_gives_no_interval() -> None:
    interval = t_interval([0.7])
    assert interval.mean == 0.7
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
