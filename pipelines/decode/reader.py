"""Frames and audio of one clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.decode.facts import DecodeError, MediaInfo
from pipelines.decode.frames import FrameSource, OrderedFrames, RandomAccessError, open_frames
from pipelines.decode.scan import Scan, scan_file
from pipelines.decode.sound import Samples


class ClipReader:
    """Frames and audio of one clip, on one clock that starts with its earliest stream.

    Pixels come from decord, which reads frames at random, where it can be trusted: in containers
    with an index, and where its time stamps are those of the file. MPEG program and transport
    streams have no index, and decord was seen to skip their first half second and to report right
    time stamps all the same. Those, and whatever else disagrees, are decoded in order by PyAV.
    Audio and time stamps always come from PyAV: decord starts both streams at 0 wherever they
    start.

    The audio of the clip is held in memory; of its video only the frames asked for.

    Args:
        path: the file.
        max_seconds: longest clip that is accepted.
        keep_truncated: note a stream that is shorter than declared, rather than refuse it.
        ordered: keep away from decord; the frames are the same.

    Raises:
        DecodeError: missing_file, empty_file, not_media, no_audio, no_video, truncated, too_long,
            too_large or decode_error.
    """

    def __init__(
        self,
        path: str | Path,
        max_seconds: float | None = None,
        keep_truncated: bool = False,
        ordered: bool = False,
    ) -> None:
        self._path = Path(path)
        self._shape: tuple[int, ...] | None = None
        with _faults_of_the_file():
            self._scan = scan_file(self._path, max_seconds, keep_truncated)
            self._frames: FrameSource = open_frames(self._path, self._scan, ordered)
        try:
            self._shape = self._fetch([0]).shape[1:]
        except DecodeError:
            self.close()
            raise
        self.info = _info(self._scan, self._shape[1], self._shape[0])

    def audio(self, rate: int | None = None) -> tuple[Samples, int]:
        """The audio as the mean of its channels.

        Args:
            rate: samples per second; None leaves it as recorded.

        Returns:
            float32 [n], full scale at 1 (resampling may overshoot it), its first sample at
            `info.audio_start_s`, and its rate.
        """
        recorded = self._scan.audio_rate
        if rate is None or rate == recorded:
            return self._scan.samples, recorded
        import soxr

        samples = soxr.resample(self._scan.samples, recorded, rate, quality="HQ")
        return np.asarray(samples, dtype=np.float32), rate

    def frames(
        self, indices: Sequence[int] | npt.NDArray[np.integer[Any]]
    ) -> npt.NDArray[np.uint8]:
        """The frames at `indices` into `info.frame_times_s`, in that order.

        Ask for a long clip in several calls: a second of 1080p video takes 190 MB.

        Returns:
            uint8 RGB [len, height, width, 3], rotation applied.

        Raises:
            IndexError: there is no such frame.
            DecodeError: decode_error or too_large.
        """
        wanted, places = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        if wanted.size == 0:
            return np.zeros((0, self.info.height, self.info.width, 3), dtype=np.uint8)
        if wanted[0] < 0 or wanted[-1] >= self._scan.stamps.size:
            raise IndexError(f"frames are numbered 0 to {self._scan.stamps.size - 1}")
        pictures = self._fetch([int(index) for index in wanted])
        return pictures if np.array_equal(places, np.arange(wanted.size)) else pictures[places]

    def close(self) -> None:
        """Let go of the file."""
        self._frames.close()

    def _fetch(self, indices: list[int]) -> npt.NDArray[np.uint8]:
        """Frames at ascending indices; by PyAV from now on if decord gives up."""
        with _faults_of_the_file():
            try:
                pictures = self._frames.fetch(indices)
            except RandomAccessError:
                self._frames.close()
                self._frames = OrderedFrames(self._path, self._scan)
                pictures = self._frames.fetch(indices)
        if self._shape is not None and pictures.shape[1:] != self._shape:
            raise DecodeError("decode_error", "the picture changes its size")
        return pictures


@contextmanager
def _faults_of_the_file() -> Iterator[None]:
    """Turn what the decoders object to into a refusal."""
    import av

    try:
        yield
    except MemoryError as problem:
        raise DecodeError("too_large", "it takes more memory than the decoder has") from problem
    except av.FFmpegError as problem:
        raise DecodeError("decode_error", problem.strerror or str(problem)) from problem


def _info(scan: Scan, width: int, height: int) -> MediaInfo:
    """The facts of a scanned file, its earliest stream moved to 0."""
    times = scan.stamps.astype(np.float64) * scan.stamp_s
    origin = min(float(times[0]), scan.audio_start_s)
    return MediaInfo(
        width=width,
        height=height,
        frame_times_s=times - origin,
        audio_rate=scan.audio_rate,
        audio_start_s=scan.audio_start_s - origin,
        duration_s=scan.duration_s,
        length_declared=scan.duration_s is not None,
        frame_rate=scan.frame_rate,
        notes=scan.notes,
    )
