"""Intervals against formulas worked by hand, enumeration and SciPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from harness.statistics import (
    cluster_bootstrap,
    paired_bootstrap,
    paired_t_interval,
    t_interval,
    wilson_interval,
)


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


def test_the_bootstrap_draws_whole_subjects_and_comes_to_what_enumeration_gives() -> None:
    right, clips = [1, 5, 9], [10, 6, 12]
    every = sorted(
        sum(right[i] for i in drawn) / sum(clips[i] for i in drawn)
        for drawn in itertools.product(range(3), repeat=3)
    )
    interval = cluster_bootstrap(right, clips, seed=1)
    assert interval.mean == 15 / 28
    # 1 of 27 draws is the least, 1 of 27 the most: both are more than 2.5 %.
    assert interval.low == pytest.approx(every[0])
    assert interval.high == pytest.approx(every[-1])


def test_the_bootstrap_agrees_with_scipys_on_many_subjects() -> None:
    random = np.random.default_rng(0)
    clips = random.integers(8, 30, 40)
    right = random.binomial(clips, random.uniform(0.3, 0.9, 40))
    ours = cluster_bootstrap(right.tolist(), clips.tolist(), seed=2)
    theirs = stats.bootstrap(
        (right, clips),
        lambda hits, counts, axis: hits.sum(axis=axis) / counts.sum(axis=axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.005)


def test_the_same_seed_draws_the_same_interval() -> None:
    right, clips = [3, 7, 9, 4], [10, 10, 10, 10]
    assert cluster_bootstrap(right, clips, seed=5) == cluster_bootstrap(right, clips, seed=5)
    assert math.isnan(cluster_bootstrap([3], [10], seed=5).low)


def test_wilsons_interval_is_its_formula() -> None:
    z, n, share = 1.959963984540054, 50, 0.9
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    interval = wilson_interval(45, 50)
    assert interval.mean == 0.9
    assert [interval.low, interval.high] == pytest.approx([centre - half, centre + half])
    perfect = wilson_interval(50, 50)
    assert perfect.low < 0.95
    assert perfect.high == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_wilsons_interval_equals_scipys_and_takes_parts_of_clips(seed: int) -> None:
    random = np.random.default_rng(seed)
    clips = int(random.integers(1, 400))
    right = int(random.integers(0, clips + 1))
    exact = stats.binomtest(right, clips).proportion_ci(0.95, method="wilson")
    interval = wilson_interval(right, clips)
    assert [interval.low, interval.high] == pytest.approx([exact.low, exact.high], abs=1e-12)
    half = wilson_interval(right - right / 2, clips)
    assert half.low < half.mean == right / 2 / clips


def test_the_interval_of_a_paired_difference_equals_scipys() -> None:
    a, b = [0.61, 0.72, 0.55, 0.49, 0.66], [0.7, 0.71, 0.65, 0.52, 0.8]
    low, high = stats.ttest_rel(b, a).confidence_interval(0.95)
    interval = paired_t_interval(a, b)
    assert [interval.low, interval.high] == pytest.approx([low, high])
    assert interval.mean == pytest.approx(np.mean(b) - np.mean(a))
    reverse = paired_t_interval(b, a)
    assert [reverse.low, reverse.high] == pytest.approx([-high, -low])
    assert paired_t_interval([1.0, 0.9, 0.0], [0.0, 0.1, 0.9]).low == -1.0
    assert math.isnan(paired_t_interval([0.5], [0.6]).low)


def test_the_bootstrap_of_a_paired_difference_comes_to_what_enumeration_gives() -> None:
    a, b, clips = [1, 5, 9], [4, 4, 12], [10, 6, 12]
    every = sorted(
        sum(b[i] - a[i] for i in drawn) / sum(clips[i] for i in drawn)
        for drawn in itertools.product(range(3), repeat=3)
    )
    interval = paired_bootstrap(a, b, clips, seed=1)
    assert interval.mean == 5 / 28
    assert interval.low == pytest.approx(every[0])
    assert interval.high == pytest.approx(every[-1])


def test_shares_that_are_equal_but_for_the_last_bit_have_an_interval_of_no_width() -> None:
    gained = [1 / 18] * 7 + [19 / 18 - 1]
    assert len(set(gained)) == 2
    found = t_interval(gained)
    assert found.low == found.high == found.mean
