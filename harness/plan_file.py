"""A plan as a file: a published split can be run again exactly."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.inner_validation import subject_ring, validation_subject
from harness.plan import CLIP, SEGMENT, Plan, Split
from pipelines.errors import UsageError, require
from pipelines.records import Clip
from pipelines.split_task import PARTS, seed_for
from pipelines.storage import write_json


def write_plan(path: Path, plan: Plan) -> None:
    """Write plan.json: lists of clip ids, or of [clip id, segment] where clips are divided."""
    splits = []
    for split in plan.splits:
        value = asdict(split)
        pieces = value.pop("pieces")
        if plan.unit == SEGMENT:
            for part in PARTS:
                value[part] = [[c, i] for c in value[part] for i in pieces[part][c]]
        splits.append(value)
    write_json(path, {"unit": plan.unit, "lost": list(plan.lost), "splits": splits})


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
        listed = [str(item) for item in row.get(part, ())]
        if len(set(listed)) < len(listed):
            twice = next(item for item, count in Counter(listed).items() if count > 1)
            raise ValueError(f"{twice} stands twice in {part} of split {split_id}")
        if unit == CLIP:
            parts[part] = tuple(listed)
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


def rerun(
    plan: Plan,
    clips: Sequence[Clip],
    segments: Mapping[str, int],
    lost: Collection[str],
    source: str,
) -> Plan:
    """Return the splits of a plan on the clips that there are, and name those that are lost.

    Args:
        plan: made on these clips, or on others of their corpus.
        clips: the usable ones.
        segments: clip_id -> its number of segments.
        lost: clips that can't be used.
        source: where the plan is from, for messages.

    Raises:
        UsageError: it names clips or segments that the corpus does not have.
    """
    usable = {clip.clip_id: clip for clip in clips}
    named = {c for split in plan.splits for part in PARTS for c in getattr(split, part)}
    unknown = sorted((named | set(plan.lost)) - usable.keys() - set(lost))
    require(
        not unknown,
        f"{source} names {len(unknown)} clips that the corpus does not have "
        f"({unknown[0] if unknown else ''} is one): is it a plan of another corpus?",
    )
    for split in plan.splits:
        for held in split.pieces.values():
            for clip_id, numbers in held.items():
                require(
                    clip_id not in usable or max(numbers) < segments[clip_id],
                    f"{source} names segment {max(numbers)} of {clip_id}, "
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
