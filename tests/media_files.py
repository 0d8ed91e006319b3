"""Small media files with a flash and a beep at the same moment, written by PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

SHARED = Path(__file__).parents[1] / ".." / "shared"
GRID = SHARED / "media" / "grid"
MODELS = SHARED / "models"

needs_grid = pytest.mark.skipif(not GRID.is_dir(), reason=f"no GRID clips in {GRID}")
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason=f"no face models in {MODELS}")

EVENT_S = 1.0
EVENT_END_S = 1.2
LEVEL = 0.5
STEP = 12
"""Frame k has k * STEP % 200 grey levels in its corner: every frame tells which one it is."""


def picture(index: int, time_s: float, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Frame `index`: dark, or bright during the event, with a corner that names it."""
    bright = EVENT_S - 1e-6 <= time_s < EVENT_END_S - 1e-6
    frame = np.full((height, width, 3), 235 if bright else 20, np.uint8)
    frame[: height // 2, : width // 2] = index * STEP % 200 + 20
    return frame


def write_clip(
    path: Path,
    *,
    video: str | None = "libx264",
    audio: str | None = "aac",
    fps: int | Fraction = 25,
    times_s: Sequence[float] | None = None,
    width: int = 160,
    height: int = 120,
    seconds: float = 2.0,
    audio_rate: int = 44100,
    layout: str = "mono",
    video_start_s: float = 0.0,
    audio_start_s: float = 0.0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a clip; its flash and its beep are both from 1.0 to 1.2 s of the container's clock.

    `times_s` gives each frame its own time, to the millisecond, in place of `fps`.
    """
    with av.open(str(path), "w", options=container_options or {}) as container:
        picture_stream = container.add_stream(video, rate=fps, options=options) if video else None
        sound_stream = container.add_stream(audio, rate=audio_rate) if audio else None
        if picture_stream is not None:
            picture_stream.width, picture_stream.height = width, height  # type: ignore[union-attr]
            picture_stream.pix_fmt = "yuv420p"  # type: ignore[union-attr]
        if sound_stream is not None:
            sound_stream.layout = layout  # type: ignore[union-attr]
        if picture_stream is not None:
            tick = Fraction(1, 1000) if times_s is not None else 1 / Fraction(fps)
            picture_stream.codec_context.time_base = tick
            first = round(video_start_s * fps)
            stamps = (
                [round(time_s * 1000) for time_s in times_s]
                if times_s is not None
                else range(first, first + round(seconds * fps))
            )
            for index, stamp in enumerate(stamps):
                frame = av.VideoFrame.from_ndarray(
                    picture(index, float(stamp * tick), width, height), format="rgb24"
                )
                frame.pts, frame.time_base = stamp, tick
                container.mux(picture_stream.encode(frame))  # type: ignore[union-attr, arg-type]
            container.mux(picture_stream.encode(None))  # type: ignore[union-attr]
        if sound_stream is not None:
            _write_sound(container, sound_stream, seconds, audio_rate, layout, audio_start_s)
    return path


def _write_sound(
    container: av.container.OutputContainer,
    stream: object,
    seconds: float,
    rate: int,
    layout: str,
    start_s: float,
) -> None:
    sample_format = stream.codec_context.format.name  # type: ignore[attr-defined]
    channels = len(av.AudioLayout(layout).channels)
    time_s = np.arange(round(seconds * rate)) / rate + start_s
    inside = (time_s >= EVENT_S) & (time_s < EVENT_END_S)
    beep = np.where(inside, LEVEL * np.sin(2 * np.pi * 1000 * time_s), 0).astype(np.float32)
    size = stream.codec_context.frame_size or 1024  # type: ignore[attr-defined]
    for start in range(0, beep.size, size):
        block = np.repeat(beep[None, start : start + size], channels, axis=0)
        if sample_format.startswith("s16"):
            block = np.round(block * 32767).astype(np.int16)
        if not sample_format.endswith("p"):
            block = np.ascontiguousarray(block.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format=sample_format, layout=layout)
        frame.sample_rate = rate
        frame.pts, frame.time_base = start + round(start_s * rate), Fraction(1, rate)
        container.mux(stream.encode(frame))  # type: ignore[attr-defined]
    container.mux(stream.encode(None))  # type: ignore[attr-defined]
