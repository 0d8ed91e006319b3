"""Plans of all protocols on clips made up here, checked by counting."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from harness.divisions import check_divisible, sentence_groups
from harness.plan import Plan, Split
from harness.plan_file import read_plan, write_plan
from harness.protocols import LEAKING, SUBJECT_DEPENDENT, ProtocolConfig
from harness.splits import plan_splits
from pipelines.errors import UsageError
from pipelines.records import Clip
from pipelines.split_task import PARTS

EMOTIONS = ("anger", "fear", "joy")
SEGMENTS = 4


def clips_of(subjects: int = 5, sentences: int = 4, *, own_wording: bool = False) -> list[Clip]:
    """Everybody says every sentence with every emotion, or each emotion's own sentences."""
    return [
        Clip(
            clip_id=f"p{s}/{e}{k}",
            subject=f"p{s}",
            emotion=e,
            path="",
            sentence=f"{e}/{k}" if own_wording else str(k),
        )
        for s in range(subjects)
        for e in EMOTIONS
        for k in range(sentences)
    ]


def plan_of(clips: list[Clip], seed: int = 0, **protocol: Any) -> Plan:
    settings = ProtocolConfig(**protocol)
    return plan_splits(clips, {clip.clip_id: SEGMENTS for clip in clips}, settings, seed)


def subjects_in(clip_ids: tuple[str, ...]) -> set[str]:
    return {clip_id.partition("/")[0] for clip_id in clip_ids}


def counts_of_tests(plan: Plan, repeat: int = 0) -> Counter[str]:
    return Counter(c for split in plan.splits if split.repeat == repeat for c in split.test)


def once(clips: list[Clip]) -> Counter[str]:
    return Counter(clip.clip_id for clip in clips)


# People


def test_several_subjects_are_held_out_together_and_nobody_twice() -> None:
    clips = clips_of(subjects=5)
    plan = plan_of(clips, subjects_out=2)
    assert [split.held_out for split in plan.splits] == ["p0, p1", "p2, p3", "p4"]
    assert [split.split_id for split in plan.splits] == ["loso-p0+p1", "loso-p2+p3", "loso-p4"]
    assert counts_of_tests(plan) == once(clips)
    for split in plan.splits:
        assert subjects_in(split.test) == set(split.held_out.split(", "))
        assert not subjects_in(split.test) & subjects_in(split.development)
        assert len(subjects_in(split.validation)) == 1
        assert set(split.test) | set(split.development) == {clip.clip_id for clip in clips}
    assert plan.warnings({clip.clip_id: clip for clip in clips}) == ()


# Sentences


@pytest.mark.parametrize("own_wording", [False, True])
@pytest.mark.parametrize(("sentences", "groups"), [(4, 2), (5, 3), (7, 4)])
def test_each_group_of_sentences_shows_each_emotion(
    own_wording: bool, sentences: int, groups: int
) -> None:
    clips = clips_of(2, sentences, own_wording=own_wording)
    group_of = sentence_groups(clips, groups)
    assert group_of.keys() == {clip.sentence for clip in clips}
    shown = Counter((group_of[clip.sentence or ""], clip.emotion) for clip in clips)
    assert shown.keys() == {(group, emotion) for group in range(groups) for emotion in EMOTIONS}
    sizes = Counter(group_of.values())
    assert max(sizes.values()) - min(sizes.values()) <= 1
    assert sentence_groups(clips[::-1], groups) == group_of


def test_sentences_that_are_each_said_with_an_emotion_of_their_own_go_to_all_groups() -> None:
    clips = clips_of(sentences=1, own_wording=True)
    assert sorted(sentence_groups(clips, 3).values()) == [0, 1, 2]


@pytest.mark.parametrize("own_wording", [False, True])
def test_who_is_tested_on_other_sentences_shares_neither_person_nor_wording(
    own_wording: bool,
) -> None:
    clips = clips_of(subjects=4, sentences=4, own_wording=own_wording)
    sentence_of = {clip.clip_id: clip.sentence for clip in clips}
    plan = plan_of(clips, sentence_disjoint=True, sentence_groups=2)
    assert len(plan.splits) == 4 * 2
    assert counts_of_tests(plan) == once(clips)
    group_of = sentence_groups(clips, 2)
    for split in plan.splits:
        said, learned = (
            {sentence_of[clip_id] for clip_id in ids} for ids in (split.test, split.development)
        )
        assert not said & learned
        assert not subjects_in(split.test) & subjects_in(split.development)
        # Nothing else is left out.
        group = {group_of[sentence or ""] for sentence in said}
        assert len(group) == 1
        others = [c for c in clips if {group_of[c.sentence or ""]} != group]
        assert set(split.development) == {
            c.clip_id for c in others if {c.subject} != subjects_in(split.test)
        }


