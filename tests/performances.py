"""Synthetic performances recorded as files that are not the corpus' own AVI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from pipelines.corpora.synthetic import SyntheticConfig, clips, role_of
from pipelines.synthesis.articulation import HOP, SAMPLE_RATE
from pipelines.synthesis.performance import perform
from pipelines.synthesis.speech import FRAME_RATE

Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Take:
    """A part of a performance: what the camera saw, what the microphone heard, what is true."""

    pictures: Pictures
    """[n, height, width, 3] RGB, 30 a second."""
    boxes: npt.NDArray[np.float64]
    """[n, 4] of the face."""
    samples: npt.NDArray[np.float32]
    """[m], 16000 a second, from the first picture on."""
    lips: npt.NDArray[np.float64]
    """[h] openness of the lips, 0 to 1, every 5 ms from the first picture on."""


@cache
def take(
    number: int, first: int = 0, count: int | None = None, difficulty: float = 0.25, seed: int = 0
) -> Take:
    """`count` frames of clip `number` of a corpus of 8 subjects, from frame `first` on."""
    corpus = SyntheticConfig(root="-", subjects=8, takes=1, difficulty=difficulty, seed=seed)
    performance = perform(role_of(corpus, clips(corpus)[number]))
    last = performance.timing.frames if count is None else first + count
    pictures, boxes = zip(*performance.pictures(range(first, last)), strict=True)

    def part(values: npt.NDArray[np.floating], rate: int) -> npt.NDArray[np.floating]:
        return values[round(first * rate / FRAME_RATE) : round(last * rate / FRAME_RATE)]

    return Take(
        pictures=np.stack(pictures),
        boxes=np.array(boxes),
        samples=part(performance.sound(), SAMPLE_RATE).astype(np.float32),
        lips=part(performance.lips, SAMPLE_RATE // HOP).astype(np.float64),
    )


def record(
    path: Path,
    pictures: Pictures | Sequence[Pictures],
    samples: npt.NDArray[np.float32],
    *,
    video: str = "libx264",
    audio: str = "aac",
    fps: int = FRAME_RATE,
    sample_rate: int = SAMPLE_RATE,
    video_from_s: float = 0.0,
    audio_from_s: float = 0.0,
    clock_s: float = 0.0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write pictures and sound that belong together, each at its own time of the container.

    What comes before `video_from_s` and `audio_from_s` is left out, so that the streams start
    there; the whole is moved by `clock_s`.
    """
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w", options=container_options or {}) as container:
        camera = container.add_stream(video, rate=fps, options=options or {})
        camera.width, camera.height, camera.pix_fmt = width, height, "yuv420p"  # type: ignore[union-attr]
        microphone = container.add_stream(audio, rate=sample_rate, layout="mono")
        for index in range(round(video_from_s * fps), len(pictures)):
            frame = av.VideoFrame.from_ndarray(pictures[index], format="rgb24")
            frame.pts, frame.time_base = index + round(clock_s * fps), Fraction(1, fps)
            container.mux(camera.encode(frame))  # type: ignore[union-attr, arg-type]
        container.mux(camera.encode(None))  # type: ignore[union-attr]
        kind = microphone.codec_context.format.name  # type: ignore[union-attr]
        size = microphone.codec_context.frame_size or 1024  # type: ignore[union-attr]
        for start in range(round(audio_from_s * sample_rate), len(samples), size):
            block = samples[None, start : start + size]
            if kind.startswith("s16"):
                block = np.round(block * 32767).astype(np.int16)
            sound = av.AudioFrame.from_ndarray(block, format=kind, layout="mono")
            sound.sample_rate = sample_rate
            sound.pts = start + round(clock_s * sample_rate)
            sound.time_base = Fraction(1, sample_rate)
            container.mux(microphone.encode(sound))  # type: ignore[union-attr, arg-type]
        container.mux(microphone.encode(None))  # type: ignore[union-attr]
    return path
