"""Corpus -> segment shards, in parallel with Ray Data: `python -m pipelines.preprocess`.

Each clip is one row; an actor holds a decoder child and a face detector, writes the clip's shards
and returns its outcome. What is already on the disk is not done again, so a killed run goes on
where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipelines.command_line import run_command
from pipelines.config import PipelineConfig, compose_config, describe_settings, settings_of
from pipelines.corpora.listing import ClipMaker, clips_to_make, list_clips
from pipelines.errors import require
from pipelines.faces import weights_digest
from pipelines.process import ClipWorker
from pipelines.progress import Reporter
from pipelines.records import Clip, to_row
from pipelines.session import Place, ray_session
from pipelines.shards import ShardFolder, ShardSet, clip_key, open_shards, write_manifest
from pipelines.storage import content_digest, digest_of, require_folder

MAKE, PREPROCESS = "make corpus", "preprocess"
MOST_LISTED = 20
"""Lost clips that are named in the terminal."""


class CorpusPlan:
    """What preprocessing has to do: known before any work starts, and without Ray."""

    def __init__(self, config: PipelineConfig) -> None:
        self.config = with_corpus_root(config)
        self.detector_digest = weights_digest(config.faces)
        self.clips = list_clips(self.config.corpus)
        self.to_make = clips_to_make(self.config.corpus)

    @property
    def settings(self) -> dict[str, Any]:
        """All that changes a shard, the detector's own file included."""
        return {**settings_of(self.config), "detector": self.detector_digest}


def with_corpus_root(config: PipelineConfig) -> PipelineConfig:
    """Put a corpus that is made, and has no folder of its own, under `paths.data`."""
    corpus = config.corpus
    if getattr(corpus, "name", "") != "synthetic" or corpus.root:
        return config
    made = {key: value for key, value in asdict(corpus).items() if key != "root"}
    root = Path(config.paths.data) / "corpora" / f"synthetic-{digest_of(made)[:8]}"
    return replace(config, corpus=replace(corpus, root=str(root)))


def prepare(plan: CorpusPlan, place: Place, reporter: Reporter) -> ShardSet:
    """Bring the corpus' shards up to date and return them. Needs a Ray session.

    Raises:
        UsageError: no clip of the corpus gave a segment.
    """
    config = plan.config
    workers = config.preprocess.workers or place.cpus
    if plan.to_make:
        _make_corpus(config.corpus, plan.to_make, workers, reporter)
    contents = _content_digests(plan.clips)
    keys = {
        clip.clip_id: clip_key(clip, contents[clip.clip_id], plan.settings) for clip in plan.clips
    }
    digest = digest_of(sorted(keys.values()))
    shards = (Path(config.paths.data) / "shards").absolute()
    folder = ShardFolder(shards / digest)
    todo = [clip for clip in plan.clips if not _is_done(folder, keys[clip.clip_id])]
    if todo and not folder.manifest_path.exists():
        _take_over(folder, shards, [keys[clip.clip_id] for clip in todo])
        todo = [clip for clip in todo if not _is_done(folder, keys[clip.clip_id])]
    if todo:
        _preprocess(config, folder, todo, keys, workers, reporter)
    left = [clip for clip in plan.clips if folder.outcome(keys[clip.clip_id]) is None]
    if left:
        raise RuntimeError(
            f"{len(left)} clips have no outcome, {left[0].clip_id} first: run the command again"
        )
    write_manifest(
        folder,
        corpus=config.corpus.name,
        digest=digest,
        settings=plan.settings,
        clips=[(clip_id, key, contents[clip_id]) for clip_id, key in keys.items()],
    )
    shard_set = open_shards(folder.root)
    _say(shard_set, len(todo), reporter)
    return shard_set


def _is_done(folder: ShardFolder, key: str) -> bool:
    outcome = folder.outcome(key)
    return outcome is not None and not outcome.transient


def _take_over(folder: ShardFolder, shards: Path, keys: Sequence[str]) -> None:
    """Link what other digests hold of these clips: one changed clip costs one clip."""
    others = [
        ShardFolder(path)
        for path in sorted(shards.iterdir() if shards.is_dir() else ())
        if path != folder.root
    ]
    for key in keys:
        any(folder.take_over(key, other) for other in others)


