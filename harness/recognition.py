"""What a model says of one clip."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pipelines.split_task import AttentionWeights


@dataclass(frozen=True, kw_only=True)
class SegmentEmotion:
    """What one segment of a clip showed."""

    segment_index: int
    start_s: float
    end_s: float
    probabilities: dict[str, float]
    attention: AttentionWeights


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """What became of one clip: an emotion, or the reason why there is none."""

    path: str
    status: str
    """`ok`, `dropped` or `failed`."""
    reason: str = ""
    """One of `pipelines.records.REASONS`."""
    detail: str = ""
    emotion: str | None = None
    """By the vote of the segments."""
    probability: float | None = None
    """Of that emotion, the mean over the segments."""
    votes: int = 0
    """Segments that voted for it."""
    tie: bool = False
    """Two or more emotions had the most votes: the higher summed probability won."""
    probabilities: dict[str, float] | None = None
    segments: tuple[SegmentEmotion, ...] = ()
    per_clip: bool = False
    """The segments were taken as one: they have one prediction, and no vote."""

    @property
    def vote(self) -> str:
        """How it came to its emotion, in words."""
        count = len(self.segments)
        if self.per_clip:
            return f"{count} segments as one"
        return f"{self.votes} of {count} segments" + (", a tie" if self.tie else "")


def recognition_of(path: str, answer: str | None) -> Recognition:
    """Return what is in a worker's answer; None where the worker died of the clip."""
    if answer is None:
        detail = "its process was killed or crashed, twice"
        return Recognition(path=path, status="failed", reason="worker_died", detail=detail)
    value = json.loads(answer)
    segments = tuple(SegmentEmotion(**segment) for segment in value["segments"])
    return Recognition(**{**value, "segments": segments})
