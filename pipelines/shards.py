"""Segment shards on disk: written by clip, whole or not at all, and read back by clip.

`<data>/shards/<digest>/` holds `frames/`, `segments/` and `outcomes/`, each a Parquet data set
with one file, and in it one row group, per clip, and `manifest.json`, which is written last: its
presence means that every clip of the corpus has its outcome. A clip's files are named by its key,
a digest of its content and of the settings, so a new corpus digest takes over the files of all
clips that did not change.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.records import (
    CROP_SIZE,
    FRAMES_PER_SEGMENT,
    Clip,
    ClipArrays,
    ClipOutcome,
    Segment,
)

ARITHMETIC_VERSION = 1
"""Raised whenever the same clip and settings would give other shards than before."""

FRAMES_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("frame_index", pa.int32()),
        ("time_s", pa.float64()),
        # Fixed-size binary: a list of uint8 is stored as int32, four times as large.
        ("crop", pa.binary(CROP_SIZE * CROP_SIZE * 3)),
        ("box", pa.list_(pa.float32(), 4)),
        ("detected", pa.bool_()),
    ]
)
OUTCOMES_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("subject", pa.string()),
        ("emotion", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("transient", pa.bool_()),
        ("voice_start_s", pa.float64()),
        ("voice_end_s", pa.float64()),
        ("voice_found", pa.bool_()),
        ("length_declared", pa.bool_()),
        ("frames", pa.int32()),
        ("segments", pa.int32()),
        ("missing_face_ratio", pa.float64()),
        ("seconds", pa.float64()),
    ]
)


def segments_schema(mfcc_shape: tuple[int, ...]) -> pa.Schema:
    """Return the schema of `segments`; the shape of the images is kept with the column."""
    images = pa.list_(pa.float16(), int(np.prod(mfcc_shape)))
    return pa.schema(
        [
            ("clip_id", pa.string()),
            ("segment_index", pa.int32()),
            ("start_s", pa.float64()),
            pa.field("mfcc", images, metadata={"shape": ",".join(map(str, mfcc_shape))}),
            ("frame_indices", pa.list_(pa.int32(), FRAMES_PER_SEGMENT)),
        ]
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipFrames:
    """The unique frames of one clip, in order of time."""

    times_s: npt.NDArray[np.float64]
    """[n] on the container's clock."""
    crops: npt.NDArray[np.uint8]
    """[n, 227, 227, 3] RGB."""
    boxes: npt.NDArray[np.float32]
    """[n, 4] x0, y0, x1, y1 in pixels of the video; of the frame that a missing one is taken from."""
    detected: npt.NDArray[np.bool_]
    """[n] whether the face was found in this very frame."""


def digest_of(value: object) -> str:
    """Return 16 hex digits over `value` (JSON types only), the same in every process."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def content_digest(path: Path) -> str:
    """Return the sha256 of a file, or `"unreadable"`: its outcome will say why."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"


def clip_key(clip: Clip, content: str, settings: Mapping[str, Any]) -> str:
    """Return the digest of all that decides a clip's shards: content, settings, arithmetic."""
    labels = [clip.clip_id, clip.subject, clip.emotion]
    return digest_of([labels, content, settings, ARITHMETIC_VERSION])


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then rename it: readers never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write JSON whole, sorted and indented for people to read."""
    text = json.dumps(value, sort_keys=True, indent=1) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text))


def write_table(path: Path, table: pa.Table) -> None:
    """Write one Parquet file whole, in a single row group."""
    write_whole(
        path,
        lambda temporary: pq.write_table(
            table,
            temporary,
            compression="lz4",
            # Crops and coefficients hardly repeat: a dictionary would only cost time.
            use_dictionary=False,
            row_group_size=max(1, table.num_rows),
        ),
    )


class ShardFolder:
    """The shards of one corpus under one set of settings."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def manifest_path(self) -> Path:
        """Written last; its presence means complete."""
        return self.root / "manifest.json"

    def path(self, table: str, key: str) -> Path:
        """Return the file of one clip in `frames`, `segments` or `outcomes`."""
        return self.root / table / f"{key}.parquet"

    def write_clip(
        self,
        key: str,
        outcome: ClipOutcome,
        frames: ClipFrames | None = None,
        segments: Sequence[Segment] = (),
    ) -> None:
        """Write what one clip gave. The outcome comes last: where it is, the rest is."""
        if frames is not None:
            write_table(self.path("frames", key), _frames_table(outcome.clip_id, frames))
            write_table(self.path("segments", key), _segments_table(segments))
        write_table(
            self.path("outcomes", key),
            pa.Table.from_pylist([asdict(outcome)], schema=OUTCOMES_SCHEMA),
        )

    def outcome(self, key: str) -> ClipOutcome | None:
        """Return what became of the clip with this key, or None where it is still to do."""
        try:
            rows = pq.ParquetFile(self.path("outcomes", key)).read().to_pylist()
        except FileNotFoundError:
            return None
        return ClipOutcome(**rows[0])

    def take_over(self, key: str, other: ShardFolder) -> bool:
        """Link a clip's files from another digest of the corpus; False where it has none."""
        outcome = other.outcome(key)
        if outcome is None or outcome.transient:
            return False
        for table in ("frames", "segments", "outcomes"):
            source, target = other.path(table, key), self.path(table, key)
            if source.exists() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(source, target)
        return True

    def read(self, key: str, clip_id: str) -> ClipArrays:
        """Read one clip's arrays. Views where Arrow allows: treat them as read-only."""
        frames = pq.ParquetFile(self.path("frames", key)).read(columns=["crop"])
        segments = pq.ParquetFile(self.path("segments", key)).read(
            columns=["mfcc", "frame_indices"]
        )
        crops = _fixed_bytes(frames["crop"], CROP_SIZE * CROP_SIZE * 3)
        mfcc = segments["mfcc"].combine_chunks().flatten().to_numpy()
        indices = segments["frame_indices"].combine_chunks().flatten().to_numpy()
        return ClipArrays(
            clip_id=clip_id,
            crops=crops.reshape(-1, CROP_SIZE, CROP_SIZE, 3),
            mfcc=mfcc.reshape(-1, *_image_shape(segments.schema)),
            frame_indices=indices.reshape(-1, FRAMES_PER_SEGMENT),
        )


