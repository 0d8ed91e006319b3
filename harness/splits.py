"""Draw the splits of a study: the divisions of its protocol, each with an inner validation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from harness.divisions import Division, divide
from harness.inner_validation import subject_ring, validation_subject
from harness.plan import CLIP, SEGMENT, Plan, Split
from harness.plan_file import read_plan, rerun
from harness.protocols import ProtocolConfig
from pipelines.records import Clip
from pipelines.split_task import seed_for


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
        source = f"protocol.plan ({protocol.plan})"
        return rerun(read_plan(Path(protocol.plan)), clips, segments, set(lost), source)
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
