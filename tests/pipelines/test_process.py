"""One clip the whole way: its shards are what its file holds, and no file is ever an exception."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from media_files import write_clip

from pipelines.clip_worker import ClipWorker, outcome_of
from pipelines.corpora import synthetic
from pipelines.corpora.synthetic import SyntheticConfig, make_clip
from pipelines.errors import UsageError
from pipelines.faces import FacesConfig, crop_face
from pipelines.fingerprint import fingerprint
from pipelines.mfcc import MfccConfig, static_coefficients
from pipelines.preprocess_config import PreprocessConfig
from pipelines.process import ClipProcessor
from pipelines.records import Clip, ClipOutcome, to_row
from pipelines.segments import SegmentsConfig
from pipelines.shards import ShardFolder
from pipelines.storage import content_digest
from pipelines.synthesis.write import truth_path
from pipelines.vad import VadConfig

SETTINGS: dict[str, Any] = {
    "vad": VadConfig(),
    "mfcc": MfccConfig(),
    "faces": FacesConfig(),
    "segments": SegmentsConfig(),
    "preprocess": PreprocessConfig(),
}


def clip_at(path: Path) -> Clip:
    return Clip(clip_id=f"s1/{path.stem}", path=str(path), subject="s1", emotion="fear")


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClipProcessor]:
    with ClipProcessor(ShardFolder(tmp_path_factory.mktemp("shards")), **SETTINGS) as processor:
        yield processor


class Processed:
    """A synthetic clip with all that is known of it, and what became of it."""

    def __init__(self, processor: ClipProcessor, root: Path) -> None:
        config = SyntheticConfig(root=str(root), subjects=2, takes=1, difficulty=0.1)
        self.clip = synthetic.clips(config)[0]
        make_clip(config, self.clip)
        self.truth: dict[str, Any] = json.loads(truth_path(Path(self.clip.path)).read_text())
        self.folder = processor.folder
        self.outcome = processor.process(self.clip, "whole")

    def rows(self, table: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(self.folder.path(table, "whole")).to_pylist()
        return rows


@pytest.fixture(scope="module")
def done(processor: ClipProcessor, tmp_path_factory: pytest.TempPathFactory) -> Processed:
    return Processed(processor, tmp_path_factory.mktemp("corpus"))


def test_a_whole_clip_is_ok_and_its_outcome_is_on_the_disk(done: Processed) -> None:
    outcome = done.outcome
    assert (outcome.status, outcome.reason, outcome.detail) == ("ok", "", "")
    assert (outcome.clip_id, outcome.subject, outcome.emotion) == ("s01/anger_1", "s01", "anger")
    assert outcome.voice_found
    assert outcome.length_declared
    assert not outcome.transient
    assert outcome.seconds > 0
    assert done.folder.outcome("whole") == outcome


def test_the_voice_is_found_where_it_is_with_its_surroundings(done: Processed) -> None:
    # delta_1 and delta_2 of section 3.1 are 0.2 s each.
    start_s = done.truth["voice_start_s"] - 0.2
    end_s = done.truth["voice_end_s"] + 0.2
    assert done.outcome.voice_start_s == pytest.approx(start_s, abs=0.1)
    assert done.outcome.voice_end_s == pytest.approx(end_s, abs=0.1)


def test_segments_are_as_many_as_fit_into_the_voice(done: Processed) -> None:
    samples = round((done.outcome.voice_end_s - done.outcome.voice_start_s) * 16000)
    windows = 1 + (samples - 400) // 160  # of 25 ms every 10 ms
    assert done.outcome.segments == 1 + (windows - 64) // 30  # of 64 windows every 30
    rows = done.rows("segments")
    assert len(rows) == done.outcome.segments
    starts = [row["start_s"] for row in rows]
    expected = done.outcome.voice_start_s + 0.3 * np.arange(len(rows))
    np.testing.assert_allclose(starts, expected, rtol=0, atol=1e-4)


def test_frames_are_those_of_the_segments_each_once_on_the_containers_clock(
    done: Processed,
) -> None:
    frames, segments = done.rows("frames"), done.rows("segments")
    times = np.array([row["time_s"] for row in frames])
    first, last = segments[0]["start_s"], segments[-1]["start_s"] + 0.655
    inside = [k / 30 for k in range(done.truth["frames"]) if first <= k / 30 < last]
    np.testing.assert_allclose(times, inside, rtol=0, atol=1e-6)
    assert done.outcome.frames == len(frames)
    assert [row["frame_index"] for row in frames] == list(range(len(frames)))
    for segment in segments:
        indices = np.array(segment["frame_indices"])
        assert indices.shape == (20,)
        assert indices.min() >= 0
        assert indices.max() < len(frames)
        assert np.all(np.diff(indices) >= 0)
        # At 30 frames a second a segment has 19 or 20 frames: at most one is repeated.
        assert len(set(indices.tolist())) >= 19
        of_segment = times[indices]
        assert of_segment.min() >= segment["start_s"] - 1e-6
        assert of_segment.max() < segment["start_s"] + 0.655


def decoded(path: str) -> list[npt.NDArray[np.uint8]]:
    with av.open(path) as container:
        return [
            np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            for frame in container.decode(video=0)
        ]


def test_crops_are_cut_from_their_own_frames_at_their_boxes(done: Processed) -> None:
    pictures, rows = decoded(done.clip.path), done.rows("frames")
    for index in (0, len(rows) // 2, len(rows) - 1):
        row = rows[index]
        assert row["detected"]
        picture = pictures[round(row["time_s"] * 30)]
        truth = crop_face(picture, np.array(row["box"], np.float32)).astype(int)
        crop = np.frombuffer(row["crop"], np.uint8).reshape(227, 227, 3).astype(int)
        # Two decoders: colours differ by a step or two, neighbouring frames by much more.
        assert np.abs(crop - truth).mean() < 2.0
        assert np.abs(crop[..., ::-1] - truth).mean() > 5.0  # it is RGB


def test_boxes_lie_on_the_drawn_face(done: Processed) -> None:
    assert done.outcome.missing_face_ratio < 0.1
    for row in done.rows("frames"):
        true = np.array(done.truth["face_boxes"][round(row["time_s"] * 30)])
        centre = np.array(row["box"]).reshape(2, 2).mean(axis=0)
        assert np.all(centre > true[:2])
        assert np.all(centre < true[2:])


def test_audio_images_are_of_the_sound_at_their_start(done: Processed) -> None:
    with av.open(done.clip.path) as container:
        sound = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    samples = (np.concatenate(sound) / 32768).astype(np.float32)
    images = done.folder.read("whole", done.clip.clip_id).mfcc
    for row, image in zip(done.rows("segments"), images, strict=True):
        first = round(row["start_s"] * 16000)
        static = static_coefficients(samples[first : first + 63 * 160 + 400], MfccConfig())
        assert static.shape == (64, 64)
        np.testing.assert_allclose(image[..., 0].astype(np.float32), static, rtol=2e-3, atol=0.02)


def test_the_same_clip_gives_the_same_shards(done: Processed, processor: ClipProcessor) -> None:
    again = processor.process(done.clip, "again")
    assert replace(again, seconds=0.0) == replace(done.outcome, seconds=0.0)
    one, other = (done.folder.read(key, "x") for key in ("whole", "again"))
    assert np.array_equal(one.crops, other.crops)
    assert one.mfcc.tobytes() == other.mfcc.tobytes()
    assert np.array_equal(one.frame_indices, other.frame_indices)


def test_a_worker_takes_a_row_and_returns_what_became_of_it(
    done: Processed, tmp_path: Path
) -> None:
    worker = ClipWorker(str(tmp_path), **SETTINGS)
    try:
        content = content_digest(Path(done.clip.path))
        told = worker({**to_row(done.clip), "key": "k", "content": content})
    finally:
        worker.processor.close()
    outcome = ShardFolder(tmp_path).outcome("k")
    assert told["clip_id"] == "s01/anger_1"
    assert outcome_of(done.clip, told["outcome"]) == outcome
    assert ShardFolder(tmp_path).outcome("k") is not None


def broken(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.avi"
    if kind == "empty_file":
        path.write_bytes(b"")
    elif kind == "not_media":
        path.write_text("This is a text.\n" * 100)
    elif kind == "no_audio":
        write_clip(path, video="mpeg4", audio=None)
    elif kind == "no_video":
        write_clip(path, video=None, audio="pcm_s16le")
    elif kind == "no_face":
        write_clip(path, video="mpeg4", audio="pcm_s16le")
    elif kind == "truncated":
        whole = write_clip(folder / "whole.mp4")
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    elif kind == "missing_file":
        assert not path.exists()
    return path


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("empty_file", "failed"),
        ("not_media", "failed"),
        ("no_audio", "failed"),
        ("no_video", "failed"),
        ("truncated", "failed"),
        ("missing_file", "failed"),
        ("no_face", "dropped"),
    ],
)
def test_a_broken_clip_has_an_outcome_that_says_why_and_no_shards(
    reason: str, status: str, processor: ClipProcessor, tmp_path: Path
) -> None:
    outcome = processor.process(clip_at(broken(reason, tmp_path)), f"broken-{reason}")
    assert (outcome.status, outcome.reason) == (status, reason)
    assert not outcome.transient
    assert outcome.segments == 0
    folder = processor.folder
    assert folder.outcome(f"broken-{reason}") == outcome
    assert not folder.path("frames", f"broken-{reason}").exists()
    assert not folder.path("segments", f"broken-{reason}").exists()
    assert not folder.path("sounds", f"broken-{reason}").exists()


def test_what_it_sounds_like_is_kept_with_a_clips_shards(done: Processed) -> None:
    (row,) = done.rows("sounds")
    assert row["clip_id"] == "s01/anger_1"
    with av.open(done.clip.path) as container:
        blocks = [block.to_ndarray()[0] for block in container.decode(audio=0)]
    samples = np.concatenate(blocks).astype(np.float32) / np.float32(2**15)
    assert row["words"] == fingerprint(samples, 16000).tolist()
    assert len(row["words"]) > 100


def test_a_clip_without_a_face_still_tells_what_was_known_before(
    processor: ClipProcessor, tmp_path: Path
) -> None:
    outcome = processor.process(clip_at(broken("no_face", tmp_path)), "faceless")
    assert outcome.missing_face_ratio == 1.0
    assert outcome.frames > 0
    assert outcome.voice_found
    # The beep is from 1.0 to 1.2 s, and 0.2 s are kept on both sides.
    assert outcome.voice_start_s == pytest.approx(0.8, abs=0.15)
    assert outcome.voice_end_s == pytest.approx(1.4, abs=0.15)


def test_a_good_clip_after_broken_ones_is_as_good(
    done: Processed, processor: ClipProcessor, tmp_path: Path
) -> None:
    processor.process(clip_at(broken("not_media", tmp_path)), "before")
    after = processor.process(done.clip, "after")
    assert replace(after, seconds=0.0) == replace(done.outcome, seconds=0.0)


def with_sound(source: Path, target: Path, samples: npt.NDArray[np.float64]) -> Path:
    """Write the pictures of a clip with other sound at 16 kHz, cut off at full scale."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        pictures = new.add_stream_from_template(old.streams.video[0])
        sound = new.add_stream("pcm_s16le", rate=16000, layout="mono")
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = pictures
                new.mux(packet)
        whole = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        new.mux([*sound.encode(frame), *sound.encode(None)])
    return target


