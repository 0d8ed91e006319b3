"""One clip as files: an AVI (MPEG-4 video, PCM audio) and its truth beside it."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from pipelines.storage import Location, write_json, write_whole
from pipelines.synthesis.articulation import SAMPLE_RATE
from pipelines.synthesis.backdrop import HEIGHT, WIDTH
from pipelines.synthesis.canvas import Pixels
from pipelines.synthesis.emotions import FACE_ACTION_NAMES
from pipelines.synthesis.face import Box
from pipelines.synthesis.performance import Performance
from pipelines.synthesis.speech import FRAME_RATE

QUANTISER = 5
"""Of MPEG-4, fixed: every frame is as good as any other, whatever came before."""
KEY_FRAME_EVERY = 12


def truth_path(clip: Location) -> Location:
    """Where the truth of a clip lies: `<stem>.truth.json` beside it."""
    return clip.with_name(f"{clip.stem}.truth.json")


def write_clip(performance: Performance, path: Location) -> None:
    """Write the clip to `path` and its truth beside it; each appears whole or not at all.

    The truth is written last: where it is, the clip is complete.
    """
    cv2.setNumThreads(1)
    boxes: list[Box] = []

    def write(temporary: Path) -> None:
        boxes.extend(_write_media(performance.pictures(), performance.sound(), temporary))

    write_whole(path, write)
    write_json(truth_path(path), _truth(performance, boxes))


def _write_media(
    pictures: Iterable[tuple[Pixels, Box]], sound: npt.NDArray[np.float32], path: Path
) -> list[Box]:
    """Encode frames and samples [n] to `path`; the boxes that came with the frames."""
    samples = np.round(sound * 32767.0).astype(np.int16)
    boxes: list[Box] = []
    # Bit-exact flags leave out the encoder's name and version, one thread its scheduling.
    with av.open(str(path), "w", format="avi", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream(
            "mpeg4",
            rate=FRAME_RATE,
            options={"flags": "+bitexact", "qmin": str(QUANTISER), "qmax": str(QUANTISER)},
        )
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.gop_size = KEY_FRAME_EVERY
        video.thread_count = 1
        audio = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        done = 0
        for index, (picture, box) in enumerate(pictures):
            boxes.append(box)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
            container.mux(video.encode(frame))
            # Sound is laid beside its frame, as a player reads it.
            until = round((index + 1) * SAMPLE_RATE / FRAME_RATE)
            container.mux(audio.encode(_audio_frame(samples[done:until], done)))
            done = until
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return boxes


def _audio_frame(samples: npt.NDArray[np.int16], start: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
    frame.sample_rate = SAMPLE_RATE
    frame.pts, frame.time_base = start, Fraction(1, SAMPLE_RATE)
    return frame


def _truth(performance: Performance, boxes: list[Box]) -> dict[str, Any]:
    """What is known of a clip since it was made: times in seconds, boxes in pixels."""
    role, timing, ramp = performance.role, performance.timing, performance.ramp
    return {
        "clip_id": role.clip_id,
        "subject": role.subject,
        "emotion": role.emotion,
        "sentence": role.sentence,
        "signal": role.signal,
        "difficulty": role.difficulty,
        "frames": timing.frames,
        "frame_rate": FRAME_RATE,
        "sample_rate": SAMPLE_RATE,
        "voice_start_s": round(timing.voice_start_s, 4),
        "voice_end_s": round(timing.voice_end_s, 4),
        "pauses": [[round(a, 4), round(b, 4)] for a, b in performance.speech.pauses],
        "onset_s": round(ramp.onset_s, 4),
        "apex_start_s": round(ramp.apex_start_s, 4),
        "apex_end_s": round(ramp.apex_end_s, 4),
        "offset_s": round(ramp.offset_s, 4),
        "apex_actions": {
            name: round(value, 4)
            for name, value in zip(FACE_ACTION_NAMES, performance.apex.tolist(), strict=True)
        },
        "face_boxes": [[round(edge, 2) for edge in box] for box in boxes],
    }
