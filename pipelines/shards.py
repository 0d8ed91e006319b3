"""Segment shards: written by clip, whole or not at all, and read back by clip.

`<data>/shards/<digest>/` holds `frames/`, `segments/`, `sounds/` and `outcomes/`, each a Parquet
data set with one file, and in it one row group, per clip, and `manifest.json`, which is written
last: its presence means that every clip of the corpus has its outcome, and it repeats them all, so
that one file tells what there is. A clip's files are named by its key, a digest of its content and
of the settings, so a new corpus digest takes over the files of all clips that did not change.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import UsageError
from pipelines.fingerprint import NO_WORDS, Words
from pipelines.records import CROP_SIZE, FRAMES_PER_SEGMENT, Clip, ClipArrays, ClipOutcome, Segment
from pipelines.shard_tables import (
    OUTCOMES_SCHEMA,
    PROSODY,
    ClipFrames,
    fixed_bytes,
    frames_table,
    image_shape,
    segments_table,
    sound_table,
)
from pipelines.storage import (
    Location,
    digest_of,
    location_of,
    names_in,
    open_parquet,
    read_whole,
    write_json,
    write_table,
    write_whole,
)

ARITHMETIC_VERSION = 5
"""Raised whenever the same clip and settings would give other shards than before."""
_OF_USABLE = ("frames", "segments", "sounds")
"""Tables that a clip stands in where its outcome is `ok`."""


def clip_key(clip: Clip, content: str, settings: Mapping[str, Any]) -> str:
    """Return the digest of all that decides a clip's shards: content, settings, arithmetic."""
    labels = [clip.clip_id, clip.subject, clip.emotion]
    return digest_of([labels, content, settings, ARITHMETIC_VERSION])


class ShardFolder:
    """The shards of one corpus under one set of settings, on a disk or in an object store."""

    def __init__(self, root: str | Location) -> None:
        self.root = location_of(root)

    @property
    def manifest_path(self) -> Location:
        """Written last; its presence means complete."""
        return self.root / "manifest.json"

    def path(self, table: str, key: str) -> Location:
        """Return the file of one clip in `frames`, `segments`, `sounds` or `outcomes`."""
        return self.root / table / f"{key}.parquet"

    def write_clip(
        self,
        key: str,
        outcome: ClipOutcome,
        frames: ClipFrames | None = None,
        segments: Sequence[Segment] = (),
        words: Words = NO_WORDS,
    ) -> None:
        """Write what one clip gave. The outcome comes last: where it is, the rest is."""
        if frames is not None:
            write_table(self.path("frames", key), frames_table(outcome.clip_id, frames))
            write_table(self.path("segments", key), segments_table(segments))
            write_table(self.path("sounds", key), sound_table(outcome.clip_id, words))
        write_table(
            self.path("outcomes", key),
            pa.Table.from_pylist([asdict(outcome)], schema=OUTCOMES_SCHEMA),
        )

    def outcomes(self, keys: Collection[str]) -> dict[str, ClipOutcome]:
        """Return what became of those of the clips with these keys that are not still to do."""
        held = {name.removesuffix(".parquet") for name in names_in(self.root / "outcomes")}
        found = read_whole(self.path("outcomes", key) for key in sorted(held.intersection(keys)))
        outcomes = {}
        for name, content in found.items():
            # Where a machine stopped in the middle of it the clip is to be done again.
            with suppress(pa.ArrowException):
                (row,) = pq.ParquetFile(pa.BufferReader(content)).read().to_pylist()
                outcomes[name.removesuffix(".parquet")] = ClipOutcome(**row)
        return outcomes

    def outcome(self, key: str) -> ClipOutcome | None:
        """Return what became of the clip with this key, or None where it is still to do."""
        return self.outcomes([key]).get(key)

    def sounds(self, keys: Collection[str]) -> dict[str, Words]:
        """Return the fingerprints of the sound of those of the clips with these keys that have one.

        Raises:
            UsageError: a file is damaged.
        """
        found = read_whole(self.path("sounds", key) for key in keys)
        sounds = {}
        for name, content in found.items():
            key = name.removesuffix(".parquet")
            try:
                words = pq.ParquetFile(pa.BufferReader(content)).read(columns=["words"])["words"]
            except pa.ArrowException as error:
                raise UsageError(_lost(self.path("sounds", key), str(error))) from error
            sounds[key] = words.combine_chunks().flatten().to_numpy()
        return sounds

    def take_over(self, keys: Collection[str], other: ShardFolder) -> set[str]:
        """Link these clips' files from another digest of the corpus; return those it had."""
        taken = set()
        for key, outcome in other.outcomes(keys).items():
            if outcome.transient:
                continue
            tables = _OF_USABLE if outcome.status == "ok" else ()
            for table in (*tables, "outcomes"):
                _link(other.path(table, key), self.path(table, key))
            taken.add(key)
        return taken

    def read(self, key: str, clip_id: str) -> ClipArrays:
        """Read one clip's arrays. Views where Arrow allows: treat them as read-only."""
        return ClipArrays(
            clip_id=clip_id,
            crops=self.read_crops(key),
            mfcc=self.read_mfcc(key),
            frame_indices=self.read_frame_indices(key),
        )

    def read_crops(self, key: str) -> npt.NDArray[np.uint8]:
        """Read a clip's face crops [n, 227, 227, 3] RGB, each unique frame once."""
        frames = open_parquet(self.path("frames", key)).read(columns=["crop"])
        crops = fixed_bytes(frames["crop"], CROP_SIZE * CROP_SIZE * 3)
        return crops.reshape(-1, CROP_SIZE, CROP_SIZE, 3)

    def read_mfcc(self, key: str) -> npt.NDArray[np.float16]:
        """Read a clip's audio images [segments, 64, 64, 3], unscaled."""
        segments = open_parquet(self.path("segments", key)).read(columns=["mfcc"])
        mfcc = segments["mfcc"].combine_chunks().flatten().to_numpy()
        images: npt.NDArray[np.float16] = mfcc.reshape(-1, *image_shape(segments.schema))
        return images

    def read_frame_indices(self, key: str) -> npt.NDArray[np.int32]:
        """Read which crops each segment shows [segments, 20]."""
        segments = open_parquet(self.path("segments", key)).read(columns=["frame_indices"])
        indices = segments["frame_indices"].combine_chunks().flatten().to_numpy()
        of_segments: npt.NDArray[np.int32] = indices.reshape(-1, FRAMES_PER_SEGMENT)
        return of_segments

    def read_prosody(self, key: str) -> npt.NDArray[np.float16]:
        """Read a clip's pitch in Hz (0 where unvoiced) and energy in dB [segments, 2, 64]."""
        segments = open_parquet(self.path("segments", key)).read(columns=list(PROSODY))
        columns = [
            segments[name].combine_chunks().flatten().to_numpy().reshape(len(segments), -1)
            for name in PROSODY
        ]
        return np.stack(columns, axis=1)


