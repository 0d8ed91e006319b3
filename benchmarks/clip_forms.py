"""A recording encoded in the forms that clips come in, the unusual ones among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import soxr

TICKS = 90_000
"""Of the encoder's clock in a second: holds every frame rate used here."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Somebody who speaks, before it is encoded."""

    pictures: npt.NDArray[np.uint8]
    """[n, height, width, 3] RGB."""
    frame_rate: float
    samples: npt.NDArray[np.float32]
    """Mono [m] in -1..1."""
    sample_rate: int


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a recording is encoded."""

    name: str
    """Of the form, with the suffix of its container."""
    video: str | None = "mpeg4"
    audio: str | None = "pcm_s16le"
    pixels: str = "yuv420p"
    size: tuple[int, int] | None = None
    """Width and height; None leaves them."""
    frame_rate: float | None = None
    """None leaves it."""
    frames: int | None = None
    """At most so many; None for all."""
    uneven: bool = False
    """Leave out frames, so that the rate varies."""
    sample_rate: int | None = None
    layout: str = "mono"
    audio_start_s: float = 0.0
    audio_tracks: int = 1
    upright: bool = False
    """Turned by a quarter, with a note to turn it back."""
    options: tuple[tuple[str, str], ...] = ()
    """Of the video encoder."""
    container_options: tuple[tuple[str, str], ...] = ()


USUAL = (
    Form(name="mpeg4 and pcm.avi"),
    Form(name="h264 and aac.mp4", video="libx264", audio="aac"),
    Form(name="h264 and aac.mkv", video="libx264", audio="aac"),
    Form(name="program stream.mpg", video="mpeg1video", audio="mp2", frame_rate=25),
    Form(name="h264 and aac.flv", video="libx264", audio="aac"),
    Form(name="h264 and aac.mov", video="libx264", audio="aac"),
)
"""One for each kind of container that clips come in."""

UNUSUAL = (
    Form(name="odd size.avi", size=(181, 145)),
    Form(name="60 frames.mp4", video="libx264", audio="aac", frame_rate=60),
    Form(name="10 frames, 8 kHz.avi", frame_rate=10, sample_rate=8000),
    Form(name="variable rate.mkv", video="libx264", audio="aac", uneven=True),
    Form(name="48 kHz stereo.mov", video="libx264", audio="aac", sample_rate=48000,
         layout="stereo"),
    Form(name="11 kHz.avi", sample_rate=11025),
    Form(name="dropped frames.avi", uneven=True),
    Form(name="22 kHz stereo.mpg", video="mpeg1video", audio="mp2", frame_rate=30,
         sample_rate=22050, layout="stereo"),
    Form(name="late sound.mp4", video="libx264", audio="aac", audio_start_s=0.3),
    Form(name="turned.mp4", video="libx264", audio="aac", upright=True),
    Form(name="variable rate.mp4", video="libx264", audio="aac", uneven=True),
    Form(name="5.1.mkv", audio="pcm_s16le", sample_rate=48000, layout="5.1"),
    Form(name="two sounds.mp4", video="libx264", audio="aac", audio_tracks=2),
    Form(name="10 bits.mkv", video="libx264", pixels="yuv420p10le", audio="aac"),
    Form(name="interlaced.mpg", video="mpeg2video", audio="mp2", frame_rate=25,
         sample_rate=48000, options=(("flags", "+ildct+ilme"),)),
    Form(name="live.mkv", video="libx264", audio="aac", container_options=(("live", "1"),)),
    Form(name="fragments.mp4", video="libx264", audio="aac",
         container_options=(("movflags", "frag_keyframe+empty_moov"),)),
    Form(name="transport stream.ts", video="libx264", audio="aac"),
    Form(name="loss free.avi", video="ffv1", pixels="yuv444p", audio="pcm_u8"),
)  # fmt: skip
"""Valid, though not what most software writes."""


def encode(recording: Recording, form: Form, path: Path) -> None:
    """Write a recording; picture and sound are interleaved, the same bits each time."""
    bare = {**dict(form.container_options), "fflags": "+bitexact"}
    with av.open(str(path), "w", options=bare) as container:
        video = _video_stream(container, recording, form) if form.video else None
        tracks = form.audio_tracks if form.audio else 0
        sounds = [_audio_stream(container, recording, form) for _ in range(tracks)]
        todo = [
            *((time_s, video, frame) for time_s, frame in _frames(recording, form) if video),
            *((time_s, s, frame) for s in sounds for time_s, frame in _blocks(recording, form, s)),
        ]
        for _, stream, frame in sorted(todo, key=lambda entry: entry[0]):
            container.mux(stream.encode(frame))
        for stream in (video, *sounds):
            if stream is not None:
                container.mux(stream.encode(None))
    if form.upright:
        _note_turn(path)


def still(seconds: float) -> Recording:
    """A long recording of nothing that is cheap to encode."""
    pictures = np.zeros((int(seconds), 32, 32, 3), np.uint8)
    return Recording(pictures, 1.0, np.zeros(int(seconds * 8000), np.float32), 8000)


def _video_stream(container: Any, recording: Recording, form: Form) -> Any:
    rate = Fraction(form.frame_rate or recording.frame_rate).limit_denominator(1001)
    # x264's macroblock tree gives other bits from one time to the next.
    steady = {"x264-params": "threads=1:mbtree=0"} if form.video == "libx264" else {}
    stream = container.add_stream(form.video, rate=rate, options={**steady, **dict(form.options)})
    height, width = recording.pictures.shape[1:3]
    if form.upright:
        height, width = width, height
    stream.width, stream.height = form.size or (width, height)
    stream.pix_fmt = form.pixels
    stream.thread_count = 1
    stream.gop_size = 12
    return stream


def _audio_stream(container: Any, recording: Recording, form: Form) -> Any:
    stream = container.add_stream(form.audio, rate=form.sample_rate or recording.sample_rate)
    stream.layout = form.layout
    return stream


def _frames(recording: Recording, form: Form) -> Sequence[tuple[float, Any]]:
    """The pictures at their times; the nearest earlier one where the rate is another."""
    rate = form.frame_rate or recording.frame_rate
    seconds = len(recording.pictures) / recording.frame_rate
    made = []
    for index in range(round(seconds * rate))[: form.frames]:
        # Two of five pictures are missing in the middle third of a recording of varying rate.
        if form.uneven and 1 / 3 < index / rate / seconds < 2 / 3 and index % 5 in (1, 3):
            continue
        shown = min(int(index / rate * recording.frame_rate + 1e-6), len(recording.pictures) - 1)
        picture = recording.pictures[shown]
        if form.upright:
            picture = np.ascontiguousarray(np.rot90(picture))
        if form.size:
            picture = np.asarray(cv2.resize(picture, form.size, interpolation=cv2.INTER_AREA))
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        step = Fraction(1, 1) / Fraction(rate).limit_denominator(1001)
        frame.pts, frame.time_base = index, step
        made.append((float(index * step), frame))
    return made


def _blocks(recording: Recording, form: Form, stream: Any) -> Sequence[tuple[float, Any]]:
    rate = form.sample_rate or recording.sample_rate
    samples = soxr.resample(recording.samples, recording.sample_rate, rate)
    codec = stream.codec_context
    size = codec.frame_size or rate // 25
    channels = len(av.AudioLayout(form.layout).channels)
    made = []
    for first in range(0, len(samples), size):
        block = np.repeat(samples[None, first : first + size], channels, axis=0)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block, np.float32), format="fltp", layout=form.layout
        )
        frame.sample_rate = rate
        frame.pts, frame.time_base = first + round(form.audio_start_s * rate), Fraction(1, rate)
        made.append((first / rate + form.audio_start_s, frame))
    return made


def _note_turn(path: Path) -> None:
    """Write into an MP4 that it is to be shown turned by a quarter."""
    data = bytearray(path.read_bytes())
    width_at = data.find(b"tkhd") + 44
    height = int.from_bytes(data[width_at + 40 : width_at + 42], "big")
    turn = (0, 65536, 0, -65536, 0, 0, height << 16, 0, 1 << 30)
    for number, value in enumerate(turn):
        data[width_at + 4 * number : width_at + 4 * number + 4] = value.to_bytes(
            4, "big", signed=True
        )
    path.write_bytes(data)
