"""Which video frames stand beside an audio segment (rules 2 and 3 of section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.errors import require_one_of
from pipelines.records import FRAMES_PER_SEGMENT

HIGHEST_TRIMMED_RATE = 31.0
"""Frames per second above which rule 2 would throw away too much of a segment."""

_SLACK_S = 1e-6
"""Time stamps are rounded by containers and by float arithmetic: a microsecond is no difference."""


@dataclass
class SegmentsConfig:
    """What becomes of a segment that does not have 20 frames, or not 655 ms of voice."""

    even: bool = False
    """Take 20 evenly timed frames at every frame rate, instead of rules 2 and 3."""
    short: str = "pad"
    """A clip with less voice than one segment: `pad` to one, or `drop`."""

    def __post_init__(self) -> None:
        """Refuse values that make no sense, naming the key."""
        require_one_of("segments.short", self.short, ("pad", "drop"))


def frames_of_segment(
    times_s: npt.NDArray[np.float64],
    start_s: float,
    duration_s: float,
    count: int = FRAMES_PER_SEGMENT,
    even: bool = False,
) -> npt.NDArray[np.int32]:
    """Indices of the `count` frames that represent one segment (section 3.3).

    Frames whose time stamp falls in [start, start + duration) are taken. Too many (rule 2): half
    of the surplus is removed at each end, the odd one behind; above 31 frames per second, where
    that would discard much of the segment, `count` evenly timed frames are taken instead. Too few
    (rule 3): the first and the last frame are repeated in turn, the first one first. None at all:
    the frame nearest to the segment.

    Args:
        times_s: ascending time stamps [n] of the frames, seconds.
        start_s: start of the segment on the same clock.
        duration_s: length of the segment.
        count: frames wanted.
        even: take evenly timed frames at every frame rate.

    Returns:
        int32 [count], ascending indices into `times_s`.

    Raises:
        ValueError: there is no frame at all.
    """
    inside = _between(times_s, start_s, start_s + duration_s)
    if inside.size == 0:
        return np.repeat(_nearest(times_s, start_s, start_s + duration_s), count)
    surplus = inside.size - count
    if even or (surplus > 0 and _rate(times_s[inside]) > HIGHEST_TRIMMED_RATE):
        return _evenly_timed(times_s, inside, start_s, duration_s, count)
    if surplus >= 0:
        front = surplus // 2
        return inside[front : front + count]
    missing = -surplus
    return np.concatenate(
        [
            np.repeat(inside[:1], (missing + 1) // 2),
            inside,
            np.repeat(inside[-1:], missing // 2),
        ]
    )


def _between(
    times_s: npt.NDArray[np.float64], start_s: float, end_s: float
) -> npt.NDArray[np.int32]:
    """Indices of the frames with a time stamp in [start, end)."""
    first, last = np.searchsorted(times_s, [start_s - _SLACK_S, end_s - _SLACK_S])
    return np.arange(first, last, dtype=np.int32)


def _nearest(
    times_s: npt.NDArray[np.float64], start_s: float, end_s: float
) -> npt.NDArray[np.int32]:
    """Index [1] of the frame nearest to the span, the earlier one of two."""
    if times_s.size == 0:
        raise ValueError("a segment cannot be represented: the clip has no frames")
    distance = np.maximum(start_s - times_s, times_s - end_s)
    return np.array([np.argmin(distance)], dtype=np.int32)


def _rate(times_s: npt.NDArray[np.float64]) -> float:
    """Frames per second of the time stamps [n], n >= 2, rounded as far as they are exact."""
    span = float(times_s[-1] - times_s[0])
    return round((times_s.size - 1) / span, 3) if span > 0 else float("inf")


def _evenly_timed(
    times_s: npt.NDArray[np.float64],
    inside: npt.NDArray[np.int32],
    start_s: float,
    duration_s: float,
    count: int,
) -> npt.NDArray[np.int32]:
    """For each of `count` equal parts of the segment, the frame nearest to its middle."""
    middles = start_s + (np.arange(count) + 0.5) * duration_s / count
    # Half the slack decides ties (a middle between two frames) for the earlier frame.
    distance = np.abs(times_s[inside][None, :] - middles[:, None])
    distance += np.arange(inside.size) * (_SLACK_S / 1e3)
    return np.asarray(inside[np.argmin(distance, axis=1)])
