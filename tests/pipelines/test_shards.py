"""Shards come back to the bit, are whole or absent, and are shared by what they were made of."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import shards, storage
from pipelines.errors import UsageError
from pipelines.records import REASONS, TRANSIENT_REASONS, Clip, ClipOutcome, Segment
from pipelines.shard_tables import ClipFrames
from pipelines.shards import ShardFolder, clip_key, open_shards, write_manifest
from pipelines.storage import Location

CROP = 227 * 227 * 3
WORDS = np.array([0, 1, 2**32 - 1], np.uint32)


def make_frames(count: int = 5, seed: int = 0) -> ClipFrames:
    random = np.random.default_rng(seed)
    return ClipFrames(
        times_s=np.sort(random.uniform(0, 3, count)),
        crops=random.integers(0, 256, (count, 227, 227, 3), dtype=np.uint8),
        boxes=random.uniform(-5, 400, (count, 4)).astype(np.float32),
        detected=random.integers(0, 2, count).astype(np.bool_),
    )


def make_segments(clip_id: str = "s1/a", count: int = 3, seed: int = 0) -> list[Segment]:
    random = np.random.default_rng(seed)
    return [
        Segment(
            clip_id=clip_id,
            segment_index=index,
            start_s=0.1 + 0.3 * index,
            mfcc=(100 * random.normal(size=(64, 64, 3))).astype(np.float16),
            frame_indices=np.sort(random.integers(0, 5, 20)).astype(np.int32),
            pitch_hz=random.uniform(60, 500, 64).astype(np.float16),
            energy_db=random.uniform(-100, 0, 64).astype(np.float16),
        )
        for index in range(count)
    ]


def make_outcome(clip_id: str = "s1/a", **changes: Any) -> ClipOutcome:
    outcome = ClipOutcome(
        clip_id=clip_id,
        subject="s1",
        emotion="fear",
        status="ok",
        reason="no_voice",
        detail="ä, 1/3",
        voice_start_s=1 / 3,
        voice_end_s=2.5,
        voice_found=True,
        length_declared=True,
        frames=5,
        segments=3,
        missing_face_ratio=0.1,
        seconds=1.25,
    )
    return replace(outcome, **changes)


def write(folder: ShardFolder, key: str = "k", **changes: Any) -> None:
    folder.write_clip(key, make_outcome(**changes), make_frames(), make_segments(), WORDS)


def files(root: Location) -> list[str]:
    assert isinstance(root, Path)
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> ShardFolder:
    return ShardFolder(tmp_path / "shards")


def test_what_is_written_is_read_to_the_bit(folder: ShardFolder) -> None:
    frames, segments = make_frames(), make_segments()
    folder.write_clip("k", make_outcome(), frames, segments)
    arrays = folder.read("k", "s1/a")
    assert arrays.clip_id == "s1/a"
    assert arrays.crops.dtype == np.uint8
    assert np.array_equal(arrays.crops, frames.crops)
    assert arrays.mfcc.dtype == np.float16
    assert arrays.mfcc.tobytes() == np.stack([s.mfcc for s in segments]).tobytes()
    assert arrays.mfcc.shape == (3, 64, 64, 3)
    assert arrays.frame_indices.dtype == np.int32
    assert np.array_equal(arrays.frame_indices, np.stack([s.frame_indices for s in segments]))


def test_crops_that_are_a_view_are_written_as_they_look(folder: ShardFolder) -> None:
    frames = make_frames()
    mirrored = replace(frames, crops=frames.crops[:, :, ::-1])
    folder.write_clip("k", make_outcome(), mirrored, make_segments())
    assert np.array_equal(folder.read("k", "s1/a").crops, frames.crops[:, :, ::-1])


def test_audio_images_of_another_shape_come_back_in_it(folder: ShardFolder) -> None:
    segments = [
        replace(
            segment,
            mfcc=segment.mfcc[:13, :40].copy(),
            pitch_hz=segment.pitch_hz[:40],
            energy_db=segment.energy_db[:40],
        )
        for segment in make_segments()
    ]
    folder.write_clip("k", make_outcome(), make_frames(), segments)
    read = folder.read("k", "s1/a").mfcc
    assert np.array_equal(read, np.stack([segment.mfcc for segment in segments]))


def test_an_outcome_comes_back_as_it_was(folder: ShardFolder) -> None:
    outcome = make_outcome()
    folder.write_clip("k", outcome, make_frames(), make_segments())
    assert folder.outcome("k") == outcome
    assert folder.outcome("another") is None


def test_frames_are_fixed_size_binary_in_one_row_group_a_clip(folder: ShardFolder) -> None:
    frames = make_frames()
    folder.write_clip("k", make_outcome(), frames, make_segments())
    file = pq.ParquetFile(folder.root / "frames" / "k.parquet")
    schema = file.schema_arrow
    assert schema.names == ["clip_id", "frame_index", "time_s", "crop", "box", "detected"]
    assert schema.field("crop").type == pa.binary(CROP)
    assert schema.field("detected").type == pa.bool_()
    assert file.num_row_groups == 1
    rows = file.read().to_pylist()
    assert [row["clip_id"] for row in rows] == ["s1/a"] * 5
    assert [row["frame_index"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["time_s"] for row in rows] == frames.times_s.tolist()
    assert [row["box"] for row in rows] == frames.boxes.tolist()
    assert [row["detected"] for row in rows] == frames.detected.tolist()
    assert rows[3]["crop"] == frames.crops[3].tobytes()


def test_segments_are_float16_lists_in_one_row_group_a_clip(folder: ShardFolder) -> None:
    segments = make_segments()
    folder.write_clip("k", make_outcome(), make_frames(), segments)
    file = pq.ParquetFile(folder.root / "segments" / "k.parquet")
    schema = file.schema_arrow
    assert schema.names == [
        *("clip_id", "segment_index", "start_s", "mfcc", "frame_indices"),
        *("pitch_hz", "energy_db"),
    ]
    assert schema.field("mfcc").type == pa.list_(pa.float16(), 64 * 64 * 3)
    assert schema.field("frame_indices").type == pa.list_(pa.int32(), 20)
    for name in ("pitch_hz", "energy_db"):
        assert schema.field(name).type == pa.list_(pa.float16(), 64)
    assert file.num_row_groups == 1
    rows = file.read().to_pylist()
    assert [row["segment_index"] for row in rows] == [0, 1, 2]
    assert [row["start_s"] for row in rows] == [segment.start_s for segment in segments]
    assert rows[2]["mfcc"] == segments[2].mfcc.reshape(-1).tolist()
    assert rows[1]["pitch_hz"] == segments[1].pitch_hz.tolist()
    prosody = folder.read_prosody("k")
    assert prosody.shape == (3, 2, 64)
    assert prosody.dtype == np.float16
    assert prosody[2, 1].tolist() == segments[2].energy_db.tolist()


def test_outcomes_hold_what_the_design_lists(folder: ShardFolder) -> None:
    write(folder)
    schema = pq.read_schema(folder.root / "outcomes" / "k.parquet")
    assert set(schema.names) == {
        *("clip_id", "subject", "emotion", "status", "reason", "detail", "transient"),
        *("voice_start_s", "voice_end_s", "voice_found", "length_declared"),
        *("frames", "segments", "missing_face_ratio", "seconds"),
    }


def test_a_fingerprint_comes_back_for_every_usable_clip(folder: ShardFolder) -> None:
    write(folder, "key-b", clip_id="s1/b")
    folder.write_clip("key-c", make_outcome("s1/c"), make_frames(), make_segments("s1/c"))
    dropped = make_outcome("s1/a", status="dropped", reason="no_face")
    declare(folder, dropped, make_outcome("s1/b"), make_outcome("s1/c"))
    sounds = open_shards(folder.root).sounds()
    assert sounds["s1/b"].dtype == np.uint32
    assert {clip_id: words.tolist() for clip_id, words in sounds.items()} == {
        "s1/b": WORDS.tolist(),
        "s1/c": [],
    }


@pytest.mark.parametrize("content", [None, b"PAR1 half"], ids=["gone", "half"])
def test_a_fingerprint_that_is_lost_is_named(
    content: bytes | None, folder: ShardFolder, tmp_path: Path
) -> None:
    write(folder, "key-a", clip_id="s1/a")
    declare(folder, make_outcome("s1/a"))
    path = tmp_path / "shards" / "sounds" / "key-a.parquet"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UsageError, match=f"{path} can't be read .* remove the folder"):
        open_shards(folder.root).sounds()


def test_a_clip_without_segments_leaves_an_outcome_alone(folder: ShardFolder) -> None:
    folder.write_clip("k", make_outcome(status="failed", reason="not_media"))
    assert files(folder.root) == ["outcomes/k.parquet"]
    assert folder.outcome("k") == make_outcome(status="failed", reason="not_media")


class FailingWriter:
    """Writes as Parquet does, but the disk is full at the given file, half of it written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails_at: str) -> None:
        self.fails_at = fails_at
        self.real = pq.write_table
        monkeypatch.setattr("pyarrow.parquet.write_table", self)

    def __call__(self, table: pa.Table, path: Path, **options: Any) -> None:
        if self.fails_at in path.parts:
            path.write_bytes(b"PAR1 half")
            raise OSError(errno.ENOSPC, "No space left on device")
        self.real(table, path, **options)


