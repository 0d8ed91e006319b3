"""Inner splits see the development subjects only, and planted leaks are caught."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from harness.leakage import LeakError
from harness.ledger import DONE, Entry
from harness.plan import Plan, Split
from harness.protocols import ProtocolConfig
from harness.searching.guard import check_inner_plan, check_inner_reads
from harness.searching.inner import everything, inner_plan
from harness.splits import plan_splits
from pipelines.errors import UsageError
from pipelines.records import Clip

EMOTIONS = ("anger", "fear", "joy")


def people(count: int) -> dict[str, Clip]:
    return {
        f"s{person}/{emotion}": Clip(
            clip_id=f"s{person}/{emotion}",
            path="",
            subject=f"s{person}",
            emotion=emotion,
            sentence=None,
            take="1",
            attributes={},
            corpus="c",
        )
        for person in range(count)
        for emotion in EMOTIONS
    }


CLIPS = people(6)
SUBJECTS = {clip_id: clip.subject for clip_id, clip in CLIPS.items()}
CONTENTS = {clip_id: clip_id for clip_id in CLIPS}
OUTER = plan_splits(list(CLIPS.values()), {}, ProtocolConfig(), 0).splits[2]


def subjects_of(clip_ids: tuple[str, ...]) -> set[str]:
    return {SUBJECTS[clip_id] for clip_id in clip_ids}


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_each_inner_split_divides_the_development_subjects(count: int) -> None:
    inner = inner_plan(OUTER, CLIPS, count, seed=0)
    assert len(inner.splits) == count
    for split in inner.splits:
        parts = [subjects_of(getattr(split, part)) for part in ("train", "validation", "test")]
        assert all(parts)
        assert len(parts[1]) == 1
        assert Counter(s for part in parts for s in part) == Counter(
            dict.fromkeys(subjects_of(OUTER.development), 1)
        )
        assert sum(len(getattr(split, p)) for p in ("train", "validation", "test")) == 15
    tested = Counter(s for split in inner.splits for s in subjects_of(split.test))
    assert set(tested.values()) == {1}
    assert len(tested) == (1 if count == 1 else 5)


def test_they_depend_on_names_and_the_seed_alone_and_take_turns_over_outer_splits() -> None:
    backwards = dict(reversed(CLIPS.items()))
    assert inner_plan(OUTER, backwards, 2, seed=0) == inner_plan(OUTER, CLIPS, 2, seed=0)
    assert inner_plan(OUTER, CLIPS, 2, seed=1) != inner_plan(OUTER, CLIPS, 2, seed=0)
    outers = plan_splits(list(CLIPS.values()), {}, ProtocolConfig(), 0).splits
    held_out = {inner_plan(outer, CLIPS, 1, seed=0).splits[0].held_out for outer in outers}
    assert len(held_out) > 2


def test_a_single_inner_split_holds_a_quarter_of_many_subjects_out() -> None:
    clips = people(41)
    (split,) = inner_plan(everything(list(clips.values())), clips, 1, seed=0).splits
    assert len({clips[clip_id].subject for clip_id in split.test}) == 10


def test_too_few_subjects_are_refused() -> None:
    with pytest.raises(UsageError, match=r"search\.inner_splits \(6\) needs at least 6 subjects"):
        inner_plan(OUTER, CLIPS, 6, seed=0)
    pair = people(2)
    outer = plan_splits(list(pair.values()), {}, ProtocolConfig(), 0).splits[0]
    with pytest.raises(UsageError, match="needs at least 2 subjects"):
        inner_plan(outer, pair, 1, seed=0)


def check(outer: Split, *splits: Split, apart: bool = True) -> None:
    check_inner_plan(outer, Plan(unit="clip", splits=splits), SUBJECTS, CONTENTS, apart=apart)


def test_the_guard_passes_what_is_planned_here() -> None:
    for protocol in (ProtocolConfig(), ProtocolConfig(kind="kfold", folds=3, unit="subject")):
        for outer in plan_splits(list(CLIPS.values()), {}, protocol, 0).splits:
            check(outer, *inner_plan(outer, CLIPS, 3, seed=0).splits)
    by_clip = ProtocolConfig(kind="kfold", folds=3)
    for outer in plan_splits(list(CLIPS.values()), {}, by_clip, 0).splits:
        inner = inner_plan(outer, CLIPS, 3, seed=0).splits
        check(outer, *inner, apart=by_clip.keeps_subjects_apart)
        with pytest.raises(LeakError, match=r"subject s\d is tested by the outer split"):
            check(outer, *inner, apart=True)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_an_inner_split_with_a_clip_that_the_outer_split_tests_is_caught(part: str) -> None:
    (split,) = inner_plan(OUTER, CLIPS, 1, seed=0).splits
    planted = Split(**{**vars(split), part: (*getattr(split, part), OUTER.test[0])})
    with pytest.raises(LeakError, match=rf"inner1: clip {OUTER.test[0]} is tested by the outer"):
        check(OUTER, planted)


def test_an_inner_split_with_another_clip_of_a_tested_subject_is_caught() -> None:
    (split,) = inner_plan(OUTER, CLIPS, 1, seed=0).splits
    kept, moved = OUTER.test[:-1], OUTER.test[-1]
    outer = replace(OUTER, test=kept, train=(*OUTER.train, moved))
    with pytest.raises(LeakError, match=f"subject {SUBJECTS[moved]} is tested by the outer split"):
        check(outer, replace(split, train=(*split.train, moved)))


def test_an_inner_split_that_shares_a_subject_between_its_own_parts_is_caught() -> None:
    (split,) = inner_plan(OUTER, CLIPS, 1, seed=0).splits
    planted = replace(split, test=split.test[:-1], train=(*split.train, split.test[-1]))
    with pytest.raises(LeakError, match=r"subject s\d is in both training and test"):
        check(OUTER, planted)


def entry(**reads: tuple[str, ...]) -> Entry:
    return Entry(
        split_id="trial001-inner1",
        status=DONE,
        parameters={"audio": 1, "visual": 1, "fusion": 1},
        study_digest="d",
        reads={phase: list(clip_ids) for phase, clip_ids in reads.items()},
    )


def test_what_a_trial_read_beyond_the_development_clips_is_caught() -> None:
    (split,) = inner_plan(OUTER, CLIPS, 1, seed=0).splits
    honest = {
        "stage1_fit": split.train,
        "stage1_choose": split.validation,
        "stage2_fit": split.train,
        "stage2_choose": split.validation,
        "test": split.test,
    }
    check_inner_reads(OUTER, split, entry(**honest))
    for phase, clip_ids in honest.items():
        planted = entry(**{**honest, phase: (*clip_ids, OUTER.test[0])})
        with pytest.raises(
            LeakError, match=f"search of {OUTER.split_id}: trial001-inner1: {phase}"
        ):
            check_inner_reads(OUTER, split, planted)
    # One network, of a training in one stage, has no second one to read for.
    joint = {phase: honest[phase] for phase in ("stage1_fit", "stage1_choose", "test")}
    check_inner_reads(OUTER, split, replace(entry(**joint), parameters={"joint": 1}))
    with pytest.raises(LeakError, match="unknown phase stage2"):
        check_inner_reads(OUTER, split, replace(entry(**honest), parameters={"joint": 1}))
    with pytest.raises(LeakError, match="phase stage2_fit read"):
        check_inner_reads(OUTER, split, entry(**joint))
    # Of the development, and still not for this phase.
    with pytest.raises(LeakError, match="phase stage1_fit read"):
        check_inner_reads(OUTER, split, entry(**{**honest, "stage1_fit": split.test}))
    fitted = replace(entry(**honest), fitted={"standardiser": [OUTER.test[0]]})
    with pytest.raises(LeakError, match="standardiser: clip"):
        check_inner_reads(OUTER, split, fitted)
