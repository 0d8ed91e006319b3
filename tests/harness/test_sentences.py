"""The share of test clips whose words were trained on, against counting by hand."""

from __future__ import annotations

import pytest

from harness.plan import Plan, Split
from harness.sentences import sentence_overlap


def split(train: str, validation: str, test: str) -> Split:
    return Split(
        split_id="s",
        held_out="",
        repeat=0,
        seed=0,
        train=tuple(train),
        validation=tuple(validation),
        test=tuple(test),
    )


# Three people say 1 and 2; f says 3 as nobody else does.
SAID = {"a": "1", "b": "2", "c": "1", "d": "2", "e": "1", "f": "3"}


@pytest.mark.parametrize(
    ("splits", "overlap"),
    [
        ([split("ab", "cd", "ef")], 1 / 2),
        ([split("ac", "d", "bf")], 0.0),  # 2 is only said in the validation
        ([split("ab", "cd", "ef"), split("abef", "", "cd")], 3 / 4),
        ([split("ab", "cd", "ef"), split("cd", "ab", "e")], 3 / 4),
    ],
)
def test_the_overlap_is_the_mean_over_splits(splits: list[Split], overlap: float) -> None:
    assert sentence_overlap(Plan(unit="clip", splits=tuple(splits)), SAID) == overlap


def test_clips_without_a_known_sentence_do_not_count() -> None:
    plan = Plan(unit="clip", splits=(split("ab", "", "ef"), split("ef", "", "ab")))
    some = {**SAID, "f": None, "b": None}
    assert sentence_overlap(plan, some) == 1.0
    assert sentence_overlap(plan, dict.fromkeys(SAID)) is None
    assert sentence_overlap(plan, {}) is None
