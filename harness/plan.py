"""Who is tested and who trains: the plan of a study."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from harness.protocols import LEAKING, SUBJECT_DEPENDENT
from pipelines.records import Clip
from pipelines.split_task import Pieces

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