def sound_of(path: str) -> npt.NDArray[np.float64]:
    with av.open(path) as container:
        blocks = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.asarray(np.concatenate(blocks) / 32768)


def test_an_offset_is_said_and_changes_neither_voice_nor_images(
    done: Processed, processor: ClipProcessor, tmp_path: Path
) -> None:
    moved = with_sound(
        Path(done.clip.path), tmp_path / "moved.avi", sound_of(done.clip.path) + 0.21
    )
    outcome = processor.process(clip_at(moved), "moved")
    assert outcome.status == "ok"
    assert outcome.detail == "sound has a constant offset of 0.21 of full scale: taken away"
    assert outcome.voice_start_s == done.outcome.voice_start_s
    assert outcome.voice_end_s == done.outcome.voice_end_s
    images = [processor.folder.read(key, "x").mfcc.astype(float) for key in ("moved", "whole")]
    # The lowest filters of quiet windows would differ by tens of dB; rounding to 16 bits is left.
    assert np.abs(images[0] - images[1])[..., 0].mean() < 0.5


def test_clipping_is_said(done: Processed, processor: ClipProcessor, tmp_path: Path) -> None:
    samples = sound_of(done.clip.path) * 8
    share = np.mean(np.abs(samples) >= 0.99)
    loud = with_sound(Path(done.clip.path), tmp_path / "loud.avi", samples)
    outcome = processor.process(clip_at(loud), "loud")
    assert outcome.detail == f"sound is clipped ({100 * share:.1f} % of samples at full scale)"
    assert outcome.voice_found
    assert outcome.voice_start_s == pytest.approx(done.outcome.voice_start_s, abs=0.05)


