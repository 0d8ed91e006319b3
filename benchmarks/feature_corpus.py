"""A corpus that exists as features only: real shards and feature files of clips that nobody made.

Its features carry the emotion, the subject and noise, so that a training has something to learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipelines.clip_reading import ClipPlaces
from pipelines.feature_store import AUDIO, FRAMES, FeatureFolder
from pipelines.records import FRAMES_PER_SEGMENT, Clip, ClipOutcome, Segment
from pipelines.shard_tables import segments_table
from pipelines.shards import ShardFolder, ShardSet, open_shards, write_manifest
from pipelines.split_task import seed_for
from pipelines.storage import digest_of, write_table
from pipelines.synthesis.emotions import EMOTIONS

SHIFT_S, SEGMENT_S = 0.3, 0.655
"""Of segments (section 3.2)."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How much of everything."""

    subjects: int
    clips: int
    """Of each subject."""
    feature_size: int
    segments: int = 7
    """Of each clip."""
    frame_rate: int = 25

    def __str__(self) -> str:
        return f"{self.subjects} subjects with {self.clips} clips of {self.segments} segments each"

    @property
    def frames(self) -> int:
        """Unique frames of a clip."""
        return round(((self.segments - 1) * SHIFT_S + SEGMENT_S) * self.frame_rate)

    def frame_indices(self) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
        """Return which frames each segment shows [segments, 20]: evenly, shared by neighbours."""
        starts = np.arange(self.segments) * SHIFT_S
        within = np.linspace(0, SEGMENT_S, FRAMES_PER_SEGMENT, endpoint=False)
        return ((starts[:, None] + within) * self.frame_rate).astype(np.int32)


def write_feature_corpus(folder: Path, geometry: Geometry) -> tuple[ShardSet, ClipPlaces]:
    """Write shards without crops, and the features of both kinds, as extraction leaves them."""
    shards = ShardFolder(folder / "shards")
    stores = {kind: FeatureFolder(folder / "features" / kind) for kind in (AUDIO, FRAMES)}
    rows = []
    for outcome in outcomes(geometry):
        key = digest_of(outcome.clip_id)
        write_clip(shards, stores, key, outcome, geometry)
        rows.append((key, key, outcome))
    write_manifest(shards, corpus="features", digest="0", settings={}, clips=rows)
    places = ClipPlaces(
        shards=str(shards.root),
        audio_features=str(stores[AUDIO].root),
        frame_features=str(stores[FRAMES].root),
    )
    return open_shards(shards.root), places


def write_clip(
    shards: ShardFolder,
    stores: Mapping[str, FeatureFolder],
    key: str,
    outcome: ClipOutcome,
    geometry: Geometry,
) -> None:
    """Write the segments, the outcome and the features of one clip."""
    segments = [
        Segment(
            clip_id=outcome.clip_id,
            segment_index=index,
            start_s=index * SHIFT_S,
            mfcc=np.zeros((64, 64, 3), np.float16),
            frame_indices=indices,
            pitch_hz=np.zeros(64, np.float16),
            energy_db=np.zeros(64, np.float16),
        )
        for index, indices in enumerate(geometry.frame_indices())
    ]
    write_table(shards.path("segments", key), segments_table(segments))
    shards.write_clip(key, outcome)
    for kind, count in ((AUDIO, geometry.segments), (FRAMES, geometry.frames)):
        stores[kind].write(key, features(outcome, kind, count, geometry.feature_size))


def outcomes(geometry: Geometry) -> Iterator[ClipOutcome]:
    """Yield what preprocessing would have said of each clip."""
    for subject in range(1, geometry.subjects + 1):
        for clip in range(geometry.clips):
            emotion = EMOTIONS[clip % len(EMOTIONS)]
            yield ClipOutcome(
                clip_id=f"s{subject:02d}/{emotion}_{clip}",
                subject=f"s{subject:02d}",
                emotion=emotion,
                status="ok",
                voice_found=True,
                frames=geometry.frames,
                segments=geometry.segments,
            )


def features(outcome: ClipOutcome, kind: str, count: int, size: int) -> torch.Tensor:
    """Return float16 features [count, size] of a clip: non-negative, as they are after a ReLU."""
    total = torch.zeros(count, size)
    for what, rows, share in (
        (outcome.emotion, 1, 0.5),
        (outcome.subject, 1, 0.5),
        (outcome.clip_id, count, 1.0),
    ):
        generator = torch.Generator().manual_seed(seed_for(0, kind, what))
        total += share * torch.randn(rows, size, generator=generator)
    return total.clamp_(min=0).half()


def clips_of(outcomes: Sequence[ClipOutcome]) -> list[Clip]:
    """Return the clips of outcomes, as a plan of splits wants them."""
    return [
        Clip(clip_id=one.clip_id, path="", subject=one.subject, emotion=one.emotion)
        for one in outcomes
    ]