@dataclass(frozen=True, kw_only=True)
class ShardSet:
    """A complete corpus of shards: where it is, what is in it."""

    folder: ShardFolder
    digest: str
    keys: Mapping[str, str]
    """clip_id -> key."""
    contents: Mapping[str, str]
    """clip_id -> mark of the file's content: its sha256, or what its store says of it."""
    outcomes: tuple[ClipOutcome, ...]
    """One per clip of the corpus, sorted by clip_id."""

    @property
    def usable(self) -> tuple[ClipOutcome, ...]:
        """Outcomes of the clips that have segments."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "ok")

    def sounds(self) -> dict[str, Words]:
        """Return clip_id -> fingerprint of its sound, for all usable clips.

        Raises:
            UsageError: one is not there, or damaged.
        """
        keys = {outcome.clip_id: self.keys[outcome.clip_id] for outcome in self.usable}
        held = self.folder.sounds(keys.values())
        for key in keys.values():
            if key not in held:
                raise UsageError(_lost(self.folder.path("sounds", key), "it is not there"))
        return {clip_id: held[key] for clip_id, key in keys.items()}

    @property
    def data_digest(self) -> str:
        """Digest of what a study reads: the clips' keys and which of them are usable."""
        return digest_of([self.digest, [outcome.clip_id for outcome in self.usable]])


def _lost(path: Location, problem: str) -> str:
    return (
        f"{path} can't be read ({problem}): remove the folder {path.parent.parent} and run the "
        "same command again"
    )


def _link(source: Location, target: Location) -> None:
    """Give a file a second name; copy it where the file system has no hard links."""
    if isinstance(source, Path):
        write_whole(target, partial(_link_or_copy, source))
    else:
        source.fs.cp_file(source.path, str(target))


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def open_shards(root: str | Location) -> ShardSet:
    """Open a complete shard folder.

    Raises:
        FileNotFoundError: there is no manifest, so the folder is not complete.
    """
    folder = ShardFolder(root)
    manifest = json.loads(folder.manifest_path.read_text())
    rows = manifest["clips"]
    return ShardSet(
        folder=folder,
        digest=manifest["digest"],
        keys={row["outcome"]["clip_id"]: row["key"] for row in rows},
        contents={row["outcome"]["clip_id"]: row["content"] for row in rows},
        outcomes=tuple(ClipOutcome(**row["outcome"]) for row in rows),
    )


def write_manifest(
    folder: ShardFolder,
    *,
    corpus: str,
    digest: str,
    settings: Mapping[str, Any],
    clips: Iterable[tuple[str, str, ClipOutcome]],
) -> None:
    """Declare the folder complete; `clips` are (key, mark of the file's content, outcome)."""
    rows = [
        {"key": key, "content": content, "outcome": asdict(outcome)}
        for key, content, outcome in sorted(clips, key=lambda clip: clip[2].clip_id)
    ]
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
