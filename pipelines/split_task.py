"""What the training of one split is given, and what it gives back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

Row = dict[str, float | int | str]
"""One epoch of one network: losses and accuracies over segments."""
AttentionWeights = dict[str, float | tuple[float, ...]]
"""What attention chose among -> its weight for one segment; a tuple holds one a time step."""


@dataclass(frozen=True, kw_only=True)
class SplitTask:
    """What a trial is given: labels for what it learns from, none for what it is tested on."""

    split_id: str
    repeat: int
    seed: int
    classes: tuple[str, ...]
    train: tuple[tuple[str, int], ...]
    """(clip_id, index into classes)."""
    validation: tuple[tuple[str, int], ...]
    test: tuple[str, ...]


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
    warnings: list[str] = field(default_factory=list)
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