def test_kfold_by_sentence_keeps_each_sentence_on_one_side_and_is_subject_dependent() -> None:
    clips = clips_of(subjects=3, sentences=4)
    sentence_of = {clip.clip_id: clip.sentence for clip in clips}
    plan = plan_of(clips, kind="kfold", unit="sentence", folds=4)
    assert counts_of_tests(plan) == once(clips)
    for split in plan.splits:
        assert not {sentence_of[c] for c in split.test} & {sentence_of[c] for c in split.train}
    assert plan.warnings({clip.clip_id: clip for clip in clips}) == (SUBJECT_DEPENDENT,)


@pytest.mark.parametrize(
    "protocol",
    [{"kind": "kfold", "unit": "sentence", "folds": 2}, {"sentence_disjoint": True}],
)
def test_sentences_must_be_known_and_enough(protocol: dict[str, Any]) -> None:
    settings = ProtocolConfig(**protocol)
    clips = clips_of(sentences=4)
    silent = Clip(clip_id="p0/mute", subject="p0", emotion="joy", path="")
    with pytest.raises(UsageError, match=r"no sentence for 1 of 61 clips \(p0/mute is one\)"):
        check_divisible([*clips, silent], settings)
    with pytest.raises(UsageError, match="the corpus has 1 sentences: use fewer"):
        check_divisible(clips_of(sentences=1), settings)


# Segments


def test_each_segment_is_tested_once_and_never_by_what_learned_from_it() -> None:
    clips = clips_of(subjects=3, sentences=2)
    plan = plan_of(clips, kind="kfold", unit="segment", folds=5)
    every = {(clip.clip_id, number) for clip in clips for number in range(SEGMENTS)}
    counts: Counter[tuple[str, int]] = Counter()
    emotion_of = {clip.clip_id: clip.emotion for clip in clips}
    both_sides = 0
    for split in plan.splits:
        parts = {
            part: {(c, i) for c, numbers in split.pieces[part].items() for i in numbers}
            for part in PARTS
        }
        assert parts.keys() == {"train", "validation", "test"}
        assert not any(one & other for one, other in combinations(parts.values(), 2))
        assert set.union(*parts.values()) == every
        for part in PARTS:
            assert {c for c, _ in parts[part]} == set(getattr(split, part))
        counts.update(parts["test"])
        of_emotions = Counter(emotion_of[c] for c, _ in parts["test"])
        assert max(of_emotions.values()) - min(of_emotions.values()) <= 1
        # Inner validation is by subject here too.
        assert len(subjects_in(split.validation)) == 1
        assert not subjects_in(split.validation) & subjects_in(split.train)
        both_sides += len(set(split.test) & set(split.train))
    assert counts == Counter(dict.fromkeys(every, 1))
    assert both_sides > 0
    assert plan.warnings({clip.clip_id: clip for clip in clips}) == (LEAKING,)


# Repeats and seeds


@pytest.mark.parametrize("unit", ["clip", "subject", "segment"])
def test_each_repeat_draws_other_folds_and_tests_each_clip_again(unit: str) -> None:
    clips = clips_of(subjects=6)
    folds: dict[str, Any] = {"kind": "kfold", "unit": unit, "folds": 3}
    plan = plan_of(clips, **folds, repeats=2)
    assert len(plan.splits) == 6
    assert len({split.split_id for split in plan.splits}) == 6
    assert len({split.seed for split in plan.splits}) == 6
    if unit != "segment":
        assert counts_of_tests(plan, 0) == counts_of_tests(plan, 1) == once(clips)
    first, second = drawn_in(plan, 0), drawn_in(plan, 1)
    assert first == drawn_in(plan_of(clips, **folds), 0)
    assert second != first
    # Nor is the second drawing of a seed the first one of the next.
    assert second != drawn_in(plan_of(clips, seed=1, **folds), 0)


def drawn_in(plan: Plan, repeat: int) -> set[str]:
    """What is tested together, whatever the order of the folds."""
    return {
        json.dumps([split.test, split.pieces.get("test")], sort_keys=True)
        for split in plan.splits
        if split.repeat == repeat
    }


