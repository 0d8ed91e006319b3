"""What the training of one split is given, and what it gives back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

_Item = TypeVar("_Item")

PARTS = ("train", "validation", "test")
"""Of a split."""
STANDARDISER = "standardiser"
"""What brings audio images to one scale, as the ledger names it."""
CLASSIFIER = "classifier"
"""What a rival ends in, as the ledger names it."""
Pieces = Mapping[str, Mapping[str, tuple[int, ...]]]
"""Part -> clip -> the segments of it that the part holds; empty where clips are whole."""

Row = dict[str, float | int | str]
"""One epoch of one network: losses and accuracies over segments."""
AttentionWeights = dict[str, float | tuple[float, ...]]
"""What attention chose among -> its weight for one segment; a tuple holds one a time step."""


@dataclass(frozen=True, kw_only=True)
class SplitTask:
    """What a trial is given: labels for what it learns from, none for what it is tested on."""

    split_id: str
    repeat: int
    seed_index: int = 0
    seed: int
    classes: tuple[str, ...]
    train: tuple[tuple[str, int], ...]
    """(clip_id, index into classes)."""
    validation: tuple[tuple[str, int], ...]
    test: tuple[str, ...]
    pieces: Pieces = field(default_factory=dict)

    @property
    def train_ids(self) -> tuple[str, ...]:
        """Ids of the clips that the networks learn from."""
        return tuple(clip_id for clip_id, _ in self.train)

    @property
    def validation_ids(self) -> tuple[str, ...]:
        """Ids of the clips that epochs are chosen by."""
        return tuple(clip_id for clip_id, _ in self.validation)

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> SplitTask:
        """Return the task of a dictionary that went through JSON."""
        pairs = {
            name: tuple((clip_id, label) for clip_id, label in value[name])
            for name in ("train", "validation")
        }
        lists = {name: tuple(value[name]) for name in ("classes", "test")}
        pieces = {
            part: {clip_id: tuple(segments) for clip_id, segments in clips.items()}
            for part, clips in value["pieces"].items()
        }
        return cls(**{**value, **pairs, **lists, "pieces": pieces})


@dataclass(kw_only=True)
class SplitResult:
    """What a trial gives back."""

    segments: list[SegmentPrediction]
    curves: list[Row]
    chosen_epochs: dict[str, int]
    reads: dict[str, list[str]]
    parameters: dict[str, int]
    fitted: dict[str, list[str]] = field(default_factory=dict)
    """What was fitted besides the networks -> ids of the clips that it was fitted on."""
    chosen: dict[str, float] = field(default_factory=dict)
    """Settings of a rival that were chosen on the inner validation subject, and their score."""
    warnings: list[str] = field(default_factory=list)
    halted: bool = False
    """Ended before its time, in the network and the epoch of the last row of `curves`: there are no
    predictions."""
    resumed: dict[str, int] = field(default_factory=dict)
    """Network -> epochs that a process had done which was killed. No part of what came out."""
    taken: list[str] = field(default_factory=list)
    """Networks that another study with the same stage 1 had trained: their seconds are those that
    it took."""
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SegmentPrediction:
    """Class probabilities and attention weights of one test segment.

    Where a clip has one prediction, each of its segments bears the clip's probabilities.
    """

    clip_id: str
    segment_index: int
    probabilities: tuple[float, ...]
    attention: AttentionWeights


def seed_for(seed: int, *parts: str) -> int:
    """Derive a seed from stable names, never from order or time."""
    text = "/".join([str(seed), *parts])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def slices(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """Cut items into runs of `size`, the last one shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