def _content_digests(clips: Sequence[Clip]) -> dict[str, str]:
    with ThreadPoolExecutor() as pool:
        digests = pool.map(lambda clip: content_digest(Path(clip.path)), clips)
        return dict(zip((clip.clip_id for clip in clips), digests, strict=True))


def _say(shard_set: ShardSet, done_now: int, reporter: Reporter) -> None:
    outcomes = shard_set.outcomes
    usable = shard_set.usable
    if done_now == 0:
        reporter.line(f"{PREPROCESS}: {len(outcomes)} clips were done before")
    lost = [outcome for outcome in outcomes if outcome.status != "ok"]
    for outcome in lost[:MOST_LISTED]:
        words = f"{outcome.status}: {outcome.reason} {outcome.detail}".rstrip()
        reporter.line(f"  {outcome.clip_id}: {words}")
    if len(lost) > MOST_LISTED:
        reporter.line(
            f"  and {len(lost) - MOST_LISTED} more: all reasons are in {shard_set.folder.root}"
        )
    require(
        len(usable) > 0,
        f"none of the {len(outcomes)} clips could be used: "
        f"{outcomes[0].clip_id}: {outcomes[0].reason} {outcomes[0].detail}; correct the files or "
        "the paths in the manifest, and run again",
    )


def _make_corpus(corpus: object, clips: Sequence[Clip], workers: int, reporter: Reporter) -> None:
    with reporter.stage(MAKE, len(clips)) as stage:
        for _ in _map_clips(
            ClipMaker, {"corpus": corpus}, [to_row(clip) for clip in clips], workers
        ):
            stage.advance()


def _preprocess(
    config: PipelineConfig,
    folder: ShardFolder,
    clips: Sequence[Clip],
    keys: dict[str, str],
    workers: int,
    reporter: Reporter,
) -> None:
    rows = [{**to_row(clip), "key": keys[clip.clip_id]} for clip in clips]
    arguments = {
        "root": str(folder.root),
        "vad": config.vad,
        "mfcc": config.mfcc,
        "faces": config.faces,
        "preprocess": config.preprocess,
        "segments": config.segments,
    }
    counts = {"ok": 0, "dropped": 0, "failed": 0}
    with reporter.stage(PREPROCESS, len(clips)) as stage:
        for outcome in _map_clips(ClipWorker, arguments, rows, workers):
            counts[outcome["status"]] += 1
            stage.advance(", ".join(f"{n} {status}" for status, n in counts.items() if n))


def _map_clips(
    worker: type, arguments: dict[str, Any], rows: Sequence[dict[str, Any]], workers: int
) -> Iterator[dict[str, Any]]:
    """Send each row through a pool of `worker` actors, and yield what comes back as it comes."""
    import ray

    size = max(1, min(workers, len(rows)))
    # A block a row: a clip that is slow, or kills its worker, holds up no other.
    dataset = ray.data.from_items(list(rows), override_num_blocks=len(rows))
    mapped = dataset.map(
        worker,
        fn_constructor_kwargs=arguments,
        compute=ray.data.ActorPoolStrategy(size=size),
        num_cpus=1,
    )
    yield from mapped.iter_rows()


def main(arguments: Sequence[str] | None = None) -> int:
    """Preprocess a corpus and say what became of each clip."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        config = compose_config("pipeline", PipelineConfig, options.overrides)
        plan = CorpusPlan(config)
        require_folder("paths.data", config.paths.data)
        with ray_session(config.cluster, verbose=options.verbose) as place:
            reporter.line(f"running on {place}")
            shards = prepare(plan, place, reporter)
        reporter.line(
            f"{len(shards.usable)} of {len(shards.outcomes)} clips usable, "
            f"{sum(outcome.segments for outcome in shards.usable)} segments"
        )
        print(shards.folder.root)
        return 0

    return run_command(
        "python -m pipelines.preprocess",
        "Preprocess a corpus into segment shards: voice activity, audio images, face crops.",
        [
            "python -m pipelines.preprocess corpus=csv_manifest corpus.root=/data/clips",
            "python -m pipelines.preprocess faces=yunet faces.model_dir=/models",
        ],
        run,
        arguments,
        lambda: describe_settings("pipeline", PipelineConfig),
    )


if __name__ == "__main__":
    sys.exit(main())
