from __future__ import annotations

from collections import Counter

import pytest

from harness.divisions import check_divisible
from harness.plan import Plan
from harness.protocols import ProtocolConfig
from harness.splits import plan_splits as plan_of
from pipelines.errors import UsageError
from pipelines.records import Clip

EMOTIONS = ("anger", "fear", "joy")


def clips_of_people(subjects: int = 5, takes: int = 2) -> list[Clip]:
    return [
        Clip(clip_id=f"p{s}/{e}{t}", subject=f"p{s}", emotion=e, path="")
        for s in range(subjects)
        for e in EMOTIONS
        for t in range(takes)
    ]


LOSO = ProtocolConfig()


def plan_splits(clips: list[Clip], protocol: ProtocolConfig, seed: int) -> Plan:
    return plan_of(clips, {clip.clip_id: 3 for clip in clips}, protocol, seed)


def test_loso_tests_each_subject_once_with_all_their_clips_and_nobody_elses() -> None:
    clips = clips_of_people()
    plan = plan_splits(clips, LOSO, seed=0)
    assert [split.held_out for split in plan.splits] == ["p0", "p1", "p2", "p3", "p4"]
    for split in plan.splits:
        assert set(split.test) == {c.clip_id for c in clips if c.subject == split.held_out}
        parts = [set(split.train), set(split.validation), set(split.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == len(clips)


def test_the_inner_validation_is_one_whole_subject_and_rotates() -> None:
    plan = plan_splits(clips_of_people(), LOSO, seed=0)
    chosen = []
    for split in plan.splits:
        (subject,) = {clip_id.split("/")[0] for clip_id in split.validation}
        assert subject != split.held_out
        assert not any(clip_id.startswith(f"{subject}/") for clip_id in split.train)
        chosen.append(subject)
    assert Counter(chosen) == Counter(["p0", "p1", "p2", "p3", "p4"])


def test_who_alone_shows_a_class_trains_and_does_not_validate() -> None:
    only = Clip(clip_id="p3/awe", subject="p3", emotion="awe", path="")
    for split in plan_splits([*clips_of_people(), only], LOSO, seed=0).splits:
        if split.held_out != "p3":
            assert only.clip_id in split.train
            assert split.validation


def test_the_order_of_the_clips_changes_nothing() -> None:
    clips = clips_of_people()
    assert plan_splits(clips, LOSO, 3) == plan_splits(clips[::-1], LOSO, 3)


def test_the_seed_changes_the_splits_seeds_and_only_those_under_loso() -> None:
    one, other = (plan_splits(clips_of_people(), LOSO, seed).splits for seed in (0, 1))
    assert [split.test for split in one] == [split.test for split in other]
    assert not {split.seed for split in one} & {split.seed for split in other}
    assert len({split.seed for split in one}) == len(one)


def test_two_subjects_leave_one_to_train_and_none_to_choose_by() -> None:
    plan = plan_splits(clips_of_people(subjects=2), LOSO, seed=0)
    assert all(split.train and not split.validation for split in plan.splits)


def test_kfold_by_clip_tests_each_clip_once_and_stratifies() -> None:
    clips = clips_of_people(subjects=6, takes=2)
    plan = plan_splits(clips, ProtocolConfig(kind="kfold", folds=6), seed=0)
    tested = Counter(clip_id for split in plan.splits for clip_id in split.test)
    assert tested == Counter({clip.clip_id: 1 for clip in clips})
    emotion_of = {clip.clip_id: clip.emotion for clip in clips}
    for split in plan.splits:
        assert Counter(emotion_of[c] for c in split.test) == Counter(dict.fromkeys(EMOTIONS, 2))


def test_kfold_by_subject_keeps_each_person_on_one_side() -> None:
    clips = clips_of_people(subjects=6)
    plan = plan_splits(clips, ProtocolConfig(kind="kfold", folds=3, unit="subject"), seed=0)
    for split in plan.splits:
        tested = {clip_id.split("/")[0] for clip_id in split.test}
        assert not tested & {c.split("/")[0] for c in (*split.train, *split.validation)}


def test_kfold_validates_on_one_subject_inside_the_training_part() -> None:
    plan = plan_splits(clips_of_people(subjects=6), ProtocolConfig(kind="kfold", folds=4), seed=0)
    for split in plan.splits:
        (subject,) = {clip_id.split("/")[0] for clip_id in split.validation}
        assert not any(clip_id.startswith(f"{subject}/") for clip_id in split.train)


def test_names_that_no_file_can_have_become_different_split_ids() -> None:
    clips = [
        Clip(clip_id=f"{number}{e}", subject=subject, emotion=e, path="")
        for number, subject in enumerate(["subject 1", "subject/1", "../1", "subject_1"])
        for e in EMOTIONS
    ]
    ids = [split.split_id for split in plan_splits(clips, LOSO, 0).splits]
    assert len(set(ids)) == 4
    assert all("/" not in split_id and " " not in split_id for split_id in ids)


@pytest.mark.parametrize(
    ("clips", "protocol", "said"),
    [
        (clips_of_people(subjects=1), LOSO, r"one subject only \(p0\).*kfold"),
        ([c for c in clips_of_people() if c.emotion == "joy"], LOSO, r"single label \(joy\)"),
        (
            clips_of_people(subjects=2, takes=1),
            ProtocolConfig(kind="kfold", folds=7),
            r"protocol\.folds \(7\) is more than the 6 clips",
        ),
        (
            clips_of_people(subjects=3),
            ProtocolConfig(kind="kfold", folds=4, unit="subject"),
            r"protocol\.folds \(4\) is more than the 3 subjects",
        ),
    ],
)
def test_a_corpus_that_cannot_be_divided_is_refused(
    clips: list[Clip], protocol: ProtocolConfig, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        check_divisible(clips, protocol)