@pytest.mark.parametrize(
    "protocol", [{}, {"kind": "kfold", "folds": 3}, {"kind": "kfold", "unit": "segment"}]
)
def test_more_seeds_train_the_same_splits_again_and_the_first_is_the_plain_one(
    protocol: dict[str, Any],
) -> None:
    plain = plan_of(clips_of(), **protocol).splits
    seeded = plan_of(clips_of(), **protocol, seeds=3).splits
    assert len({split.split_id for split in seeded}) == len(seeded) == 3 * len(plain)
    assert len({split.seed for split in seeded}) == len(seeded)
    for number, split in enumerate(seeded):
        of_plain = plain[number // 3]
        assert (split.seed_index, split.split_id) == (
            number % 3,
            f"{of_plain.split_id}-seed{number % 3 + 1}",
        )
        assert parts_of(split) == parts_of(of_plain)
        assert (split.seed == of_plain.seed) == (number % 3 == 0)


def parts_of(split: Split) -> tuple[object, ...]:
    return split.train, split.validation, split.test, split.pieces


# Another corpus


def test_a_model_of_one_corpus_is_tested_on_every_clip_of_the_other_and_on_no_other() -> None:
    learned = clips_of(subjects=3)
    other = [
        Clip(clip_id=f"z/{c.clip_id}", subject=f"z/{c.subject}", emotion=c.emotion, path="")
        for c in clips_of(subjects=2)
    ]
    (split,) = plan_splits(
        [*learned, *other],
        {clip.clip_id: SEGMENTS for clip in (*learned, *other)},
        ProtocolConfig(kind="cross"),
        0,
        other_corpus={clip.clip_id for clip in other},
    ).splits
    assert set(split.test) == {clip.clip_id for clip in other}
    assert set(split.development) == {clip.clip_id for clip in learned}
    assert len(subjects_in(split.validation)) == 1
    assert not subjects_in(split.validation) & subjects_in(split.train)


# A plan from a file


def test_a_plan_that_was_written_is_the_same_plan_again(tmp_path: Path) -> None:
    clips = clips_of()
    protocols: list[dict[str, Any]] = [
        {},
        {"seeds": 2},
        {"sentence_disjoint": True},
        {"kind": "kfold", "repeats": 2},
        {"kind": "kfold", "unit": "segment", "folds": 3},
    ]
    for number, protocol in enumerate(protocols):
        plan = plan_of(clips, seed=7, **protocol)
        path = tmp_path / f"{number}.json"
        write_plan(path, plan)
        assert plan_of(clips, seed=8, plan=str(path)) == plan


def written(path: Path, *splits: dict[str, Any], unit: str = "clip") -> str:
    path.write_text(json.dumps({"unit": unit, "splits": splits}))
    return str(path)


def test_a_plan_of_bare_lists_will_do_and_is_given_inner_validation(tmp_path: Path) -> None:
    clips = clips_of(subjects=4)
    train = [clip.clip_id for clip in clips if clip.subject != "p3"]
    test = [clip.clip_id for clip in clips if clip.subject == "p3"]
    plan = written(tmp_path / "p.json", {"split_id": "published", "train": train, "test": test})
    (split,) = plan_of(clips, plan=plan).splits
    assert (split.split_id, split.held_out, split.repeat) == ("published", "published", 0)
    assert list(split.test) == test
    assert sorted(split.development) == sorted(train)
    assert len(subjects_in(split.validation)) == 1
    assert not subjects_in(split.validation) & subjects_in(split.train)
    (again,) = plan_of(clips, seed=9, plan=plan).splits
    assert again == split


def test_clips_of_a_plan_that_cannot_be_used_are_lost_by_name(tmp_path: Path) -> None:
    clips = clips_of(subjects=3)
    path = tmp_path / "plan.json"
    write_plan(path, plan_of(clips))
    gone = "p1/fear2"
    usable = [clip for clip in clips if clip.clip_id != gone]
    segments = {clip.clip_id: SEGMENTS for clip in usable}
    protocol = ProtocolConfig(plan=str(path))
    plan = plan_splits(usable, segments, protocol, 0, lost=[gone])
    assert plan.lost == (gone,)
    assert all(gone not in (*split.development, *split.test) for split in plan.splits)
    assert counts_of_tests(plan) == once(usable)
    # Run again, it still owes the clips that it could never use.
    again = tmp_path / "again.json"
    write_plan(again, plan)
    protocol = ProtocolConfig(plan=str(again))
    assert plan_splits(usable, segments, protocol, 0, lost=[gone]).lost == (gone,)
    # So does whoever could use them: no split of that plan tests them.
    every = {clip.clip_id: SEGMENTS for clip in clips}
    assert plan_splits(clips, every, protocol, 0).lost == (gone,)


def test_a_plan_that_leaves_clips_out_says_how_many(tmp_path: Path) -> None:
    clips = clips_of(subjects=4)
    train = [clip.clip_id for clip in clips if clip.subject != "p3"]
    test = [clip.clip_id for clip in clips if clip.subject == "p3"]
    path = written(tmp_path / "p.json", {"split_id": "one", "train": train, "test": test[1:]})
    plan = plan_of(clips, plan=path)
    ids = [clip.clip_id for clip in clips]
    assert plan.untested(ids) == [
        f"the plan tests {len(test) - 1} of the corpus' {len(clips)} clips"
    ]
    assert plan_of(clips).untested(ids) == []


def test_a_clip_that_stands_twice_in_a_part_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "p.json", {"split_id": "x", "train": ["a", "b", "a"], "test": ["c"]})
    with pytest.raises(UsageError, match="a stands twice in train of split x"):
        read_plan(Path(path))


