"""Segment shards on disk: written by clip, whole or not at all, and read back by clip.

`<data>/shards/<digest>/` holds `frames/`, `segments/` and `outcomes/`, each a Parquet data set
with one file, and in it one row group, per clip, and `manifest.json`, which is written last: its
presence means that every clip of the corpus has its outcome. A clip's files are named by its key,
a digest of its content and of the settings, so a new corpus digest takes over the files of all
clips that did not change.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.records import CROP_SIZE, FRAMES_PER_SEGMENT, Clip, ClipArrays, ClipOutcome, Segment
from pipelines.shard_tables import (
    OUTCOMES_SCHEMA,
    ClipFrames,
    fixed_bytes,
    frames_table,
    image_shape,
    segments_table,
)
from pipelines.storage import digest_of, write_json, write_table, write_whole

ARITHMETIC_VERSION = 2
"""Raised whenever the same clip and settings would give other shards than before."""


def clip_key(clip: Clip, content: str, settings: Mapping[str, Any]) -> str:
    """Return the digest of all that decides a clip's shards: content, settings, arithmetic."""
    labels = [clip.clip_id, clip.subject, clip.emotion]
    return digest_of([labels, content, settings, ARITHMETIC_VERSION])


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
            write_table(self.path("frames", key), frames_table(outcome.clip_id, frames))
            write_table(self.path("segments", key), segments_table(segments))
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
            if source.exists():
                write_whole(target, partial(_link, source))
        return True

    def read(self, key: str, clip_id: str) -> ClipArrays:
        """Read one clip's arrays. Views where Arrow allows: treat them as read-only."""
        frames = pq.ParquetFile(self.path("frames", key)).read(columns=["crop"])
        segments = pq.ParquetFile(self.path("segments", key)).read(
            columns=["mfcc", "frame_indices"]
        )
        crops = fixed_bytes(frames["crop"], CROP_SIZE * CROP_SIZE * 3)
        mfcc = segments["mfcc"].combine_chunks().flatten().to_numpy()
        indices = segments["frame_indices"].combine_chunks().flatten().to_numpy()
        return ClipArrays(
            clip_id=clip_id,
            crops=crops.reshape(-1, CROP_SIZE, CROP_SIZE, 3),
            mfcc=mfcc.reshape(-1, *image_shape(segments.schema)),
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


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


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
