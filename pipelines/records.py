"""The rows that travel through the pipeline.

NumPy only: training reads these on machines that have no Arrow; the schemas are in shards.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
    "too_large": "its frames take more memory than any camera's",
    "too_short": "shorter than one segment, and segments.short drops such clips",
    "decode_error": "the decoder refused the file",
    "decoder_crashed": "the decoder process died on this file",
    "time_limit": "decoding took longer than preprocess.time_limit_s",
    "no_face": "no face was found in any frame",
    "too_few_faces": "a face was found in too few frames",
    "disk": "the result could not be written",
    "unreachable": "the file could not be fetched from where it is",
    "changed": "the file changed, or was gone, while the corpus was worked on",
    "worker_died": "the process that worked on the file died, twice: memory, or a crash",
    "internal": "an unexpected error: please report it with the detail",
}
"""The closed list of outcome reasons. `ok` clips carry `""`, `no_voice` or `padded`."""

TRANSIENT_REASONS = frozenset(
    {"time_limit", "disk", "unreachable", "changed", "worker_died", "internal"}
)
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
    pitch_hz: npt.NDArray[np.float16]
    """[64 frames] 0 where unvoiced. For the classical rivals, as the energy is."""
    energy_db: npt.NDArray[np.float16]
    """[64 frames] mean square of each window of the audio image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipArrays:
    """What a network reads of one clip: its unique frames, its segments, no label."""

    clip_id: str
    crops: npt.NDArray[np.uint8]
    """[n, 227, 227, 3] RGB, each unique frame once."""
    mfcc: npt.NDArray[np.float16]
    """[segments, 64 coefficients, 64 frames, 3] unscaled."""
    frame_indices: npt.NDArray[np.int32]
    """[segments, 20] into `crops`."""


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
    seed_index: int
    seed: int
    clip_id: str
    subject: str
    emotion: str
    predicted: str
    predicted_by_mean: str
    """By the highest mean probability, in place of the vote."""
    tie: bool
    probabilities: Mapping[str, float]
    """Mean over the clip's segments, by emotion."""


_TEXT_COLUMNS = ("clip_id", "path", "subject", "emotion", "take", "corpus")


def to_row(clip: Clip) -> dict[str, Any]:
    """Return a clip as a row of text columns, the same ones for every clip of every corpus."""
    row = {name: getattr(clip, name) for name in _TEXT_COLUMNS}
    return {
        **row,
        "path": clip.path if "://" in clip.path else str(Path(clip.path).absolute()),
        "sentence": clip.sentence or "",
        "attributes": json.dumps(dict(clip.attributes), sort_keys=True),
    }


def from_row(row: Mapping[str, Any]) -> Clip:
    """Return the clip of a row."""
    return Clip(
        sentence=row["sentence"] or None,
        attributes=json.loads(row["attributes"]),
        **{name: row[name] for name in _TEXT_COLUMNS},
    )
