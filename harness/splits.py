"""Who is tested and who trains: the plan of a study."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.divisions import Division, divide
from harness.protocols import LEAKING, SUBJECT_DEPENDENT, ProtocolConfig
from pipelines.errors import UsageError, require
from pipelines.records import Clip
from pipelines.split_task import PARTS, Pieces, seed_for
from pipelines.storage import write_json

CLIP, SEGMENT = "clip", "segment"


@dataclass(frozen=True, kw_only=True)
class Split:
    """One division into training, inner validation and test clips."""

    split_id: str
    held_out: str
    repeat: int
    """Which drawing of the folds, from 0."""
    seed_index: int = 0
    """Which training of the same division, from 0."""
    seed: int
    """Of weights and orders."""
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    pieces: Pieces = field(default_factory=dict)
    """Part -> clip -> its segments, where clips are divided too: `train`, `validation`, `test`."""

    def pieces_in(self, part: str) -> set[str]:
        """Return the segments of a part as names, where clips are divided."""
        held = self.pieces.get(part, {})
        return {f"{clip_id}, {index}" for clip_id, indices in held.items() for index in indices}

    @property
    def development(self) -> tuple[str, ...]:
        """Clips that the training may see, to learn from or to choose by."""
        return tuple(sorted({*self.train, *self.validation}))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All splits of a study."""

    unit: str
    splits: tuple[Split, ...]
    lost: tuple[str, ...] = ()
    """Clips that were to be tested and can't be used: they count as not recognised."""

    to_choose: frozenset[str] = frozenset()
    """Splits of a file that say nothing of inner validation."""

    @cached_property
    def test_clips(self) -> frozenset[str]:
        """All clips that some split tests."""
        return frozenset(clip_id for split in self.splits for clip_id in split.test)

    def warnings(self, clips: Mapping[str, Clip]) -> tuple[str, ...]:
        """Return what must stand wherever these numbers appear, found from the splits."""
        if self.unit == SEGMENT:
            return (LEAKING,)
        for split in self.splits:
            known = {clips[clip_id].subject for clip_id in split.development}
            if any(clips[clip_id].subject in known for clip_id in split.test):
                return (SUBJECT_DEPENDENT,)
        return ()

    def untested(self, clips: Collection[str]) -> list[str]:
        """Return a warning where clips of the corpus are neither tested nor owed."""
        tested = len(self.test_clips | set(self.lost))
        if tested == len(clips):
            return []
        return [f"the plan tests {tested} of the corpus' {len(clips)} clips"]

    def write(self, path: Path) -> None:
        """Write plan.json: lists of clip ids, or of [clip id, segment] where clips are divided."""
        splits = []
        for split in self.splits:
            value = asdict(split)
            pieces = value.pop("pieces")
            if self.unit == SEGMENT:
                for part in PARTS:
                    value[part] = [[c, i] for c in value[part] for i in pieces[part][c]]
            splits.append(value)
        write_json(path, {"unit": self.unit, "lost": list(self.lost), "splits": splits})


def plan_splits(
    clips: Sequence[Clip],
    segments: Mapping[str, int],
    protocol: ProtocolConfig,
    seed: int,
    *,
    other_corpus: Collection[str] = (),
    lost: Collection[str] = (),
) -> Plan:
    """Divide the usable clips; the same clips, protocol and seed give the same plan, always.

    Args:
        clips: the usable clips.
        segments: clip_id -> its number of segments.
        protocol: how to divide.
        seed: of the drawing of folds; those of the splits derive from it.
        other_corpus: clips of the corpus that a model of the other one is tested on.
        lost: clips that were to be tested and can't be used.

    Raises:
        UsageError: the corpus can't be divided so, or the plan's file is of another corpus.
    """
    if protocol.plan is not None:
        return _again(read_plan(Path(protocol.plan)), clips, segments, set(lost), protocol)
    ordered = sorted(clips, key=lambda clip: clip.clip_id)
    divisions = divide(ordered, segments, protocol, seed, frozenset(other_corpus))
    ring = subject_ring(ordered)
    splits = [
        split
        for number, division in enumerate(divisions)
        for split in _trainings(division, number, ordered, ring, protocol.seeds, seed)
    ]
    by_segment = any(division.pieces for division in divisions)
    return Plan(
        unit=SEGMENT if by_segment else CLIP, splits=tuple(splits), lost=tuple(sorted(lost))
    )


