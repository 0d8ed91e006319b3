"""Read a file through once: its audio, the time stamps of its frames, whether it is whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from pipelines.decode.facts import DecodeError

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

    Track = TypeVar("Track", AudioStream, VideoStream)

Samples = npt.NDArray[np.float32]

INDEXED = frozenset({"avi", "mov", "mp4", "matroska", "webm", "flv"})
"""Containers that state their length and let a decoder find every frame."""

_JITTER_S = 0.003
"""Some containers round audio time stamps to milliseconds: smaller steps are no gaps."""
_LONGEST_GAP_S = 60.0
"""A longer gap is a broken time stamp, not silence to be filled in."""
_MISSING_S, _MISSING_PART = 0.5, 0.1
"""A file that lacks more than this many seconds, or this part, of its declared length is cut."""
_DAMAGED_PART = 0.1
"""Audio with more than this part of its packets undecodable is refused."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A file read through; times in seconds on the container's own clock."""

    format_names: frozenset[str]
    stamps: npt.NDArray[np.int64]
    """[n] presentation stamps of the frames, ascending, in units of `stamp_s`."""
    by_order: bool
    """Whether a frame is known by its place in the decoder's output, its stamp meaning nothing."""
    stamp_s: float
    samples: Samples
    """Mono [m] in -1..1 as recorded, gaps filled with zeros."""
    audio_rate: int
    audio_start_s: float
    duration_s: float | None
    """Declared length."""
    frame_rate: float


def open_container(path: Path) -> InputContainer:
    """Open a media file with PyAV.

    Raises:
        DecodeError: missing_file, empty_file, not_media or truncated.
    """
    import av

    av.logging.set_level(av.logging.PANIC)
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as problem:
        raise DecodeError("missing_file", str(problem)) from problem
    if not head:
        raise DecodeError("empty_file", str(path))
    try:
        # An absolute path is never taken for an address, and playlists cannot lead elsewhere.
        return av.open(str(path.absolute()), options={"protocol_whitelist": "file"})
    except (av.FFmpegError, ValueError) as problem:
        if head[4:8] == b"ftyp":
            raise DecodeError("truncated", f"MP4 without a readable index: {problem}") from problem
        raise DecodeError("not_media", str(problem)) from problem


def scan_file(path: Path, max_seconds: float | None) -> Scan:
    """Read a file through once.

    Args:
        path: the file.
        max_seconds: refuse files longer than this, before anything long is decoded.

    Raises:
        DecodeError: see `ClipReader`.
    """
    import av

    with open_container(path) as container:
        video, audio = video_track(container), _audio_track(container)
        names = frozenset(container.format.name.split(","))
        declared = None
        if names & INDEXED and container.duration:
            declared = container.duration / av.time_base
        if max_seconds is not None and declared is not None and declared > max_seconds:
            raise DecodeError("too_long", f"{declared:.1f} s, at most {max_seconds:g} s")
        declared_frames = video.frames - (_empty_chunks(video) if "avi" in names else 0)
        stamps, delayed, packets, pieces = _demux(container, video, audio, max_seconds)
        by_order = "avi" in names and delayed
        frame_rate = float(video.average_rate or video.guessed_rate or 0)
        stamp_s = float(video.time_base or 0)
    if by_order:
        stamps = _ordered_stamps(path)
    elif stamps is None:
        stamps = _decoded_stamps(path)
    if not stamps.size:
        raise DecodeError("decode_error", "no video frame could be read")
    start_s, samples, rate = assemble(pieces)
    if frame_rate <= 0:
        span = float(stamps[-1] - stamps[0]) * stamp_s
        frame_rate = (stamps.size - 1) / span if span > 0 else 0.0
    if declared is not None:
        end_s = max(float(stamps[-1]) * stamp_s, start_s + samples.size / rate)
        if declared_frames:
            missing = (declared_frames - packets) / frame_rate if frame_rate else 0.0
        else:
            missing = declared - end_s
        _require_whole(declared, missing)
    return Scan(
        format_names=names,
        stamps=stamps,
        by_order=by_order,
        stamp_s=stamp_s,
        samples=samples,
        audio_rate=rate,
        audio_start_s=start_s,
        duration_s=declared,
        frame_rate=frame_rate,
    )


def assemble(pieces: list[tuple[float | None, int, Samples]]) -> tuple[float, Samples, int]:
    """Lay decoded pieces of audio on one time line.

    Args:
        pieces: time in seconds (None: follows the piece before), samples per second, samples.

    Returns:
        Time of the first sample, samples (gaps as zeros, overlaps cut), samples per second.

    Raises:
        DecodeError: no_audio or decode_error.
    """
    if not pieces:
        raise DecodeError("no_audio", "the audio track holds no samples")
    start_s, rate = pieces[0][0] or 0.0, pieces[0][1]
    line: list[Samples] = []
    position = 0
    for time_s, piece_rate, samples in pieces:
        if piece_rate != rate:
            raise DecodeError("decode_error", f"audio changes from {rate} to {piece_rate} Hz")
        gap = 0 if time_s is None else round((time_s - start_s) * rate) - position
        if abs(gap) > _LONGEST_GAP_S * rate:
            raise DecodeError("decode_error", f"audio time stamps jump by {gap / rate:.0f} s")
        if gap > _JITTER_S * rate:
            line.append(np.zeros(gap, dtype=np.float32))
            position += gap
        elif gap < -_JITTER_S * rate:
            samples = samples[-gap:]
        line.append(samples)
        position += samples.size
    whole = np.clip(np.nan_to_num(np.concatenate(line)), -1, 1)
    return start_s, whole.astype(np.float32), rate


