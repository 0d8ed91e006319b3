from __future__ import annotations

import numpy as np
import pytest

from harness.voting import majority_vote


def test_the_class_with_most_segments_wins_whatever_their_certainty() -> None:
    vote = majority_vote(np.array([[0.4, 0.35, 0.25], [0.4, 0.35, 0.25], [0.0, 0.0, 1.0]]))
    assert vote.winner == 0
    assert not vote.tie
    np.testing.assert_allclose(vote.mean_probabilities, [0.8 / 3, 0.7 / 3, 1.5 / 3])


def test_a_tie_goes_to_the_highest_summed_probability_among_the_tied() -> None:
    # Votes 2 : 2 : 0. Class 2 has the highest sum of all (2.0), but no vote.
    vote = majority_vote(
        np.array(
            [[0.5, 0.0, 0.5], [0.5, 0.0, 0.5], [0.0, 0.55, 0.45], [0.0, 0.51, 0.49]], dtype=float
        )
    )
    assert vote.tie
    assert vote.winner == 1  # 1.06 against 1.00


def test_a_tie_in_the_sums_goes_to_the_first_class() -> None:
    vote = majority_vote(np.array([[0.7, 0.3], [0.3, 0.7]]))
    assert vote.tie
    assert vote.winner == 0


def test_one_segment_decides_alone() -> None:
    vote = majority_vote(np.array([[0.2, 0.5, 0.3]]))
    assert (vote.winner, vote.tie) == (1, False)


def test_no_segment_is_no_vote() -> None:
    with pytest.raises(ValueError, match="segments"):
        majority_vote(np.empty((0, 6)))
