"""Read a file through once: its audio, the time stamps of its frames, whether it is whole.

Packets are read first and nothing is decoded: a clip that is too long, cut or without a track is
refused for the price of reading it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.decode.container import (
    audio_track,
    decode_pictures,
    open_container,
    packets_of,
    tracks_left_out,
    video_track,
)
from pipelines.decode.declared import cut_bytes, declared_lengths
from pipelines.decode.facts import DecodeError
from pipelines.decode.packets import TrackPackets, read_packets
from pipelines.decode.sound import Samples, decode_sound
from pipelines.decode.wholeness import compare_tracks, compare_with_declared
from pipelines.records import REASONS

Stamps = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scan:
    """A file read through; times in seconds on the container's own clock."""

    format_names: frozenset[str]
    stamps: Stamps
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
    notes: tuple[str, ...]
    """What a user should know of a file that can be used."""


def scan_file(path: Path, max_seconds: float | None, keep_truncated: bool = False) -> Scan:
    """Read a file through once.

    Args:
        path: the file.
        max_seconds: refuse files longer than this, before anything is decoded.
        keep_truncated: note a stream that is shorter than declared, rather than refuse it.

    Raises:
        DecodeError: see `ClipReader`.
    """
    with open_container(path) as container:
        try:
            video, audio = video_track(container), audio_track(container)
            if not video.time_base:
                raise DecodeError("decode_error", "the picture has no clock")
            picture, sound, last_end_s = read_packets(container, video, audio, max_seconds)
            declared = declared_lengths(container, path)
            length_notes = compare_with_declared(
                declared, picture, sound, last_end_s, keep_truncated
            )
            _require_packets(picture, sound)
            if not video.width:
                raise DecodeError("decode_error", "frames of no size, or beyond all decoders")
        except DecodeError as refusal:
            raise _truer(refusal, path) from None
        notes = [*tracks_left_out(container), *length_notes, *_damage(picture, path)]
        start_s, samples, audio_rate, sound_notes = decode_sound(sound.kept)
        names = frozenset(container.format.name.split(","))
        stamp_s = float(video.time_base)
        frame_rate = float(video.average_rate or video.guessed_rate or 0)
    by_order = "avi" in names and picture.delayed
    stamps, stamp_notes = (
        (_ordered_stamps(path), []) if by_order else _frame_stamps(path, picture, max_seconds)
    )
    span_s = float(stamps[-1] - stamps[0]) * stamp_s
    if frame_rate <= 0 and span_s > 0:
        frame_rate = (stamps.size - 1) / span_s
    picture_s = float(stamps[0]) * stamp_s, max(picture.end_s, float(stamps[-1]) * stamp_s)
    sound_s = start_s, start_s + samples.size / audio_rate
    return Scan(
        format_names=names,
        stamps=stamps,
        by_order=by_order,
        stamp_s=stamp_s,
        samples=samples,
        audio_rate=audio_rate,
        audio_start_s=start_s,
        duration_s=declared.whole_s,
        frame_rate=frame_rate,
        notes=(*notes, *sound_notes, *stamp_notes, *compare_tracks(picture_s, sound_s)),
    )


def _require_packets(picture: TrackPackets, sound: TrackPackets) -> None:
    if not picture.count:
        raise DecodeError("no_video", "the video track holds no frames")
    if not sound.count:
        raise DecodeError("no_audio", "the audio track holds no samples")


def _damage(picture: TrackPackets, path: Path) -> list[str]:
    """What is known to be lost of a file that can be used all the same."""
    cut = cut_bytes(path)
    torn = f"{picture.damaged} of {picture.count} frames are damaged" if picture.damaged else ""
    return [words for words in (cut, torn) if words]


def _truer(refusal: DecodeError, path: Path) -> DecodeError:
    """What a cut file lacks is lost, rather than not there."""
    if refusal.reason in ("no_audio", "no_video") and (cut := cut_bytes(path)):
        return DecodeError("truncated", f"{cut}, and {REASONS[refusal.reason]}")
    return refusal


def _frame_stamps(
    path: Path, picture: TrackPackets, max_seconds: float | None
) -> tuple[Stamps, list[str]]:
    """Stamps of the frames, ascending, by decoding them where the packets don't tell.

    Raises:
        DecodeError: too_long, or decode_error where there is no frame.
    """
    count = len(picture.stamps)
    known = {stamp for stamp in picture.stamps if stamp is not None}
    if len(known) < count:
        known = _decoded_stamps(path, max_seconds)
    if not known:
        raise DecodeError("decode_error", "no frame of the picture can be read")
    lost = count - len(known)
    notes = [f"{lost} of {count} frames have no time of their own"] if lost > 0 else []
    return np.array(sorted(known), dtype=np.int64), notes


def _decoded_stamps(path: Path, max_seconds: float | None) -> set[int]:
    with open_container(path) as container:
        video = video_track(container)
        longest = float("inf") if max_seconds is None else max_seconds / float(video.time_base or 1)
        stamps: set[int] = set()
        for frame in decode_pictures(container, video):
            if frame.pts is None:
                continue
            stamps.add(frame.pts)
            if max(stamps) - min(stamps) > longest:
                raise DecodeError("too_long", f"at most {max_seconds:g} s are taken")
    return stamps


def _ordered_stamps(path: Path) -> Stamps:
    """Stamps of the frames of an AVI with delayed frames: the chunks' places, taken in order.

    AVI holds no presentation times; what FFmpeg makes up for them comes late by the decoder's
    delay, and in a wrong order for H.264 with B-frames. A chunk's place in the file is a time all
    the same, and frames leave the decoder in the order in which they are shown.

    Raises:
        DecodeError: decode_error where there is no frame.
    """
    with open_container(path) as container:
        places = {
            packet.dts
            for packet in packets_of(container, video_track(container))
            if packet.size and packet.dts is not None
        }
    with open_container(path) as container:
        frames = sum(1 for _ in decode_pictures(container, video_track(container)))
    if not places or not frames:
        raise DecodeError("decode_error", "no frame of the picture can be read")
    return np.array(sorted(places)[:frames], dtype=np.int64)
