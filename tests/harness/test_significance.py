"""Tests of a difference against enumeration and figures worked by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from harness.significance import holm, mcnemar, paired_permutation


def by_enumeration(differences: list[int]) -> float:
    """Two-sided p: signs that give a sum as far from zero, of all signs."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(sign * d for sign, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    return sum(one >= observed for one in sums) / len(sums)


@pytest.mark.parametrize(
    "differences",
    [[3, 1, 2, 5, 1, 4], [3, -1, 2, 0, 1, -4], [1, -1, 0, 0], [0, 0, 0], [5, 4, 3, 6, 2, 1, 1, 2]],
)
def test_up_to_twenty_subjects_every_swap_is_counted(differences: list[int]) -> None:
    a = [0.5 + difference / 12 for difference in differences]
    test = paired_permutation(a, [0.5] * len(differences), seed=0)
    assert test.p == pytest.approx(by_enumeration(differences))
    assert test.smallest_p == 2 / 2 ** len(differences)
    assert "exact" in test.name


def test_beyond_twenty_subjects_random_swaps_come_close_to_the_exact_p() -> None:
    differences = [3, 1, -2, 2, 0, 1, 4, -1, -3, 2, 1, 0, -2, 1, 3, -1, 2, 1, -1, 0, 2, 1, -2, 3, 1]
    # The sums of all 2^25 sign patterns, one subject after the other.
    reach = sum(map(abs, differences))
    ways = np.zeros(2 * reach + 1)
    ways[reach] = 1
    for difference in differences:
        ways = (np.roll(ways, difference) + np.roll(ways, -difference)) / 2
    sums = np.arange(-reach, reach + 1)
    exact = float(ways[np.abs(sums) >= abs(sum(differences))].sum())
    a = [0.5 + difference / 28 for difference in differences]
    test = paired_permutation(a, [0.5] * len(a), seed=1)
    assert test.p == pytest.approx(exact, abs=4 * (exact / 100_000) ** 0.5)
    assert test == paired_permutation(a, [0.5] * len(a), seed=1)
    assert "random" in test.name
    assert test.smallest_p == 2 / 100_000


def test_a_difference_that_everybody_shows_has_the_smallest_p() -> None:
    test = paired_permutation([0.9, 0.8, 0.7, 0.6], [0.5, 0.5, 0.5, 0.5], seed=0)
    assert test.p == test.smallest_p == 0.125


def test_mcnemar_counts_the_clips_that_one_study_alone_recognised() -> None:
    a = [True] * 8 + [False] * 1 + [True] * 5 + [False] * 3
    b = [False] * 8 + [True] * 1 + [True] * 5 + [False] * 3
    test = mcnemar(a, b)
    assert test.p == pytest.approx(2 * (1 + 9) / 2**9)
    assert test.smallest_p == 2 / 2**9
    assert "9 clips" in test.name
    assert mcnemar(a, a).p == mcnemar(a, a).smallest_p == 1.0


def test_holms_steps_are_worked_out_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.2, 0.001, 0.5, 0.02]) == pytest.approx([0.4, 0.004, 0.5, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_one_subject_can_show_nothing() -> None:
    found = paired_permutation([0.25], [0.75], seed=0)
    assert (found.p, found.smallest_p) == (1.0, 1.0)
