"""What is said about a media file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


class DecodeError(Exception):
    """A clip that cannot be decoded: `reason` is a key of `records.REASONS`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


@dataclass(frozen=True, eq=False)
class MediaInfo:
    """Facts of a file; times in seconds from the start of its earliest stream."""

    width: int
    """Of the frames as they are shown: rotation is applied."""
    height: int
    frame_times_s: npt.NDArray[np.float64]
    """[n] presentation time of each frame, ascending."""
    audio_rate: int
    """Samples per second as recorded."""
    audio_start_s: float
    """Time of the first audio sample."""
    duration_s: float | None
    """Length that the container declares; None where it declares none."""
    length_declared: bool
    """Whether the container declares a length, so that a cut file is noticed."""
    frame_rate: float
    """Nominal frames per second."""
    notes: tuple[str, ...] = ()
    """What a user should know of a file that can be used all the same."""
