"""Mouth and voice of a performance coincide in the shards, however the file tells the time."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from performances import Take, record, take

from pipelines.faces import FacesConfig
from pipelines.mfcc import MfccConfig, static_coefficients
from pipelines.preprocess_config import PreprocessConfig
from pipelines.process import ClipProcessor, ClipResult
from pipelines.records import Clip
from pipelines.segments import SegmentsConfig
from pipelines.shards import ShardFolder
from pipelines.vad import VadConfig

Floats = npt.NDArray[np.float64]

FRAME_S = 1 / 30
B_FRAMES: dict[str, Any] = {"options": {"bf": "2"}}
FILES: dict[str, dict[str, Any]] = {
    "edit lists for b-frames and priming.mp4": B_FRAMES,
    "late video.mp4": {**B_FRAMES, "video_from_s": 0.4},
    "late audio.mp4": {**B_FRAMES, "audio_from_s": 0.3},
    "both late.mp4": {**B_FRAMES, "clock_s": 0.7, "video_from_s": 0.2},
    "negative start.mp4": {**B_FRAMES, "clock_s": -0.3},
    "no edit list.mp4": {**B_FRAMES, "container_options": {"use_editlist": "0"}},
    "fragments.mp4": {
        **B_FRAMES,
        "container_options": {"movflags": "frag_keyframe+empty_moov"},
    },
    "late video.mkv": {**B_FRAMES, "video_from_s": 0.4},
    "late video.mpg": {"video": "mpeg1video", "audio": "mp2", "video_from_s": 0.2},
    "b-frames.avi": {"video": "libx264", "audio": "pcm_s16le", **B_FRAMES},
}
"""AAC at 16 kHz begins with 64 ms of priming, two frames of video: a mistake would show."""


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClipProcessor]:
    with ClipProcessor(
        ShardFolder(tmp_path_factory.mktemp("shards")),
        vad=VadConfig(),
        mfcc=MfccConfig(),
        faces=FacesConfig(),
        segments=SegmentsConfig(),
        preprocess=PreprocessConfig(),
    ) as processor:
        yield processor


@pytest.fixture(scope="module")
def talking() -> Take:
    """Two seconds of speech by somebody whose lips are easy to read."""
    return take(9, first=15, count=66)


def worked(processor: ClipProcessor, path: Path) -> ClipResult:
    clip = Clip(clip_id=path.stem, path=str(path), subject="s1", emotion="fear")
    result = processor.compute(clip)
    assert result.outcome.status == "ok", result.outcome
    return result


def openness(crops: npt.NDArray[np.uint8]) -> Floats:
    """How dark the darkest part of the mouth is in each crop [n, 227, 227, 3]."""
    mouths = crops[:, 160:210, 85:142].mean(axis=-1).reshape(len(crops), -1)
    darkness: Floats = -np.percentile(mouths, 5, axis=1) / crops.mean(axis=(1, 2, 3))
    return darkness


def delay(times_s: Floats, seen: Floats, true: Floats, step_s: float) -> float:
    """By how much what was measured at `times_s` comes after the truth, sampled every `step_s`."""
    clock = np.arange(len(true)) * step_s
    shifts = np.arange(-0.6, 0.6, 0.002)
    likeness = []
    for shift in shifts:
        expected = np.interp(times_s - shift, clock, true, left=np.nan, right=np.nan)
        known = ~np.isnan(expected)
        both = (expected[known], seen[known])
        likeness.append(np.corrcoef(*both)[0, 1] if known.sum() > 20 else -1.0)
    assert max(likeness) > 0.6, "what was measured does not resemble the truth"
    return float(shifts[np.argmax(likeness)])


def mouth_delay(result: ClipResult, truth: Take) -> float:
    assert result.frames is not None
    return delay(result.frames.times_s, openness(result.frames.crops), truth.lips, 0.005)


def voice_delay(result: ClipResult, truth: Take) -> float:
    times = np.concatenate([row.start_s + 0.01 * np.arange(64) for row in result.segments])
    loudness = np.concatenate([row.mfcc[0, :, 0] for row in result.segments])
    true = static_coefficients(truth.samples, MfccConfig())[0]
    return delay(times, loudness.astype(np.float64), true.astype(np.float64), 0.01)


@pytest.mark.parametrize("name", FILES)
def test_mouth_and_voice_coincide_in_the_shards(
    name: str, processor: ClipProcessor, talking: Take, tmp_path: Path
) -> None:
    path = record(tmp_path / name, talking.pictures, talking.samples, **FILES[name])
    result = worked(processor, path)
    apart = mouth_delay(result, talking) - voice_delay(result, talking)
    assert abs(apart) < FRAME_S / 2


def test_a_mouth_that_is_two_frames_late_is_seen_to_be_late(
    processor: ClipProcessor, talking: Take, tmp_path: Path
) -> None:
    late = talking.samples[round(2 * FRAME_S * 16000) :]
    result = worked(processor, record(tmp_path / "late.mp4", talking.pictures, late, **B_FRAMES))
    apart = mouth_delay(result, talking) - voice_delay(result, talking)
    assert apart == pytest.approx(2 * FRAME_S, abs=FRAME_S / 2)


def turned(path: Path, quarters: int, size: tuple[int, int]) -> Path:
    """Say in an MP4's header that its pictures are shown after so many turns to the right."""
    width, height = size
    matrices = {
        1: (0, 65536, 0, -65536, 0, 0, height << 16, 0),
        2: (-65536, 0, 0, 0, -65536, 0, width << 16, height << 16),
        3: (0, -65536, 0, 65536, 0, 0, 0, width << 16),
    }
    data = bytearray(path.read_bytes())
    struct.pack_into(">9i", data, data.find(b"tkhd") + 44, *matrices[quarters], 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_phone_held_upright_or_upside_down_gives_an_upright_face(
    quarters: int, processor: ClipProcessor, talking: Take, tmp_path: Path
) -> None:
    portrait = talking.pictures[:30, :, 72:288]
    upright = worked(processor, record(tmp_path / "upright.mp4", portrait, talking.samples[:16000]))
    lying = np.rot90(portrait, quarters, axes=(1, 2))
    path = record(tmp_path / "lying.mp4", np.ascontiguousarray(lying), talking.samples[:16000])
    result = worked(processor, turned(path, quarters, (lying.shape[2], lying.shape[1])))
    assert result.frames is not None
    assert upright.frames is not None
    assert result.frames.detected.all()
    np.testing.assert_allclose(result.frames.boxes, upright.frames.boxes, atol=8)
    likeness = np.corrcoef(result.frames.crops[5].ravel(), upright.frames.crops[5].ravel())[0, 1]
    assert likeness > 0.85
