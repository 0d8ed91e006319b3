"""Majority vote: the segments of a clip -> its emotion (section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Vote:
    """What the segments of one clip decided."""

    winner: int
    """Index of the class."""
    tie: bool
    """Whether two or more classes had the most votes."""
    mean_winner: int
    """Index of the class with the highest mean probability: the vote's rival."""
    mean_probabilities: npt.NDArray[np.float64]
    """[classes], mean over the segments."""


def majority_vote(probabilities: npt.NDArray[np.float64]) -> Vote:
    """Let each segment vote for its most probable class.

    A tie goes to the tied class with the highest probability summed over all segments, then to
    the first in the order of classes.

    Args:
        probabilities: [segments, classes], at least one segment.
    """
    if probabilities.ndim != 2 or len(probabilities) == 0:
        raise ValueError(f"a vote needs [segments, classes], not {probabilities.shape}")
    classes = probabilities.shape[1]
    votes = np.bincount(probabilities.argmax(axis=1), minlength=classes)
    tied = np.flatnonzero(votes == votes.max())
    sums = probabilities.sum(axis=0)
    return Vote(
        winner=int(tied[sums[tied].argmax()]),
        tie=len(tied) > 1,
        mean_winner=int(sums.argmax()),
        mean_probabilities=probabilities.mean(axis=0),
    )
