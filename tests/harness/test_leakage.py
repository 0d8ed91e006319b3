"""Planted leaks: each must be caught, and named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.leakage import LeakError, allowed_reads, check_fitted, check_plan, check_reads
from harness.plan import Plan, Split
from harness.protocols import ProtocolConfig
from harness.same_sound import SameSound

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
    split: Split,
    protocol: ProtocolConfig = LOSO,
    contents: dict[str, str] = CONTENTS,
    same_sounds: Sequence[SameSound] = (),
) -> None:
    check_plan(Plan(unit="clip", splits=(split,)), protocol, SUBJECTS, contents, same_sounds)


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


def test_a_recording_copied_under_another_subjects_name_is_retwo_stages_by_name() -> None:
    copied = {**CONTENTS, "c2": CONTENTS["a1"]}
    with pytest.raises(LeakError, match="a1 in training and c2 in test are the same recording"):
        check(CLEAN, contents=copied)


def sounding_alike(one: str, other: str) -> SameSound:
    return SameSound(one, other, shift_s=0.0, seconds=1.5, bits_differ=0.1)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("a1", "c2", "a1 in training and c2 in test"),
        ("b2", "c1", "b2 in validation and c1 in test"),
        ("a2", "b1", "a2 in training and b1 in validation"),
        # By name the other way round: the part that learns is named first all the same.
        ("c2", "a1", "a1 in training and c2 in test"),
    ],
)
def test_a_recording_in_two_files_in_two_parts_is_retwo_stages_by_name(
    one: str, other: str, said: str
) -> None:
    told = rf"split loso-c: {said} are the same recording in two files \(1.5 s of one sound\)"
    for protocol in (LOSO, BY_CLIP):
        with pytest.raises(LeakError, match=told):
            check(CLEAN, protocol, same_sounds=[sounding_alike(one, other)])


def test_copies_that_stay_in_one_part_of_every_split_leak_nothing() -> None:
    twice = {**CONTENTS, "c2": CONTENTS["c1"]}
    check(CLEAN, contents=twice, same_sounds=[sounding_alike("a1", "a2")])


def test_a_file_copied_many_times_is_caught_wherever_the_copies_stand() -> None:
    names = [f"x{number:02d}" for number in range(60)]
    subjects = {**SUBJECTS, **dict.fromkeys(names, "a"), "x37": "c"}
    contents = {**CONTENTS, **dict.fromkeys(names, "one file")}
    train = (*CLEAN.train, *(name for name in names if name != "x37"))
    plan = Plan(unit="clip", splits=(replace(CLEAN, train=train, test=("c1", "x37")),))
    with pytest.raises(LeakError, match=r"x36 in training and x37 in test"):
        check_plan(plan, LOSO, subjects, contents, [])


def test_a_recording_under_two_subjects_is_retwo_stages_even_where_both_are_trained_on() -> None:
    split = replace(CLEAN, train=("a1", "a2", "b1"), validation=())
    pair = [sounding_alike("a2", "b1")]
    with pytest.raises(LeakError, match=r"a2 \(subject a\) and b1 \(subject b\) are the same"):
        check(split, same_sounds=pair)
    # Where subjects need not be apart it stands on one side, and tells the test nothing.
    check(split, BY_CLIP, same_sounds=pair)
    with pytest.raises(LeakError, match=r"a1 \(subject a\) and b1 \(subject b\) are the same"):
        check(split, contents={**CONTENTS, "b1": CONTENTS["a1"]})


def test_clips_that_no_split_uses_leak_nothing() -> None:
    split = replace(CLEAN, train=("a1",), validation=("b1",), test=("c1",))
    unused = {**CONTENTS, "a2": "unreadable", "b2": "unreadable", "c2": "unreadable"}
    check(split, contents=unused, same_sounds=[sounding_alike("a1", "c2")])


def test_kfold_by_clip_may_share_subjects_with_the_test_but_not_with_the_validation() -> None:
    check(replace(CLEAN, train=("a1", "c1"), test=("a2", "c2")), BY_CLIP)
    with pytest.raises(LeakError, match="subject a is in both training and validation"):
        check(replace(CLEAN, train=("a1",), validation=("a2",)), BY_CLIP)


READS = {
    phase: sorted(clip_ids)
    for phase, clip_ids in allowed_reads(CLEAN.train, CLEAN.validation, CLEAN.test).items()
}
ONE_STAGE = {phase: READS[phase] for phase in ("stage1_fit", "stage1_choose", "test")}
PHASES = ["stage1_fit", "stage1_choose", "stage2_fit", "stage2_choose", "test"]


def test_phases_that_read_all_their_own_clips_pass() -> None:
    assert sorted(READS) == sorted(PHASES)
    check_reads(CLEAN, READS, two_stages=True)
    check_reads(CLEAN, ONE_STAGE, two_stages=False)


def test_without_a_validation_subject_nothing_is_chosen_by() -> None:
    split = replace(CLEAN, validation=())
    reads = {phase: ids for phase, ids in READS.items() if not phase.endswith("choose")}
    check_reads(split, reads, two_stages=True)


@pytest.mark.parametrize("phase", ["stage1_fit", "stage1_choose", "stage2_fit", "stage2_choose"])
def test_a_phase_that_read_a_test_clip_is_caught(phase: str) -> None:
    with pytest.raises(LeakError, match=f"phase {phase} read c1"):
        check_reads(CLEAN, {**READS, phase: [*READS[phase], "c1"]}, two_stages=True)


def test_fitting_on_the_validation_subject_is_caught() -> None:
    with pytest.raises(LeakError, match="phase stage1_fit read b1"):
        check_reads(CLEAN, {**READS, "stage1_fit": ["a1", "a2", "b1"]}, two_stages=True)


def test_a_clip_of_no_part_of_the_split_is_caught() -> None:
    with pytest.raises(LeakError, match="phase test read z9"):
        check_reads(CLEAN, {**READS, "test": ["c1", "c2", "z9"]}, two_stages=True)


def test_a_phase_nobody_declared_is_caught() -> None:
    with pytest.raises(LeakError, match="unknown phase calibration"):
        check_reads(CLEAN, {**READS, "calibration": ["c1"]}, two_stages=True)
    with pytest.raises(LeakError, match="unknown phase stage2_fit"):
        check_reads(CLEAN, READS, two_stages=False)


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_whose_reads_are_unknown_or_incomplete_is_caught(phase: str) -> None:
    gone = {name: ids for name, ids in READS.items() if name != phase}
    for reads in (gone, {**READS, phase: []}, {**READS, phase: READS[phase][1:]}):
        missing = min(set(READS[phase]) - set(reads.get(phase, ())))
        with pytest.raises(LeakError, match=f"does not say that phase {phase} read {missing}"):
            check_reads(CLEAN, reads, two_stages=True)


def test_a_ledger_without_any_reads_is_caught() -> None:
    for two_stages in (True, False):
        with pytest.raises(LeakError, match=r"stage1_fit read a1 \(2 of its 2 clips are missing\)"):
            check_reads(CLEAN, {}, two_stages=two_stages)


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


def test_a_standardiser_that_the_ledger_does_not_name_is_caught() -> None:
    with pytest.raises(LeakError, match="does not say what the standardiser was fitted on"):
        check_fitted(CLEAN, {}, standardised=True)


def test_a_copy_is_found_though_another_copy_is_in_no_part_of_the_split() -> None:
    copied = {**CONTENTS, "b1": CONTENTS["a1"], "c1": CONTENTS["a1"]}
    # By name b1 stands between the two, and this split leaves it out.
    split = replace(CLEAN, train=("a1",), validation=(), test=("c1",))
    other = replace(CLEAN, split_id="other", train=("a2",), validation=(), test=("b1",))
    plan = Plan(unit="clip", splits=(split, other))
    with pytest.raises(LeakError, match="a1 in training and c1 in test are the same recording"):
        check_plan(plan, BY_CLIP, SUBJECTS, copied)


def test_the_ledger_must_say_what_a_rivals_classifier_was_fitted_on() -> None:
    check_fitted(CLEAN, {"classifier": ["a2", "a1"]}, rival=True)
    with pytest.raises(LeakError, match="does not say what the classifier was fitted on"):
        check_fitted(CLEAN, {"cross-modal factors": ["a1"]}, rival=True)