def _trainings(
    division: Division,
    number: int,
    clips: Sequence[Clip],
    ring: Sequence[str],
    seeds: int,
    seed: int,
) -> list[Split]:
    """Return one division as splits, one for each seed."""
    tested = set(division.test)
    rest = [
        clip
        for clip in clips
        if clip.clip_id not in division.left_out
        and (clip.clip_id not in tested or clip.clip_id in division.shared)
    ]
    validator = validation_subject(ring, division.subjects, number, rest)
    parts = {
        "train": tuple(clip.clip_id for clip in rest if clip.subject != validator),
        "validation": tuple(clip.clip_id for clip in rest if clip.subject == validator),
        "test": tuple(clip.clip_id for clip in clips if clip.clip_id in tested),
    }
    return [
        Split(
            split_id=division.split_id + (f"-seed{index + 1}" if seeds > 1 else ""),
            held_out=division.held_out,
            repeat=division.repeat,
            seed_index=index,
            seed=seed_for(seed, division.split_id, str(index)),
            **parts,
            pieces=division.pieces_of(parts) if division.pieces else {},
        )
        for index in range(seeds)
    ]


def subject_ring(clips: Sequence[Clip]) -> list[str]:
    """Return the subjects in an order by a stable hash, which no name or number has chosen."""
    return sorted(
        {clip.subject for clip in clips},
        key=lambda subject: hashlib.sha256(subject.encode()).hexdigest(),
    )


def validation_subject(
    ring: Sequence[str], tested: Collection[str], number: int, rest: Sequence[Clip]
) -> str | None:
    """Return the inner held-out subject: the next on the ring, so that it rotates over splits.

    Somebody who alone shows a class is passed over: the training needs them more.

    Args:
        ring: all subjects.
        tested: those held out; after the last of them on the ring the search begins.
        number: of the split; where nobody is held out the search begins there.
        rest: clips that the split may train on.
    """
    available = {clip.subject for clip in rest}
    if len(available) < 2:
        return None  # nobody would be left to train on
    shown_by = {
        label: {clip.subject for clip in rest if clip.emotion == label}
        for label in {clip.emotion for clip in rest}
    }
    alone = {next(iter(people)) for people in shown_by.values() if len(people) == 1}
    places = [place for place, subject in enumerate(ring) if subject in tested]
    start = places[-1] + 1 if places else number
    turned = [ring[(start + step) % len(ring)] for step in range(len(ring))]
    candidates = [subject for subject in turned if subject in available]
    return next((subject for subject in candidates if subject not in alone), candidates[0])


def read_plan(path: Path) -> Plan:
    """Read a plan.json.

    Raises:
        UsageError: there is none, or it is not of this form.
    """
    try:
        value = json.loads(path.read_text())
        if value["unit"] not in (CLIP, SEGMENT):
            raise ValueError(f"unit {value['unit']!r} is neither {CLIP} nor {SEGMENT}")
        splits = tuple(_split_of(row, value["unit"]) for row in value["splits"])
        to_choose = frozenset(s["split_id"] for s in value["splits"] if "validation" not in s)
        lost = tuple(str(clip_id) for clip_id in value.get("lost", ()))
    except OSError as error:
        raise UsageError(f"protocol.plan ({path}) can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UsageError(
            f"protocol.plan ({path}) is not a plan.json ({type(error).__name__}: {error}): it "
            'holds {"unit": "clip", "splits": [{"split_id": ..., "train": [...], "validation": '
            '[...], "test": [...]}, ...]}'
        ) from error
    require(bool(splits), f"protocol.plan ({path}) holds no split")
    names = [split.split_id for split in splits]
    twice = sorted({name for name in names if names.count(name) > 1})
    require(not twice, f"protocol.plan ({path}) has two splits of the name {', '.join(twice)}")
    return Plan(unit=value["unit"], splits=splits, lost=lost, to_choose=to_choose)


