"""The 20 frames of each segment of a real file, at each frame rate, against cases by hand."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from media_files import STEP, write_clip

from pipelines.faces import FacesConfig
from pipelines.mfcc import MfccConfig
from pipelines.preprocess_config import PreprocessConfig
from pipelines.process import ClipProcessor, ClipResult
from pipelines.records import Clip
from pipelines.segments import SegmentsConfig
from pipelines.shard_tables import ClipFrames
from pipelines.shards import ShardFolder
from pipelines.vad import VadConfig

PCM: dict[str, Any] = {"video": "libx264", "audio": "pcm_s16le", "audio_rate": 16000}
"""Sound without priming: the first segment starts with the first sample, to the microsecond."""


class Corner:
    """Takes the corner that names each frame for a face."""

    def detect(self, frames: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        return [np.array([[8, 8, 40, 40, 0.9]], np.float32) for _ in frames]


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClipProcessor]:
    with ClipProcessor(
        ShardFolder(tmp_path_factory.mktemp("shards")),
        vad=VadConfig(enabled=False),
        mfcc=MfccConfig(),
        faces=FacesConfig(),
        segments=SegmentsConfig(),
        preprocess=PreprocessConfig(),
    ) as processor:
        processor.detector = Corner()
        yield processor


def worked(processor: ClipProcessor, path: Path) -> ClipResult:
    return processor.compute(Clip(clip_id="c", path=str(path), subject="s1", emotion="fear"))


def frames_of(result: ClipResult) -> ClipFrames:
    assert result.outcome.status == "ok", result.outcome
    assert result.frames is not None
    return result.frames


def numbers(result: ClipResult) -> list[int]:
    """Which frame of the file each crop shows, by its grey level (they repeat after 50)."""
    levels = frames_of(result).crops[:, 60:160, 60:160].mean(axis=(1, 2, 3))
    named = np.arange(50) * STEP % 200 + 20
    return [int(np.abs(named - level).argmin()) for level in levels]


def shown(result: ClipResult) -> list[list[int]]:
    """Which frames of the file each segment shows."""
    of_crop = numbers(result)
    return [[of_crop[index] for index in segment.frame_indices] for segment in result.segments]


def twice(first: int, *rest: int) -> list[int]:
    return [first, first, *rest]


def test_25_frames_a_second(processor: ClipProcessor, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mov", fps=25, seconds=1.4, **PCM)
    # 0 to 0.655 s: frames 0 (0 s) to 16 (0.64 s), 17, three to repeat: first, last, first.
    # 0.3 to 0.955 s: 8 (0.32 s) to 23 (0.92 s), 16, two at each end.
    # 0.6 to 1.255 s: 15 (0.6 s) to 31 (1.24 s), 17.
    assert shown(worked(processor, path)) == [
        [0, 0, *range(17), 16],
        [8, 8, *range(8, 24), 23, 23],
        [15, 15, *range(15, 32), 31],
    ]


def test_29_97_frames_a_second(processor: ClipProcessor, tmp_path: Path) -> None:
    ntsc = Fraction(30000, 1001)
    path = write_clip(tmp_path / "a.mov", fps=ntsc, seconds=1.4, audio_start_s=0.034, **PCM)
    # 0.034 to 0.689 s: frames 2 (0.0667 s) to 20 (0.6673 s), 19, the first one twice.
    # 0.334 to 0.989 s: 11 (0.3670 s) to 29 (0.9676 s), 19.
    # 0.634 to 1.289 s: 20 (0.6673 s), since 19 is at 0.63397 s, to 38 (1.2679 s), 19.
    assert shown(worked(processor, path)) == [
        twice(*range(2, 21)),
        twice(*range(11, 30)),
        twice(*range(20, 39)),
    ]


def test_30_frames_a_second(processor: ClipProcessor, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mov", fps=30, seconds=1.4, **PCM)
    # 655 x 30 / 1000 = 20: the paper's own case. 0.3 s is frame 9, 0.6 s frame 18.
    assert shown(worked(processor, path)) == [
        list(range(20)),
        list(range(9, 29)),
        list(range(18, 38)),
    ]


def test_60_frames_a_second(processor: ClipProcessor, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mov", fps=60, seconds=0.7, **PCM)
    # Twenty parts of 32.75 ms; the frame nearest to the middle of each, middle * 60 rounded.
    assert shown(worked(processor, path)) == [
        [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 28, 30, 32, 34, 36, 38]
    ]


def test_10_frames_a_second(processor: ClipProcessor, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mov", fps=10, seconds=0.9, **PCM)
    # 0 to 0.655 s: frames 0 to 6; thirteen to repeat, seven in front.
    assert shown(worked(processor, path)) == [[0] * 7 + list(range(7)) + [6] * 6]


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_variable_frame_rate(suffix: str, processor: ClipProcessor, tmp_path: Path) -> None:
    # 12 frames 100 ms apart, then frames 25 ms apart from 1.2 s on.
    times = [0.1 * k for k in range(12)] + [1.2 + 0.025 * k for k in range(32)]
    sound: dict[str, Any] = {"audio": "flac", "audio_rate": 16000}
    path = write_clip(tmp_path / f"a.{suffix}", times_s=times, seconds=2.0, **sound)
    result = worked(processor, path)
    expected = [times[number] for number in numbers(result)]
    np.testing.assert_allclose(frames_of(result).times_s, expected, atol=1e-4)
    segments = shown(result)
    # 0 to 0.655 s: 0 to 6, seven frames.
    assert segments[0] == [0] * 7 + list(range(7)) + [6] * 6
    # 0.6 to 1.255 s: 6 to 11 (1.1 s), 12 (1.2), 13 (1.225), 14 (1.25): nine frames.
    assert segments[2] == [6] * 6 + list(range(6, 15)) + [14] * 5
    # 0.9 to 1.555 s: 9, 10, 11, then 12 (1.2) to 26 (1.55): 18 frames.
    assert segments[3] == [9, *range(9, 27), 26]
    # 1.2 to 1.855 s: 12 to 38 (1.85), 27 frames at 40 a second: 20 evenly timed ones.
    # Middles at 1.216375 + k * 0.03275 s; less 1.2, over 0.025, rounded, and 12 added.
    middles = [0.016375 + 0.03275 * k for k in range(20)]
    assert segments[4] == [12 + round(middle / 0.025) for middle in middles]


def test_evenly_timed_frames_can_be_configured(
    processor: ClipProcessor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "segments", SegmentsConfig(even=True))
    path = write_clip(tmp_path / "a.mov", fps=25, seconds=0.7, **PCM)
    # Middle * 25, rounded, at most 16, the last frame before 0.655 s.
    assert shown(worked(processor, path)) == [
        [0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 9, 10, 11, 12, 13, 14, 14, 15, 16]
    ]


@pytest.mark.parametrize(("fps", "seconds", "stored"), [(30, 1.4, 38), (60, 0.7, 20)])
def test_no_crop_is_stored_twice_and_none_that_no_segment_shows(
    fps: int, seconds: float, stored: int, processor: ClipProcessor, tmp_path: Path
) -> None:
    path = write_clip(tmp_path / "a.mov", fps=fps, seconds=seconds, **PCM)
    clip = Clip(clip_id="c", path=str(path), subject="s1", emotion="fear")
    outcome = processor.process(clip, f"once-{fps}")
    arrays = processor.folder.read(f"once-{fps}", "c")
    assert outcome.frames == len(arrays.crops) == stored
    assert len({crop.tobytes() for crop in arrays.crops}) == stored
    assert set(arrays.frame_indices.ravel().tolist()) == set(range(stored))
    # At 30 frames a second three segments of 20 share 38 crops.
    assert arrays.frame_indices.size == 20 * outcome.segments


def test_a_clip_shorter_than_a_segment_is_padded_or_dropped_as_configured(
    processor: ClipProcessor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "a.mov", fps=25, seconds=0.4, **PCM)
    padded = worked(processor, path)
    assert (padded.outcome.status, padded.outcome.reason) == ("ok", "padded")
    assert shown(padded) == [[0] * 5 + list(range(10)) + [9] * 5]
    monkeypatch.setattr(processor, "segments", SegmentsConfig(short="drop"))
    dropped = worked(processor, path).outcome
    assert (dropped.status, dropped.reason) == ("dropped", "too_short")
    assert "0.400 s, a segment has 0.655 s" in dropped.detail
