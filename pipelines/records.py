"""The rows that travel through the pipeline, and their Arrow schemas on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

CROP_SIZE = 227
"""Side of a face crop in pixels (section 3.3)."""
FRAMES_PER_SEGMENT = 20
"""Video frames that stand beside one audio segment (section 3.3)."""

REASONS = {
    "": "nothing to report",
    "no_voice": "no active voice was found: the whole clip was used",
    "padded": "shorter than one segment: padded to one",
    "missing_file": "the file does not exist or cannot be read",
    "empty_file": "the file has no bytes",
    "not_media": "no container format recognises the file",
    "no_audio": "the file has no audio track",
    "no_video": "the file has no video track",
    "truncated": "a stream ends before the length that the container declares",
    "too_long": "the clip is longer than preprocess.max_seconds",
    "too_short": "the clip is shorter than one segment and vad/segment settings drop such clips",
    "decode_error": "the decoder refused the file",
    "decoder_crashed": "the decoder process died on this file",
    "time_limit": "decoding took longer than preprocess.time_limit_s",
    "no_face": "no face was found in any frame",
    "too_few_faces": "a face was found in too few frames",
    "disk": "the result could not be written",
    "internal": "an unexpected error: please report it with the detail",
}
"""The closed list of outcome reasons. `ok` clips carry `""`, `no_voice` or `padded`."""

TRANSIENT_REASONS = frozenset({"time_limit", "disk", "internal"})
"""Failures that the next run tries again; the others are true of the file itself."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One recording of one person showing one emotion."""

    clip_id: str
    """The path relative to the corpus root, POSIX, without suffix (with it where two collide)."""
    path: str
    subject: str
    emotion: str
    sentence: str | None = None
    take: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    corpus: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """One 655 ms window of a clip: its audio image and the indices of its frames."""

    clip_id: str
    segment_index: int
    start_s: float
    mfcc: npt.NDArray[np.float16]
    """[64 coefficients, 64 frames, 3] static, delta, delta-delta; unscaled (section 3.2)."""
    frame_indices: npt.NDArray[np.int32]
    """[20] into the clip's unique frames (section 3.3)."""


@dataclass(frozen=True, kw_only=True)
class ClipOutcome:
    """What became of one clip: every clip of a corpus has exactly one."""

    clip_id: str
    subject: str
    emotion: str
    status: str
    """`ok`, `dropped` (by a rule) or `failed` (by the file or the machine)."""
    reason: str = ""
    detail: str = ""
    transient: bool = False
    voice_start_s: float = 0.0
    voice_end_s: float = 0.0
    voice_found: bool = False
    length_declared: bool = False
    frames: int = 0
    segments: int = 0
    missing_face_ratio: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The vote on one test clip of one split."""

    split_id: str
    repeat: int
    seed: int
    clip_id: str
    subject: str
    emotion: str
    predicted: str
    tie: bool
    probabilities: Mapping[str, float]
    """Mean over the clip's segments, by emotion."""


FRAMES_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("frame_index", pa.int32()),
        ("time_s", pa.float64()),
        # A fixed-size binary column: a list of uint8 would be stored as int32, four times as large.
        ("crop", pa.binary(CROP_SIZE * CROP_SIZE * 3)),
        ("box", pa.list_(pa.float32(), 4)),
        ("detected", pa.bool_()),
    ]
)

SEGMENTS_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("segment_index", pa.int32()),
        ("start_s", pa.float64()),
        ("mfcc", pa.binary(64 * 64 * 3 * 2)),
        ("frame_indices", pa.list_(pa.int32(), FRAMES_PER_SEGMENT)),
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