def mono(frame: AudioFrame) -> Samples:
    """The mean of a decoded frame's channels, full scale at 1."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, len(frame.layout.channels)).T
    middle = 128.0 if values.dtype == np.uint8 else 0.0
    full = {1: 128.0, 2: 2.0**15, 4: 2.0**31}[values.itemsize] if values.dtype.kind in "iu" else 1.0
    mean: Samples = ((values.astype(np.float64) - middle) / full).mean(axis=0).astype(np.float32)
    return mean


def video_track(container: InputContainer) -> VideoStream:
    """The first video track that is not a cover picture.

    Raises:
        DecodeError: no_video, or decode_error where no decoder knows it.
    """
    import av.stream

    picture = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & picture:
            return _decodable(stream)
    raise DecodeError("no_video")


def _audio_track(container: InputContainer) -> AudioStream:
    """The first audio track."""
    if not container.streams.audio:
        raise DecodeError("no_audio")
    return _decodable(container.streams.audio[0])


def _decodable(stream: Track) -> Track:
    """The track, on one thread: clips run side by side, each in its own process."""
    # A codec that nothing here decodes leaves no context, whatever the type annotations say.
    context: Any = stream.codec_context
    if context is None:
        raise DecodeError("decode_error", f"no decoder for the {stream.type} track")
    context.thread_count = 1
    return stream


def _empty_chunks(video: VideoStream) -> int:
    """Chunks of an AVI that say "the frame before once more": declared, but not in the index."""
    places = [entry.timestamp for entry in video.index_entries]
    return places[-1] - places[0] + 1 - len(places) if places else 0


def _demux(
    container: InputContainer, video: VideoStream, audio: AudioStream, max_seconds: float | None
) -> tuple[npt.NDArray[np.int64] | None, bool, int, list[tuple[float | None, int, Samples]]]:
    """Stamps of the frames (None if packets do not tell), whether they differ from the order of
    decoding, number of video packets, audio.
    """
    import av

    stamps: list[int | None] = []
    pieces: list[tuple[float | None, int, Samples]] = []
    packets = audio_packets = damaged = 0
    delayed = False
    first_s: float | None = None
    problem: Exception | None = None
    try:
        for packet in container.demux(video, audio):
            if packet.pts is not None and packet.time_base is not None:
                time_s = float(packet.pts * packet.time_base)
                first_s = time_s if first_s is None else first_s
                if max_seconds is not None and time_s - first_s > max_seconds:
                    raise DecodeError("too_long", f"more than {max_seconds:g} s")
            if packet.stream.type == "audio":
                audio_packets += 1
                try:
                    for frame in packet.decode():
                        pieces.append((frame.time, frame.sample_rate, mono(frame)))  # type: ignore[arg-type, union-attr]
                except av.FFmpegError:
                    damaged += 1
            elif packet.size:
                packets += 1
                delayed |= packet.pts != packet.dts
                if not packet.is_discard:
                    stamps.append(packet.pts)
    except av.FFmpegError as raised:
        problem = raised
    if problem is not None and not (packets and pieces):
        raise DecodeError("decode_error", str(problem)) from problem
    if damaged > 1 and damaged > _DAMAGED_PART * audio_packets:
        raise DecodeError("decode_error", f"{damaged} of {audio_packets} audio packets are damaged")
    known = [stamp for stamp in stamps if stamp is not None]
    if len(known) != len(stamps) or len(set(known)) != len(known):
        return None, delayed, packets, pieces
    return np.array(sorted(known), dtype=np.int64), delayed, packets, pieces


def _decoded_stamps(path: Path) -> npt.NDArray[np.int64]:
    """Stamps of the frames of a file whose packets do not tell them: decode all of them."""
    import av

    stamps = set()
    with open_container(path) as container:
        try:
            for frame in container.decode(video_track(container)):
                if frame.pts is not None:
                    stamps.add(frame.pts)
        except av.FFmpegError as problem:
            if not stamps:
                raise DecodeError("decode_error", str(problem)) from problem
    return np.array(sorted(stamps), dtype=np.int64)


def _ordered_stamps(path: Path) -> npt.NDArray[np.int64]:
    """Stamps of the frames of an AVI with delayed frames: the chunks' places, taken in order.

    AVI holds no presentation times; what FFmpeg makes up for them comes late by the decoder's
    delay, and in a wrong order for H.264 with B-frames. A chunk's place in the file is a time all
    the same, and frames leave the decoder in the order in which they are shown.
    """
    import av

    places: list[int] = []
    frames = 0
    with open_container(path) as container:
        try:
            for packet in container.demux(video_track(container)):
                if packet.size and packet.dts is not None:
                    places.append(packet.dts)
                try:
                    frames += len(packet.decode())
                except av.FFmpegError:
                    continue
        except av.FFmpegError as problem:
            if not frames:
                raise DecodeError("decode_error", str(problem)) from problem
    return np.array(sorted(set(places))[:frames], dtype=np.int64)


def _require_whole(declared_s: float, missing_s: float) -> None:
    """Refuse a file that ends well before its declared length."""
    if missing_s > min(_MISSING_S, _MISSING_PART * declared_s):
        raise DecodeError("truncated", f"{missing_s:.2f} s of {declared_s:.2f} s are missing")