@pytest.mark.parametrize("kind", ["silence", "noise"])
def test_without_voice_the_whole_clip_is_used_and_the_outcome_says_so(
    done: Processed, processor: ClipProcessor, tmp_path: Path, kind: str
) -> None:
    samples = np.zeros_like(sound_of(done.clip.path))
    if kind == "noise":
        samples += np.random.default_rng(0).normal(0, 0.05, samples.size)
    mute = with_sound(Path(done.clip.path), tmp_path / "mute.avi", samples)
    outcome = processor.process(clip_at(mute), kind)
    assert (outcome.status, outcome.reason, outcome.voice_found) == ("ok", "no_voice", False)
    assert (outcome.voice_start_s, outcome.voice_end_s) == (0.0, samples.size / 16000)
    assert outcome.detail == (
        "the sound is silence"
        if kind == "silence"
        else "nothing stands out of sound at -26 dB of full scale"
    )


def test_what_is_known_of_a_clip_is_told_where_it_is_dropped_as_well(
    done: Processed, processor: ClipProcessor, tmp_path: Path
) -> None:
    samples = np.zeros_like(sound_of(done.clip.path))
    mute = with_sound(Path(done.clip.path), tmp_path / "mute.avi", samples)
    detector, processor.detector = processor.detector, NoFaces()
    outcome = processor.process(clip_at(mute), "nobody")
    processor.detector = detector
    assert (outcome.status, outcome.reason) == ("dropped", "no_face")
    assert outcome.detail.endswith("; the sound is silence")


