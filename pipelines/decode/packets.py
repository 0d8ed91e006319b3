"""Read the packets of a file without decoding them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.decode.container import packets_of
from pipelines.decode.facts import DecodeError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

_LONGEST_JUMP_S = 60.0
"""From one packet of a track to the next: a longer one is a broken time stamp."""


@dataclass(eq=False)
class TrackPackets:
    """What is known of a track before it is decoded; times in seconds on the container's clock."""

    stream: AudioStream | VideoStream
    kept: list[Any] = field(default_factory=list)
    """The packets themselves, of sound only, and the empty one that ends them."""
    stamps: list[int | None] = field(default_factory=list)
    """Presentation stamps of the packets that are shown, where they tell."""
    delayed: bool = False
    """Whether frames are shown in another order than they are decoded in."""
    damaged: int = 0
    """Packets that are not whole."""
    count: int = 0
    start_s: float = float("inf")
    end_s: float = float("-inf")
    last_s: float = float("-inf")
    """Time of the last packet that has one."""
    _torn: bool = False
    """Whether the last packet is not whole."""

    def add(self, packet: Any) -> None:
        """Take note of a packet.

        Raises:
            DecodeError: decode_error where its time stamp is absurd.
        """
        if self.stream.type == "audio":
            self.kept.append(packet)
        if not packet.size:
            return
        self.count += 1
        self.delayed |= packet.pts != packet.dts
        if not packet.is_discard:
            self.stamps.append(packet.pts)
            self._torn = packet.is_corrupt
            self.damaged += packet.is_corrupt
        # AVI tells the order of decoding only: within a few frames of that of showing.
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None or not packet.time_base:
            return
        time_s = float(stamp * packet.time_base)
        jump_s = time_s - self.last_s
        if _LONGEST_JUMP_S < abs(jump_s) < float("inf"):
            kind = "sound" if self.kept else "picture"
            raise DecodeError("decode_error", f"time stamps of the {kind} jump by {jump_s:.0f} s")
        self.last_s = time_s
        self.start_s = min(self.start_s, time_s)
        length_s = float((packet.duration or 0) * packet.time_base) or self._frame_s()
        self.end_s = max(self.end_s, time_s + length_s)

    def leave_out_torn_end(self) -> None:
        """Leave out a frame that the end of a cut file has torn: it may not be decodable."""
        if self._torn:
            self.stamps.pop()

    def _frame_s(self) -> float:
        rate = getattr(self.stream, "average_rate", None)
        return 1 / float(rate) if rate else 0.0


def read_packets(
    container: InputContainer,
    video: VideoStream,
    audio: AudioStream,
    max_seconds: float | None,
) -> tuple[TrackPackets, TrackPackets, float]:
    """Read a file to its end, or until it is longer than `max_seconds`.

    Sound is kept as it is in the file: a minute of it is small, whatever the file is.

    Returns:
        The packets of picture and sound, and when the last packet of any track ends.

    Raises:
        DecodeError: too_long, or decode_error where a time is absurd.
    """
    picture, sound = TrackPackets(video), TrackPackets(audio)
    tracks = {video.index: picture, audio.index: sound}
    last_end_s = float("-inf")
    for packet in packets_of(container, *container.streams):
        track = tracks.get(packet.stream_index)
        if track is None:
            last_end_s = max(last_end_s, _end_s(packet))
            continue
        try:
            track.add(packet)
        except DecodeError:
            if max_seconds is not None and _declared_s(container) > max_seconds:
                raise DecodeError("too_long", _length(container, max_seconds)) from None
            raise
        last_end_s = max(last_end_s, track.end_s)
        length_s = track.last_s - min(picture.start_s, sound.start_s)
        if max_seconds is not None and length_s > max_seconds:
            raise DecodeError("too_long", _length(container, max_seconds))
    picture.leave_out_torn_end()
    return picture, sound, last_end_s


def _end_s(packet: Any) -> float:
    if packet.pts is None or not packet.time_base:
        return float("-inf")
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)


def _declared_s(container: InputContainer) -> float:
    import av

    return (container.duration or 0) / av.time_base


def _length(container: InputContainer, max_seconds: float) -> str:
    declared_s = _declared_s(container)
    length = f"{declared_s:.1f} s, " if declared_s > max_seconds else ""
    return f"{length}at most {max_seconds:g} s are taken"