@pytest.mark.parametrize(
    ("name", "value"),
    [("subjects_out", 3), ("sentence_disjoint", True), ("unit", "subject"), ("seeds", 2)],
)
def test_what_a_plan_settles_is_refused_beside_it(name: str, value: Any) -> None:
    kind = "kfold" if name == "unit" else "loso"
    with pytest.raises(UsageError, match=rf"protocol\.{name} \({value}\) is settled by"):
        ProtocolConfig(kind=kind, plan="p.json", **{name: value})


@pytest.mark.parametrize("lost", [None, 5])
def test_a_plan_whose_lost_clips_are_no_list_is_refused(lost: object, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_plan(path, plan_of(clips_of(subjects=3)))
    path.write_text(json.dumps({**json.loads(path.read_text()), "lost": lost}))
    with pytest.raises(UsageError, match=r"is not a plan\.json"):
        read_plan(path)


def test_more_folds_than_any_label_has_clips_are_refused() -> None:
    clips = clips_of(subjects=3)
    most = max(Counter(clip.emotion for clip in clips).values())
    with pytest.raises(UsageError, match=rf"protocol\.folds \({most + 1}\) .* {most} clips"):
        plan_of(clips, kind="kfold", folds=most + 1)


@pytest.mark.parametrize(
    ("row", "unit", "said"),
    [
        ({"train": ["p0/joy0", "p9/joy0"], "test": ["p1/joy0"]}, "clip", r"1 clips.*p9/joy0"),
        (
            {"train": [["p0/joy0", 0]], "test": [["p1/joy0", SEGMENTS]]},
            "segment",
            rf"segment {SEGMENTS} of p1/joy0, which has {SEGMENTS}",
        ),
        ({"train": ["p0/joy0"], "test": ["p1/joy0"], "split_id": "../x"}, "clip", "can't name"),
        ({"train": ["p0/joy0"], "test": ["p1/joy0"]}, "segment", "is not a plan.json"),
        ({"train": ["p0/joy0"], "test": ["p1/joy0"]}, "sentence", "unit.*sentence"),
    ],
)
def test_a_plan_that_does_not_fit_the_corpus_is_refused(
    row: dict[str, Any], unit: str, said: str, tmp_path: Path
) -> None:
    plan = written(tmp_path / "plan.json", {"split_id": "one", **row}, unit=unit)
    with pytest.raises(UsageError, match=said):
        plan_of(clips_of(), plan=plan)


def test_a_plan_settles_its_seeds_and_names_each_split_once(tmp_path: Path) -> None:
    row: dict[str, Any] = {"split_id": "one", "train": ["p0/joy0"], "test": ["p1/joy0"]}
    plan = written(tmp_path / "plan.json", row)
    with pytest.raises(UsageError, match=r"protocol\.seeds \(2\) is settled by protocol\.plan"):
        plan_of(clips_of(), plan=plan, seeds=2)
    twice = written(tmp_path / "twice.json", row, row)
    with pytest.raises(UsageError, match="two splits of the name one"):
        plan_of(clips_of(), plan=twice)
    with pytest.raises(UsageError, match=r"protocol\.plan \(/no/such\.json\) can't be read"):
        plan_of(clips_of(), plan="/no/such.json")
