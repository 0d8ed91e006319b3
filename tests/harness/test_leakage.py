"""Planted leaks: each must be caught, and named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.leakage import LeakError, allowed_reads, check_fitted, check_plan, check_reads
from harness.protocols import ProtocolConfig
from harness.splits import Plan, Split

SUBJECTS = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "c1": "c", "c2": "c"}
CONTENTS = {clip_id: f"content of {clip_id}" for clip_id in SUBJECTS}
CLEAN = Split(
    split_id="loso-c",
    held_out="c",
    repeat=0,
    seed=1,
    train=("a1", "a2"),
    validation=("b1", "b2"),
    test=("c1", "c2"),
)
LOSO = ProtocolConfig()
BY_CLIP = ProtocolConfig(kind="kfold", folds=2)


def check(
    split: Split, protocol: ProtocolConfig = LOSO, contents: dict[str, str] = CONTENTS
) -> None:
    check_plan(Plan(unit="clip", splits=(split,)), protocol, SUBJECTS, contents)


def test_a_clean_plan_passes() -> None:
    check(CLEAN)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (replace(CLEAN, train=("a1", "c1")), "clip c1 is in both training and test"),
        (replace(CLEAN, validation=("b1", "c2")), "clip c2 is in both validation and test"),
        (replace(CLEAN, validation=("b1", "a1")), "clip a1 is in both training and validation"),
        (replace(CLEAN, test=("c1",), train=("a1", "c2")), "subject c is in both training"),
        (replace(CLEAN, test=("c1",), validation=("c2",)), "subject c is in both validation"),
        (replace(CLEAN, test=()), "no test clip"),
        (replace(CLEAN, train=()), "no training clip"),
    ],
)
def test_a_planted_leak_in_the_plan_is_named(split: Split, said: str) -> None:
    with pytest.raises(LeakError, match=said):
        check(split)


def test_a_recording_copied_under_another_subjects_name_is_refused_by_name() -> None:
    copied = {**CONTENTS, "c2": CONTENTS["a1"]}
    with pytest.raises(LeakError, match="a1 in training and c2 in test are the same recording"):
        check(CLEAN, contents=copied)


def test_kfold_by_clip_may_share_subjects_with_the_test_but_not_with_the_validation() -> None:
    check(replace(CLEAN, train=("a1", "c1"), test=("a2", "c2")), BY_CLIP)
    with pytest.raises(LeakError, match="subject a is in both training and validation"):
        check(replace(CLEAN, train=("a1",), validation=("a2",)), BY_CLIP)


CLEAN_READS = allowed_reads(CLEAN.train, CLEAN.validation, CLEAN.test)


def test_reads_within_each_phases_own_clips_pass() -> None:
    check_reads(CLEAN, {phase: sorted(ids) for phase, ids in CLEAN_READS.items()})


@pytest.mark.parametrize("phase", ["stage1_fit", "stage1_choose", "stage2_fit", "stage2_choose"])
def test_a_phase_that_read_a_test_clip_is_caught(phase: str) -> None:
    reads = {phase: [*sorted(CLEAN_READS[phase]), "c1"]}
    with pytest.raises(LeakError, match=f"phase {phase} read c1"):
        check_reads(CLEAN, reads)


def test_fitting_on_the_validation_subject_is_caught() -> None:
    with pytest.raises(LeakError, match="phase stage1_fit read b1"):
        check_reads(CLEAN, {"stage1_fit": ["a1", "b1"]})


def test_a_phase_nobody_declared_is_caught() -> None:
    with pytest.raises(LeakError, match="unknown phase calibration"):
        check_reads(CLEAN, {"calibration": ["c1"]})


def test_a_normaliser_of_training_clips_passes_and_so_does_none() -> None:
    check_fitted(CLEAN, {"standardiser": ["a2", "a1"]})
    check_fitted(CLEAN, {})


@pytest.mark.parametrize(
    ("fitted_on", "said"),
    [
        (["a1", "c1"], r"the standardiser was fitted on c1 \(1 such in all\)"),
        (["a1", "b1", "b2"], r"the standardiser was fitted on b1 \(2 such in all\)"),
        (["a9"], "the standardiser was fitted on a9"),
        ([], "the standardiser was fitted on no clip at all"),
    ],
    ids=["test clip", "validation clips", "clip of no part", "nothing"],
)
def test_a_normaliser_fitted_on_anything_else_is_caught(fitted_on: list[str], said: str) -> None:
    with pytest.raises(LeakError, match=said):
        check_fitted(CLEAN, {"standardiser": fitted_on})
