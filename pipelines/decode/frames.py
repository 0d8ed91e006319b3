"""Fetch the pixels of chosen frames, by decord where it can be trusted, else by PyAV in order."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from pipelines.decode.container import decode_pictures, open_container, video_track
from pipelines.decode.declared import INDEXED
from pipelines.decode.facts import DecodeError
from pipelines.decode.scan import Scan

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Pixels = npt.NDArray[np.uint8]

_CLOCK_AGREES_S = 0.002
_NO_FAULT = 1e-9
"""Part of the frames that decord may replace by others: above 0, which would be no limit."""


class FrameSource(Protocol):
    """Gives the frames of one file by index."""

    def fetch(self, indices: Sequence[int]) -> Pixels:
        """RGB frames [len, height, width, 3] at ascending, distinct indices."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class RandomAccessError(Exception):
    """decord can't read the file, or not all of it."""


class RandomFrames:
    """decord: any frame without decoding all before it.

    Raises:
        RandomAccessError: also by `fetch`.
    """

    def __init__(self, path: Path) -> None:
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        self._errors = (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError)
        try:
            self._video: Any = decord.VideoReader(
                # Without a limit decord shows the nearest frame for one that it can't decode.
                str(path.absolute()), decord.cpu(0), num_threads=1, fault_tol=_NO_FAULT
            )  # fmt: skip
        except self._errors as problem:
            raise RandomAccessError from problem

    def agrees(self, scan: Scan) -> bool:
        """Whether decord's frames are those of the file, one by one."""
        if len(self._video) != scan.stamps.size:
            return False
        # decord counts from the first frame, wherever the stream starts.
        expected = (scan.stamps - scan.stamps[0]) * scan.stamp_s
        times = self._video.get_frame_timestamp(range(scan.stamps.size))[:, 0]
        return bool(np.all(np.abs(times - times[0] - expected) < _CLOCK_AGREES_S))

    def fetch(self, indices: Sequence[int]) -> Pixels:
        """See `FrameSource.fetch`."""
        try:
            return np.asarray(self._video.get_batch(list(indices)).asnumpy(), dtype=np.uint8)
        except self._errors as problem:
            raise RandomAccessError from problem

    def close(self) -> None:
        """See `FrameSource.close`."""
        self._video = None


class OrderedFrames:
    """PyAV: decodes from the start up to the frames that are wanted; right in every container."""

    def __init__(self, path: Path, scan: Scan) -> None:
        self._path = path
        self._index_of = {int(stamp): index for index, stamp in enumerate(scan.stamps)}
        self._by_order = scan.by_order
        self._passed = -1
        self._start()

    def fetch(self, indices: Sequence[int]) -> Pixels:
        """See `FrameSource.fetch`."""
        if indices[0] <= self._passed:
            self.close()
            self._start()
        wanted = set(indices)
        pictures: list[Pixels] = []
        while len(pictures) < len(indices):
            frame = next(self._frames, None)
            if frame is None:
                raise DecodeError(
                    "decode_error", f"{len(indices) - len(pictures)} frames could not be decoded"
                )
            index = self._index(frame)
            if index is None or index <= self._passed:
                continue
            self._passed = index
            if index in wanted:
                pictures.append(upright(frame))
        if len({picture.shape for picture in pictures}) > 1:
            raise DecodeError("decode_error", "the picture changes its size")
        return np.stack(pictures)

    def close(self) -> None:
        """See `FrameSource.close`."""
        self._frames.close()  # type: ignore[attr-defined]
        self._container.close()

    def _index(self, frame: VideoFrame) -> int | None:
        """Which frame of the clip this is, the next one or the one with its stamp."""
        if self._by_order:
            return self._passed + 1
        return self._index_of.get(frame.pts) if frame.pts is not None else None

    def _start(self) -> None:
        self._container = open_container(self._path)
        self._frames = decode_pictures(self._container, video_track(self._container))
        self._passed = -1


def upright(frame: VideoFrame) -> Pixels:
    """A decoded frame as RGB [height, width, 3], turned as the file says it is shown."""
    try:
        picture = frame.to_ndarray(format="rgb24")
    except ValueError as problem:
        kind = frame.format.name
        raise DecodeError("decode_error", f"pixels of kind {kind} can't be shown") from problem
    return np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90) % 4))


def open_frames(path: Path, scan: Scan, ordered: bool = False) -> FrameSource:
    """The quickest source of frames that agrees with the file; `ordered` rules out decord."""
    if scan.format_names & INDEXED and not (ordered or scan.by_order):
        with contextlib.suppress(RandomAccessError):
            random = RandomFrames(path)
            if random.agrees(scan):
                return random
    return OrderedFrames(path, scan)
