"""The Arrow schemas of the shards, and the way from arrays to tables and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from pipelines.fingerprint import Words
from pipelines.records import CROP_SIZE, FRAMES_PER_SEGMENT, ClipOutcome, Segment
from pipelines.storage import Location, write_whole

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
SOUNDS_SCHEMA = pa.schema([("clip_id", pa.string()), ("words", pa.list_(pa.uint32()))])
PROSODY = ("pitch_hz", "energy_db")
"""Columns of `segments` with a number for each frame of the audio image."""
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
            *((name, pa.list_(pa.float16(), mfcc_shape[1])) for name in PROSODY),
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
    """[n, 4] x0, y0, x1, y1 in pixels; where none was found, of the frame that stands in."""
    detected: npt.NDArray[np.bool_]
    """[n] whether the face was found in this very frame."""


def frames_table(clip_id: str, frames: ClipFrames) -> pa.Table:
    """Return the rows of `frames` for one clip."""
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


def segments_table(segments: Sequence[Segment]) -> pa.Table:
    """Return the rows of `segments` for one clip."""
    mfcc = np.stack([segment.mfcc for segment in segments]).astype(np.float16, copy=False)
    pitch = np.stack([segment.pitch_hz for segment in segments])
    energy = np.stack([segment.energy_db for segment in segments])
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
            *(
                pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), mfcc.shape[2])
                for column in (pitch, energy)
            ),
        ],
        schema=segments_schema(mfcc.shape[1:]),
    )


def sound_table(clip_id: str, words: Words) -> pa.Table:
    """Return the row of `sounds` for one clip: the fingerprint of all that is heard of it."""
    return pa.table({"clip_id": [clip_id], "words": [words]}, schema=SOUNDS_SCHEMA)


def write_outcomes(path: Location, outcomes: Sequence[ClipOutcome]) -> None:
    """Write what became of each clip as CSV, for people."""
    table = pa.Table.from_pylist([asdict(outcome) for outcome in outcomes], schema=OUTCOMES_SCHEMA)
    write_whole(path, lambda target: csv.write_csv(table, target))


def image_shape(schema: pa.Schema) -> tuple[int, ...]:
    """Return the shape of the audio images that a `segments` table holds."""
    return tuple(int(size) for size in schema.field("mfcc").metadata[b"shape"].split(b","))


def fixed_bytes(column: pa.ChunkedArray, width: int) -> npt.NDArray[np.uint8]:
    """Return a fixed-size binary column as uint8 [rows, width] without a copy."""
    array = column.combine_chunks()
    flat = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    rows: npt.NDArray[np.uint8] = flat.reshape(-1, width)[array.offset : array.offset + len(array)]
    return rows