@dataclass(frozen=True, kw_only=True)
class ShardSet:
    """A complete corpus of shards: where it is, what is in it."""

    folder: ShardFolder
    digest: str
    keys: Mapping[str, str]
    """clip_id -> key."""
    contents: Mapping[str, str]
    """clip_id -> sha256 of the file."""
    outcomes: tuple[ClipOutcome, ...]
    """One per clip of the corpus, sorted by clip_id."""

    @property
    def usable(self) -> tuple[ClipOutcome, ...]:
        """Outcomes of the clips that have segments."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "ok")

    @property
    def data_digest(self) -> str:
        """Digest of what a study reads: the clips' keys and which of them are usable."""
        return digest_of([self.digest, [outcome.clip_id for outcome in self.usable]])


def open_shards(root: Path) -> ShardSet:
    """Open a complete shard folder.

    Raises:
        FileNotFoundError: there is no manifest, so the folder is not complete.
    """
    folder = ShardFolder(root)
    manifest = json.loads(folder.manifest_path.read_text())
    keys = {clip["clip_id"]: clip["key"] for clip in manifest["clips"]}
    outcomes = [folder.outcome(key) for key in keys.values()]
    missing = [clip_id for clip_id, outcome in zip(keys, outcomes, strict=True) if outcome is None]
    if missing:
        raise FileNotFoundError(f"{root} has no outcome for {missing[0]} and {len(missing)} in all")
    return ShardSet(
        folder=folder,
        digest=manifest["digest"],
        keys=keys,
        contents={clip["clip_id"]: clip["content"] for clip in manifest["clips"]},
        outcomes=tuple(
            sorted((o for o in outcomes if o is not None), key=lambda outcome: outcome.clip_id)
        ),
    )


def write_manifest(
    folder: ShardFolder,
    *,
    corpus: str,
    digest: str,
    settings: Mapping[str, Any],
    clips: Iterable[tuple[str, str, str]],
) -> None:
    """Declare the folder complete; `clips` are (clip_id, key, sha256 of the file)."""
    rows = [{"clip_id": i, "key": k, "content": c} for i, k, c in sorted(clips)]
    write_json(
        folder.manifest_path,
        {
            "corpus": corpus,
            "digest": digest,
            "arithmetic_version": ARITHMETIC_VERSION,
            "settings": settings,
            "clips": rows,
        },
    )


def _frames_table(clip_id: str, frames: ClipFrames) -> pa.Table:
    count = len(frames.times_s)
    crops = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(CROP_SIZE * CROP_SIZE * 3),
        count,
        [None, pa.py_buffer(np.ascontiguousarray(frames.crops))],
    )
    boxes = pa.FixedSizeListArray.from_arrays(pa.array(frames.boxes.reshape(-1)), 4)
    return pa.Table.from_arrays(
        [
            pa.array([clip_id] * count, pa.string()),
            pa.array(np.arange(count, dtype=np.int32)),
            pa.array(frames.times_s),
            crops,
            boxes,
            pa.array(frames.detected),
        ],
        schema=FRAMES_SCHEMA,
    )


def _segments_table(segments: Sequence[Segment]) -> pa.Table:
    mfcc = np.stack([segment.mfcc for segment in segments]).astype(np.float16, copy=False)
    indices = np.stack([segment.frame_indices for segment in segments]).astype(np.int32)
    return pa.Table.from_arrays(
        [
            pa.array([segment.clip_id for segment in segments], pa.string()),
            pa.array([segment.segment_index for segment in segments], pa.int32()),
            pa.array([segment.start_s for segment in segments], pa.float64()),
            pa.FixedSizeListArray.from_arrays(
                pa.array(mfcc.reshape(-1)), int(np.prod(mfcc.shape[1:]))
            ),
            pa.FixedSizeListArray.from_arrays(pa.array(indices.reshape(-1)), FRAMES_PER_SEGMENT),
        ],
        schema=segments_schema(mfcc.shape[1:]),
    )


def _image_shape(schema: pa.Schema) -> tuple[int, ...]:
    return tuple(int(size) for size in schema.field("mfcc").metadata[b"shape"].split(b","))


def _fixed_bytes(column: pa.ChunkedArray, width: int) -> npt.NDArray[np.uint8]:
    """Return a fixed-size binary column as uint8 [rows, width] without a copy."""
    array = column.combine_chunks()
    flat = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    rows: npt.NDArray[np.uint8] = flat.reshape(-1, width)[array.offset : array.offset + len(array)]
    return rows