class NoFaces:
    """Finds nobody."""

    def detect(self, frames: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        return [np.zeros((0, 5), np.float32) for _ in frames]


def test_a_file_that_changes_or_goes_while_it_is_worked_on_is_left_to_the_next_run(
    done: Processed, processor: ClipProcessor, tmp_path: Path
) -> None:
    path = tmp_path / "clip.avi"
    path.write_bytes(Path(done.clip.path).read_bytes())
    clip = replace(done.clip, path=str(path))
    content = content_digest(path)

    def process(content: str) -> ClipOutcome:
        return processor.process(clip, "changing", content)

    assert process(content).status == "ok"
    path.write_bytes(path.read_bytes() + b"more")
    changed = process(content)
    path.unlink()
    gone = process(content)
    for outcome in (changed, gone):
        assert (outcome.status, outcome.reason, outcome.transient) == ("failed", "changed", True)
    # What was not there when the run began is missing for good.
    missing = process(content_digest(path))
    assert (missing.reason, missing.transient) == ("missing_file", False)


class Run:
    """The one processor, with other settings, another folder or another detector for a test."""

    def __init__(
        self, processor: ClipProcessor, monkeypatch: pytest.MonkeyPatch, root: Path
    ) -> None:
        self.processor, self.monkeypatch = processor, monkeypatch
        self.folder = ShardFolder(root)

    def __call__(self, clip: Clip, **changes: Any) -> ClipOutcome:
        for name, value in {"folder": self.folder, **changes}.items():
            self.monkeypatch.setattr(self.processor, name, value)
        return self.processor.process(clip, "k")


@pytest.fixture
def run(processor: ClipProcessor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return Run(processor, monkeypatch, tmp_path)


def test_a_clip_above_the_longest_length_is_refused(done: Processed, run: Run) -> None:
    outcome = run(done.clip, preprocess=PreprocessConfig(max_seconds=1.0))
    assert (outcome.status, outcome.reason, outcome.transient) == ("failed", "too_long", False)


def test_a_cut_clip_can_be_kept_and_says_what_is_lost(
    done: Processed, run: Run, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.avi"
    data = Path(done.clip.path).read_bytes()
    cut.write_bytes(data[: len(data) * 7 // 10])
    refused = run(clip_at(cut))
    assert (refused.status, refused.reason) == ("failed", "truncated")
    assert refused.length_declared
    kept = run(clip_at(cut), preprocess=PreprocessConfig(truncated="keep"))
    assert (kept.status, kept.reason, kept.length_declared) == ("ok", "", True)
    seconds = done.truth["frames"] / 30
    assert f"before its declared {seconds:.2f} s" in kept.detail
    assert 0 < kept.segments < done.outcome.segments


def test_without_voice_detection_the_whole_clip_is_used(done: Processed, run: Run) -> None:
    outcome = run(done.clip, vad=VadConfig(enabled=False))
    assert (outcome.status, outcome.reason, outcome.voice_found) == ("ok", "", False)
    assert outcome.voice_start_s == 0.0
    assert outcome.voice_end_s == pytest.approx(done.truth["frames"] / 30, abs=1e-3)
    assert outcome.segments > done.outcome.segments


def test_a_clip_that_takes_too_long_is_tried_again_by_the_next_run(
    done: Processed, tmp_path: Path
) -> None:
    hasty = {**SETTINGS, "preprocess": PreprocessConfig(time_limit_s=1e-4)}
    with ClipProcessor(ShardFolder(tmp_path), **hasty) as processor:
        outcome = processor.process(done.clip, "k")
    assert (outcome.status, outcome.reason, outcome.transient) == ("failed", "time_limit", True)
    assert ShardFolder(tmp_path).outcome("k") == outcome


class FewFaces:
    """A detector that finds a face in the first frames of a clip only."""

    def __init__(self, share: float, count: int) -> None:
        self.left = round(share * count)

    def detect(self, frames: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        found = []
        for _ in frames:
            self.left -= 1
            box = [[100, 80, 220, 200, 0.9]] if self.left >= 0 else np.zeros((0, 5))
            found.append(np.array(box, np.float32))
        return found


@pytest.mark.parametrize("share", [0.25, 0.45])
def test_a_clip_with_a_face_in_fewer_than_half_its_frames_is_dropped(
    share: float, done: Processed, run: Run
) -> None:
    count = done.outcome.frames
    found = round(share * count)
    outcome = run(done.clip, detector=FewFaces(share, count))
    assert (outcome.status, outcome.reason) == ("dropped", "too_few_faces")
    assert outcome.missing_face_ratio == pytest.approx(1 - found / count)
    assert f"{found} of {count}" in outcome.detail
    assert not run.folder.path("frames", "k").exists()


def test_frames_without_a_face_show_the_nearest_one_with_a_face(done: Processed, run: Run) -> None:
    count = done.outcome.frames
    found = round(0.75 * count)
    outcome = run(done.clip, detector=FewFaces(0.75, count))
    assert outcome.status == "ok"
    assert outcome.missing_face_ratio == pytest.approx(1 - found / count)
    rows = pq.read_table(run.folder.path("frames", "k")).to_pylist()
    assert [row["detected"] for row in rows] == [k < found for k in range(count)]
    assert all(row["crop"] == rows[found - 1]["crop"] for row in rows[found:])
    assert rows[0]["crop"] != rows[found - 1]["crop"]


def test_sound_that_starts_late_is_told_on_the_clock_of_the_pictures(
    run: Run, tmp_path: Path
) -> None:
    late = write_clip(tmp_path / "late.mkv", audio="pcm_s16le", audio_start_s=0.5)
    outcome = run(clip_at(late), detector=FewFaces(1.0, 10_000))
    assert outcome.status == "ok"
    # The beep is from 1.0 to 1.2 s of the container's clock, and 0.2 s are kept on both sides.
    assert outcome.voice_start_s == pytest.approx(0.8, abs=0.15)
    assert outcome.voice_end_s == pytest.approx(1.4, abs=0.15)
    segments = pq.read_table(run.folder.path("segments", "k")).to_pylist()
    assert segments[0]["start_s"] == pytest.approx(outcome.voice_start_s, abs=1e-4)
    frames = pq.read_table(run.folder.path("frames", "k")).to_pylist()
    assert frames[0]["time_s"] == pytest.approx(outcome.voice_start_s, abs=1 / 25)


class Crashing:
    """A detector with a fault."""

    def detect(self, frames: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        raise ZeroDivisionError("in two\nlines")


def test_a_fault_of_ours_costs_one_clip_and_says_where(done: Processed, run: Run) -> None:
    outcome = run(done.clip, detector=Crashing())
    assert (outcome.status, outcome.reason, outcome.transient) == ("failed", "internal", True)
    assert outcome.detail == "ZeroDivisionError: in two lines"
    assert run.folder.outcome("k") == outcome


def test_a_place_that_cannot_be_written_is_a_failure_of_the_disk(
    done: Processed, run: Run, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    outcome = run(done.clip, folder=ShardFolder(in_the_way))
    assert (outcome.status, outcome.reason, outcome.transient) == ("failed", "disk", True)
    assert outcome.detail


def test_a_full_disk_leaves_nothing_behind_and_the_clip_to_be_tried_again(
    done: Processed, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(table: object, path: Path, **options: object) -> None:
        path.write_bytes(b"PAR1")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    outcome = run(done.clip)
    assert (outcome.status, outcome.reason, outcome.transient) == ("failed", "disk", True)
    assert "No space left" in outcome.detail
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("setting", ["max_seconds", "time_limit_s", "clips_per_child", "workers"])
def test_settings_out_of_range_are_refused_by_name(setting: str) -> None:
    with pytest.raises(UsageError, match=rf"preprocess\.{setting} \(0\) must be"):
        PreprocessConfig(**{setting: 0})  # type: ignore[arg-type]


def test_what_becomes_of_cut_clips_is_one_of_two_words() -> None:
    with pytest.raises(UsageError, match=r"preprocess\.truncated \(maybe\) must be one of: fail"):
        PreprocessConfig(truncated="maybe")
