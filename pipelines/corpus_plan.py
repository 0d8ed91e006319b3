"""What preprocessing has to do: which clips, under which keys, and which of them are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from pipelines.clip_files import content_digests
from pipelines.config import PipelineConfig, settings_of
from pipelines.corpora.listing import clips_to_make, is_made, read_corpus
from pipelines.faces import weights_digest
from pipelines.records import Clip, ClipOutcome
from pipelines.shards import ShardFolder, ShardSet, clip_key, open_shards, write_manifest
from pipelines.storage import (
    cache_home,
    digest_of,
    is_address,
    location_of,
    names_in,
    require_folder,
)


class CorpusPlan:
    """A corpus under its settings: known before any work starts, and without Ray."""

    def __init__(self, config: PipelineConfig) -> None:
        self.config = with_corpus_root(config)
        self.listing = read_corpus(self.config.corpus)
        self.clips = self.listing.clips
        self.to_make = clips_to_make(self.config.corpus)

    @cached_property
    def detector_digest(self) -> str:
        """Of the detector's own files, which are fetched where they are not here.

        Raises:
            UsageError: they can't be had.
        """
        return weights_digest(self.config.faces)

    @property
    def settings(self) -> dict[str, Any]:
        """All that changes a shard, the detector's own file included."""
        return {**settings_of(self.config), "detector": self.detector_digest}

    def require_ready(self) -> None:
        """Have the detector's files, and see that results can be written; make nothing yet.

        Raises:
            UsageError: naming the setting.
        """
        _ = self.detector_digest
        paths = self.config.paths
        require_folder("paths.data", paths.data)
        if is_address(self.config.corpus.root):
            require_folder("paths.cache", paths.cache or str(cache_home()))

    def task(self) -> ShardTask:
        """Read what the clips' files hold and name their shards. The corpus must be made."""
        contents = content_digests(self.clips, self.config.corpus.root)
        keys = {c.clip_id: clip_key(c, contents[c.clip_id], self.settings) for c in self.clips}
        digest = digest_of(sorted(keys.values()))
        folder = ShardFolder(location_of(self.config.paths.data) / "shards" / digest)
        return ShardTask(self, folder, digest, contents, keys)


@dataclass(frozen=True)
class ShardTask:
    """The shards that a corpus is to have: where, and under which keys."""

    plan: CorpusPlan
    folder: ShardFolder
    digest: str
    contents: Mapping[str, str]
    """clip_id -> mark of the file's content."""
    keys: Mapping[str, str]
    """clip_id -> key."""

    def finished(self) -> ShardSet | None:
        """Return the shards where nothing is left to do."""
        try:
            shards = open_shards(self.folder.root)
        except FileNotFoundError:
            return None
        return None if any(outcome.transient for outcome in shards.outcomes) else shards

    def done(self) -> dict[str, ClipOutcome]:
        """Return the outcomes that stand, by clip_id; those that may be better next time don't."""
        outcomes = self.folder.outcomes(self.keys.values())
        return {
            clip_id: outcomes[key]
            for clip_id, key in self.keys.items()
            if key in outcomes and not outcomes[key].transient
        }

    def take_over(self, done: Mapping[str, ClipOutcome]) -> None:
        """Link what other digests hold of the clips that are not done."""
        wanted = {key for clip_id, key in self.keys.items() if clip_id not in done}
        for other in self.other_folders():
            if not wanted:
                return
            wanted -= self.folder.take_over(wanted, other)

    def other_folders(self) -> list[ShardFolder]:
        """Return the shard folders of other corpora and settings under the same `paths.data`."""
        shards = self.folder.root.parent
        return [
            ShardFolder(shards / name)
            for name in sorted(names_in(shards))
            if name != self.folder.root.name
        ]

    def left(self, done: Mapping[str, ClipOutcome]) -> Sequence[Clip]:
        """Return the clips that are still to do."""
        return [clip for clip in self.plan.clips if clip.clip_id not in done]

    def finish(self, outcomes: Mapping[str, ClipOutcome]) -> ShardSet:
        """Declare the shards complete; every clip has its outcome."""
        write_manifest(
            self.folder,
            corpus=self.plan.config.corpus.name,
            digest=self.digest,
            settings=self.plan.settings,
            clips=[
                (key, self.contents[clip_id], outcomes[clip_id])
                for clip_id, key in self.keys.items()
            ],
        )
        return open_shards(self.folder.root)


def with_corpus_root(config: PipelineConfig) -> PipelineConfig:
    """Put a corpus that is made, and has no folder of its own, under `paths.data`."""
    corpus = config.corpus
    if not is_made(corpus) or corpus.root:
        return config
    made = {key: value for key, value in asdict(corpus).items() if key != "root"}
    root = location_of(config.paths.data) / "corpora" / f"{corpus.name}-{digest_of(made)[:8]}"
    return replace(config, corpus=replace(corpus, root=str(root)))


def processor_settings(config: PipelineConfig) -> dict[str, Any]:
    """Return the settings of a `ClipProcessor`, by the names of its arguments."""
    return {
        "vad": config.vad,
        "mfcc": config.mfcc,
        "faces": config.faces,
        "segments": config.segments,
        "preprocess": config.preprocess,
        "cache": config.paths.cache,
    }