@pytest.mark.parametrize("table", ["frames", "segments", "sounds", "outcomes"])
def test_a_clip_whose_writing_was_cut_short_is_still_to_do(
    table: str, folder: ShardFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    FailingWriter(monkeypatch, table)
    with pytest.raises(OSError, match="No space left"):
        write(folder)
    assert folder.outcome("k") is None
    in_order = ["frames", "segments", "sounds", "outcomes"]
    written = in_order[: in_order.index(table)]
    # Nothing temporary is left, and what is there is whole.
    assert files(folder.root) == [f"{name}/k.parquet" for name in written]
    monkeypatch.undo()
    write(folder)
    assert folder.outcome("k") == make_outcome()


def test_a_failed_write_leaves_what_was_there(
    folder: ShardFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder)
    FailingWriter(monkeypatch, "outcomes")
    with pytest.raises(OSError, match="No space left"):
        write(folder, detail="second")
    assert folder.outcome("k") == make_outcome()
    tables = ("frames", "outcomes", "segments", "sounds")
    assert files(folder.root) == [f"{table}/k.parquet" for table in tables]


def test_taking_over_links_the_files_of_another_digest(folder: ShardFolder, tmp_path: Path) -> None:
    other = ShardFolder(tmp_path / "other")
    write(other)
    assert folder.take_over(["k"], other) == {"k"}
    assert files(folder.root) == files(other.root)
    for name in files(folder.root):
        assert (tmp_path / "shards" / name).samefile(tmp_path / "other" / name)
    assert folder.outcome("k") == make_outcome()


def test_a_linked_clip_that_is_written_again_leaves_the_other_folder_alone(
    folder: ShardFolder, tmp_path: Path
) -> None:
    other = ShardFolder(tmp_path / "other")
    write(other)
    folder.take_over(["k"], other)
    folder.write_clip("k", make_outcome(detail="again"), make_frames(seed=1), make_segments())
    assert other.outcome("k") == make_outcome()
    assert np.array_equal(other.read("k", "s1/a").crops, make_frames().crops)


def test_a_transient_failure_is_not_taken_over(folder: ShardFolder, tmp_path: Path) -> None:
    other = ShardFolder(tmp_path / "other")
    other.write_clip("k", make_outcome(status="failed", reason="time_limit", transient=True))
    assert folder.take_over(["k"], other) == set()
    assert files(tmp_path) == ["other/outcomes/k.parquet"]


def test_a_true_failure_is_taken_over(folder: ShardFolder, tmp_path: Path) -> None:
    other = ShardFolder(tmp_path / "other")
    failed = make_outcome(status="failed", reason="not_media")
    other.write_clip("k", failed)
    assert folder.take_over(["k"], other) == {"k"}
    assert folder.outcome("k") == failed


def test_what_the_other_folder_does_not_have_is_not_taken_over(
    folder: ShardFolder, tmp_path: Path
) -> None:
    assert folder.take_over(["k", "l"], ShardFolder(tmp_path / "other")) == set()
    assert folder.outcome("k") is None


def test_a_transient_failure_here_gives_way_to_what_another_digest_has(
    folder: ShardFolder, tmp_path: Path
) -> None:
    other = ShardFolder(tmp_path / "other")
    write(other)
    folder.write_clip("k", make_outcome(status="failed", reason="time_limit", transient=True))
    assert folder.take_over(["k"], other) == {"k"}
    assert folder.outcome("k") == make_outcome()


def test_an_outcome_that_a_power_cut_left_half_written_is_still_to_do(
    folder: ShardFolder, tmp_path: Path
) -> None:
    write(folder)
    path = tmp_path / "shards" / "outcomes" / "k.parquet"
    for content in (path.read_bytes()[:-20], b""):
        path.write_bytes(content)
        assert folder.outcome("k") is None
    write(folder)
    assert folder.outcome("k") == make_outcome()


def test_what_a_killed_run_left_half_written_is_swept_away_and_nothing_else(
    folder: ShardFolder, tmp_path: Path
) -> None:
    write(folder)
    whole = files(folder.root)
    (tmp_path / "shards" / "frames" / ".l.parquet.0123.tmp").write_bytes(b"PAR1 half")
    storage.sweep(folder.root)
    assert files(folder.root) == whole


def declare(folder: ShardFolder, *outcomes: ClipOutcome) -> None:
    write_manifest(
        folder,
        corpus="mine",
        digest="d1",
        settings={"vad": {"enabled": True}},
        clips=[(f"key-{o.clip_id[-1]}", f"sha-{o.clip_id[-1]}", o) for o in outcomes],
    )


def test_a_complete_folder_opens_with_one_outcome_a_clip(folder: ShardFolder) -> None:
    a = make_outcome("s1/a", status="dropped", reason="no_face")
    b, c = make_outcome("s1/b", voice_end_s=0.1 + 0.2), make_outcome("s1/c")
    folder.write_clip("key-b", b, make_frames(), make_segments("s1/b"))
    declare(folder, c, a, b)
    opened = open_shards(folder.root)
    assert opened.outcomes == (a, b, c)
    assert opened.usable == (b, c)
    assert opened.keys == {"s1/a": "key-a", "s1/b": "key-b", "s1/c": "key-c"}
    assert opened.contents == {"s1/a": "sha-a", "s1/b": "sha-b", "s1/c": "sha-c"}
    assert opened.digest == "d1"
    assert opened.folder.read(opened.keys["s1/b"], "s1/b").mfcc.shape == (3, 64, 64, 3)


def test_the_digest_of_the_data_follows_what_is_usable(folder: ShardFolder) -> None:
    declare(folder, make_outcome("s1/a"))
    whole = open_shards(folder.root).data_digest
    assert open_shards(folder.root).data_digest == whole
    declare(folder, make_outcome("s1/a", status="dropped", reason="no_face"))
    assert open_shards(folder.root).data_digest != whole


def test_a_folder_without_its_manifest_is_not_complete(folder: ShardFolder) -> None:
    write(folder)
    with pytest.raises(FileNotFoundError, match=r"manifest\.json"):
        open_shards(folder.root)


def test_the_manifest_does_not_depend_on_the_order_of_the_clips(folder: ShardFolder) -> None:
    declare(folder, make_outcome("s1/a"), make_outcome("s1/b"))
    first = folder.manifest_path.read_bytes()
    declare(folder, make_outcome("s1/b"), make_outcome("s1/a"))
    assert folder.manifest_path.read_bytes() == first
    assert json.loads(first)["settings"] == {"vad": {"enabled": True}}
    assert files(folder.root) == ["manifest.json"]


CLIP = Clip(clip_id="s1/a", path="/here/s1/a.avi", subject="s1", emotion="fear")
SETTINGS = {"vad": {"enabled": True}, "max_seconds": 60.0}


def test_a_clips_key_is_of_its_content_settings_and_labels() -> None:
    key = clip_key(CLIP, "sha", SETTINGS)
    others = {
        clip_key(CLIP, "sha2", SETTINGS),
        clip_key(CLIP, "sha", {**SETTINGS, "max_seconds": 30.0}),
        clip_key(CLIP, "sha", {**SETTINGS, "vad": {"enabled": False}}),
        clip_key(replace(CLIP, clip_id="s1/b"), "sha", SETTINGS),
        clip_key(replace(CLIP, subject="s2"), "sha", SETTINGS),
        clip_key(replace(CLIP, emotion="joy"), "sha", SETTINGS),
    }
    assert len(others | {key}) == 7
    assert all(set(one) <= set("0123456789abcdef") and len(one) == 16 for one in others | {key})


def test_a_clips_key_is_the_same_wherever_it_lies_and_however_settings_are_ordered() -> None:
    key = clip_key(CLIP, "sha", SETTINGS)
    assert clip_key(replace(CLIP, path="/there/a.avi"), "sha", SETTINGS) == key
    assert clip_key(CLIP, "sha", dict(reversed(SETTINGS.items()))) == key


def test_a_clips_key_changes_with_the_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    key = clip_key(CLIP, "sha", SETTINGS)
    monkeypatch.setattr(shards, "ARITHMETIC_VERSION", shards.ARITHMETIC_VERSION + 1)
    assert clip_key(CLIP, "sha", SETTINGS) != key


def test_the_content_of_a_file_decides_its_digest(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"abc")
    other.write_bytes(b"abc")
    # The test vector of FIPS 180-2.
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert storage.content_digest(one) == storage.content_digest(other) == known
    assert storage.content_digest(tmp_path / "gone") == "unreadable"


def test_every_reason_is_explained_and_transient_ones_are_reasons() -> None:
    assert all(REASONS.values())
    assert set(REASONS) >= TRANSIENT_REASONS