def _split_of(row: Mapping[str, Any], unit: str) -> Split:
    split_id = str(row["split_id"])
    if not split_id or "/" in split_id or split_id.startswith("."):
        raise ValueError(f"split_id {split_id!r} can't name a file")
    parts: dict[str, tuple[str, ...]] = {}
    pieces: dict[str, dict[str, tuple[int, ...]]] = {}
    for part in PARTS:
        if unit == CLIP:
            parts[part] = tuple(str(clip_id) for clip_id in row.get(part, ()))
            continue
        held: dict[str, list[int]] = {}
        for clip_id, segment in row.get(part, ()):
            held.setdefault(clip_id, []).append(int(segment))
        parts[part] = tuple(held)
        pieces[part] = {clip_id: tuple(sorted(of_clip)) for clip_id, of_clip in held.items()}
    return Split(
        split_id=split_id,
        held_out=str(row.get("held_out", split_id)),
        repeat=int(row.get("repeat", 0)),
        seed_index=int(row.get("seed_index", 0)),
        seed=int(row["seed"]) if "seed" in row else seed_for(0, split_id, "0"),
        **parts,
        pieces=pieces,
    )


def _again(
    plan: Plan,
    clips: Sequence[Clip],
    segments: Mapping[str, int],
    lost: Collection[str],
    protocol: ProtocolConfig,
) -> Plan:
    """Return the splits of a file on the clips that there are, and name those that are lost."""
    require(
        protocol.seeds == 1,
        f"protocol.seeds ({protocol.seeds}) is settled by protocol.plan ({protocol.plan}), which "
        "holds every training of every split: leave it out",
    )
    usable = {clip.clip_id: clip for clip in clips}
    named = {c for split in plan.splits for part in PARTS for c in getattr(split, part)}
    unknown = sorted((named | set(plan.lost)) - usable.keys() - set(lost))
    require(
        not unknown,
        f"protocol.plan ({protocol.plan}) names {len(unknown)} clips that the corpus does not have "
        f"({unknown[0] if unknown else ''} is one): is it a plan of another corpus?",
    )
    for split in plan.splits:
        for held in split.pieces.values():
            for clip_id, numbers in held.items():
                require(
                    clip_id not in usable or max(numbers) < segments[clip_id],
                    f"protocol.plan ({protocol.plan}) names segment {max(numbers)} of {clip_id}, "
                    f"which has {segments.get(clip_id)}, counted from 0: is it a plan of other "
                    "settings of preprocessing?",
                )
    ring = subject_ring(clips)
    splits = []
    for number, split in enumerate(plan.splits):
        train = [clip_id for clip_id in split.train if clip_id in usable]
        validation = [clip_id for clip_id in split.validation if clip_id in usable]
        test = tuple(clip_id for clip_id in split.test if clip_id in usable)
        if split.split_id in plan.to_choose and plan.unit == CLIP:
            tested = {usable[clip_id].subject for clip_id in test}
            rest = [usable[clip_id] for clip_id in train]
            validator = validation_subject(ring, tested, number, rest)
            validation = [c for c in train if usable[c].subject == validator]
            train = [c for c in train if usable[c].subject != validator]
        splits.append(replace(split, train=tuple(train), validation=tuple(validation), test=test))
    # What was lost there is owed here too, whoever could use it: no split tests it.
    owed = set(plan.lost) | {c for split in plan.splits for c in split.test if c in set(lost)}
    tested = {clip_id for split in splits for clip_id in split.test}
    return Plan(unit=plan.unit, splits=tuple(splits), lost=tuple(sorted(owed - tested)))
