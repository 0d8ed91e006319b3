"""Open a media file and find its tracks, or say why it is none."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines.decode.declared import cut_bytes
from pipelines.decode.facts import DecodeError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    Track = TypeVar("Track", AudioStream, VideoStream)

MOST_PIXELS = 2**25
"""Of one frame: just above 7680 x 4320. A damaged or malicious header asks for gigabytes."""

_CONTAINERS = (
    "avi,mov,matroska,flv,mpeg,mpegts,mpegvideo,m4v,asf,ogg,mxf,gxf,dv,nut,rm,nsv,ivf,wtv,swf,"
    "wav,w64,aiff,flac,caf"
)
"""What is looked for. FFmpeg also takes play lists, which lead to other files, and sees subtitles,
pictures and MPEG audio in text and noise."""

_OF_THE_MACHINE = frozenset({errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ETIMEDOUT})
"""Errors of a disk, a mount or a process: the file itself may be as it should."""
_SIGNATURES = {
    0: (b"RIFF", b"\x1aE\xdf\xa3", b"FLV\x01", b"\x00\x00\x01\xba", b"\x30\x26\xb2\x75", b"OggS"),
    4: (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"),
}
"""At byte 0 or 4 of a file, by which a container is known although it can't be read."""


def open_container(path: Path) -> InputContainer:
    """Open a media file with PyAV.

    Raises:
        DecodeError: missing_file, empty_file, not_media, truncated, too_large or decode_error.
    """
    import av

    av.logging.set_level(av.logging.PANIC)
    if path.exists() and not path.is_file():
        # A named pipe would be waited for.
        raise DecodeError("missing_file", "there is a folder, pipe or device of this name")
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as problem:
        gone = problem.errno not in _OF_THE_MACHINE
        words = problem.strerror or str(problem)
        raise DecodeError("missing_file" if gone else "unreachable", words) from problem
    if not head:
        raise DecodeError("empty_file")
    try:
        return av.open(
            # An absolute path is never taken for an address.
            str(path.absolute()),
            options={"protocol_whitelist": "file", "format_whitelist": _CONTAINERS},
            metadata_errors="replace",
        )
    except (av.FFmpegError, ValueError) as problem:
        raise _refusal(path, head, problem) from problem


def _refusal(path: Path, head: bytes, problem: Exception) -> DecodeError:
    """Why a file can't be opened: it is cut, damaged or no media file."""
    words = getattr(problem, "strerror", None) or str(problem)
    if isinstance(problem, MemoryError):
        return DecodeError("too_large", words)
    if cut := cut_bytes(path):
        return DecodeError("truncated", cut)
    if any(head[at:].startswith(names) for at, names in _SIGNATURES.items()):
        return DecodeError("decode_error", f"the header cannot be read: {words}")
    return DecodeError("not_media", f"no container of sound and picture is known by it: {words}")


def video_track(container: InputContainer) -> VideoStream:
    """The first video track that is not a cover picture.

    Raises:
        DecodeError: no_video, too_large, or decode_error where no decoder knows it.
    """
    import av.stream

    picture = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if stream.disposition & picture:
            continue
        track = _decodable(stream)
        require_drawable(track.width, track.height)
        return track
    raise DecodeError("no_video")


def audio_track(container: InputContainer) -> AudioStream:
    """The first audio track.

    Raises:
        DecodeError: no_audio, or decode_error where no decoder knows it.
    """
    if not container.streams.audio:
        raise DecodeError("no_audio")
    return _decodable(container.streams.audio[0])


def tracks_left_out(container: InputContainer) -> list[str]:
    """Say which tracks are not used, where there are several to choose from."""
    pictures, sounds = len(container.streams.video), len(container.streams.audio)
    return [
        f"the first of {count} {kind} tracks is used"
        for count, kind in ((pictures, "video"), (sounds, "audio"))
        if count > 1
    ]


def packets_of(container: InputContainer, *streams: Stream) -> Iterator[Packet[Any]]:
    """Yield the packets of some streams, as far as the file can be read."""
    import av

    # A stream that appears half way leads PyAV, when it has read all, beyond its list of streams.
    with contextlib.suppress(av.FFmpegError, IndexError):
        yield from container.demux(*streams)


def decode_pictures(container: InputContainer, video: VideoStream) -> Iterator[VideoFrame]:
    """Yield the frames in order, as far as they can be decoded."""
    import av

    for packet in packets_of(container, video):
        try:
            for frame in packet.decode():
                require_drawable(frame.width, frame.height)
                yield frame
        except av.FFmpegError:
            continue  # a frame that is wanted and does not come is missed by who wants it


def require_drawable(width: int, height: int) -> None:
    """Refuse a frame that would take gigabytes, before it is decoded.

    Raises:
        DecodeError: too_large.
    """
    if width * height > MOST_PIXELS:
        raise DecodeError(
            "too_large", f"frames of {width} x {height} pixels, at most {MOST_PIXELS} in all"
        )


def _decodable(stream: Track) -> Track:
    """The track, on one thread: clips run side by side, each in its own process."""
    # A codec that nothing here decodes leaves no context, whatever the type annotations say.
    context: Any = stream.codec_context
    if context is None:
        raise DecodeError("decode_error", f"no decoder for the {stream.type} track")
    context.thread_count = 1
    return stream
