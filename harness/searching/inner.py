"""Inner splits: the development clips of an outer split, divided by subject once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.inner_validation import validation_subject
from harness.plan import CLIP, Plan, Split
from pipelines.errors import require
from pipelines.records import Clip
from pipelines.split_task import seed_for

ALL = "all"
"""Stands for the outer split of a plain search, which holds nobody out."""
SINGLE_SHARE = 4
"""A single inner split holds one in so many subjects out."""


def everything(clips: Sequence[Clip]) -> Split:
    """Return the outer split of a plain search: everybody develops, nobody is tested."""
    return Split(
        split_id=ALL,
        held_out="nobody",
        repeat=0,
        seed=0,
        train=tuple(sorted(clip.clip_id for clip in clips)),
        validation=(),
        test=(),
    )


def inner_plan(outer: Split, clips: Mapping[str, Clip], count: int, seed: int) -> Plan:
    """Divide the development clips of an outer split by subject.

    Each inner split holds other subjects out, and stops by a subject of its own. With several,
    each development subject is held out once; a single one holds a quarter of them out. The order
    of the subjects is by a hash that no outer split shares, so that they take turns.

    Args:
        outer: of the study.
        clips: by id.
        count: of inner splits.
        seed: of the study.

    Raises:
        UsageError: there are too few subjects.
    """
    development = [clips[clip_id] for clip_id in outer.development]
    subjects = sorted(
        {clip.subject for clip in development},
        key=lambda subject: (seed_for(seed, "search", outer.split_id, subject), subject),
    )
    require(
        len(subjects) >= max(2, count),
        f"search.inner_splits ({count}) needs at least {max(2, count)} subjects to divide, and "
        f"the split {outer.split_id} develops on {len(subjects)}: use fewer inner splits",
    )
    if count == 1:
        groups = [subjects[: max(1, len(subjects) // SINGLE_SHARE)]]
    else:
        groups = [subjects[start::count] for start in range(count)]
    splits = []
    for number, group in enumerate(groups):
        tested = set(group)
        rest = [clip for clip in development if clip.subject not in tested]
        validator = validation_subject(subjects, tested, number, rest)
        splits.append(
            Split(
                split_id=f"inner{number + 1}",
                held_out=", ".join(sorted(group)),
                repeat=outer.repeat,
                seed_index=outer.seed_index,
                # The same for all trials: they differ by their settings alone.
                seed=seed_for(seed, "search", outer.split_id, str(number)),
                train=tuple(c.clip_id for c in rest if c.subject != validator),
                validation=tuple(c.clip_id for c in rest if c.subject == validator),
                test=tuple(c.clip_id for c in development if c.subject in tested),
            )
        )
    return Plan(unit=CLIP, splits=tuple(splits))
