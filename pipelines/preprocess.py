"""Corpus -> segment shards, in parallel with Ray Data: `python -m pipelines.preprocess`.

Each clip is one row; an actor holds a decoder child and a face detector, writes the clip's shards
and returns its outcome. What is already there is not done again, so a killed run goes on where it
was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.clip_pool import PoolSize, map_clips
from pipelines.clip_worker import ClipWorker, outcome_of
from pipelines.command_line import run_command
from pipelines.config import PipelineConfig, compose_config, describe_settings, register_schema
from pipelines.corpora.listing import ClipMaker, clips_to_make
from pipelines.corpus_plan import CorpusPlan, ShardTask, processor_settings
from pipelines.dry_run import print_plan
from pipelines.errors import StoppedError, UsageError, require
from pipelines.locks import hold
from pipelines.process import CACHE_FAILS
from pipelines.progress import Reporter
from pipelines.records import Clip, ClipOutcome, to_row
from pipelines.session import Place, ray_session
from pipelines.shards import ShardSet
from pipelines.storage import location_of, sweep

MAKE, PREPROCESS = "make corpus", "preprocess"
MOST_LISTED = 20
"""Lost clips that are named in the terminal."""


@dataclass
class PreprocessingRun(PipelineConfig):
    """Settings of `python -m pipelines.preprocess`."""

    dry_run: bool = False
    """Say what would be done, how long it takes and how large it gets, and touch nothing."""


register_schema("preprocess_schema", PreprocessingRun)


def prepare(plan: CorpusPlan, place: Place, reporter: Reporter) -> ShardSet:
    """Bring the corpus' shards up to date and return them. Needs a Ray session.

    Raises:
        UsageError: no clip of the corpus gave a segment.
        StoppedError: the results can't be written; what is finished is kept.
    """
    size = PoolSize.on(place, told=plan.config.preprocess.workers)
    if plan.to_make:
        _make_corpus(plan, size, reporter)
    task = plan.task()
    shards = task.finished()
    if shards is None:
        with hold(task.folder.root, reporter.line):
            shards = _bring_up_to_date(task, size, reporter)
    else:
        _say_done_before(shards.outcomes, reporter)
    _say_what_was_lost(shards, reporter)
    return shards


def _bring_up_to_date(task: ShardTask, size: PoolSize, reporter: Reporter) -> ShardSet:
    # Whoever held the lock before may have done all there was.
    shards = task.finished()
    if shards is not None:
        _say_done_before(shards.outcomes, reporter)
        return shards
    sweep(task.folder.root)
    outcomes = task.done()
    if task.left(outcomes):
        task.take_over(outcomes)
        outcomes = task.done()
    left = task.left(outcomes)
    if left:
        for outcome in _preprocess(task, left, size, reporter):
            outcomes[outcome.clip_id] = outcome
    else:
        _say_done_before(outcomes, reporter)
    return task.finish(outcomes)


def _say_done_before(outcomes: Collection[object], reporter: Reporter) -> None:
    reporter.line(f"{PREPROCESS}: {len(outcomes)} clips were done before")


def _make_corpus(plan: CorpusPlan, size: PoolSize, reporter: Reporter) -> None:
    corpus = plan.config.corpus
    folder = location_of(corpus.root)
    with hold(folder, reporter.line):
        sweep(folder)
        # Whoever held it before may have made all there was.
        rows = [to_row(clip) for clip in clips_to_make(corpus)]
        if rows:
            _make_clips(corpus, rows, size, reporter)


def _make_clips(
    corpus: object, rows: Sequence[dict[str, Any]], size: PoolSize, reporter: Reporter
) -> None:
    with (
        closing(map_clips(ClipMaker, {"corpus": corpus}, rows, size)) as answers,
        reporter.stage(MAKE, len(rows)) as stage,
    ):
        for made in answers:
            if problem := made.get("problem") or ("its process died" if "lost" in made else ""):
                raise StoppedError(
                    f"{made['clip_id']} could not be made: {problem}; what was made is kept: "
                    "remove the cause and run the same command again"
                )
            stage.advance()


def _preprocess(
    task: ShardTask, clips: Sequence[Clip], size: PoolSize, reporter: Reporter
) -> Iterator[ClipOutcome]:
    config = task.plan.config
    rows = [
        {
            **to_row(clip),
            "key": task.keys[clip.clip_id],
            "content": task.contents[clip.clip_id],
        }
        for clip in clips
    ]
    by_id = {clip.clip_id: clip for clip in clips}
    arguments = {"root": str(task.folder.root), **processor_settings(config)}
    counts = {"ok": 0, "dropped": 0, "failed": 0}
    with (
        closing(map_clips(ClipWorker, arguments, rows, size)) as answers,
        reporter.stage(PREPROCESS, len(clips)) as stage,
    ):
        for answer in answers:
            if problem := answer.get("problem"):
                raise UsageError(problem)
            outcome = outcome_of(by_id[answer["clip_id"]], answer.get("outcome"))
            if outcome.reason == "disk":
                failed = outcome.detail
                if not failed.startswith(CACHE_FAILS):
                    failed = f"paths.data ({config.paths.data}) can't be written to: {failed}"
                raise StoppedError(
                    f"{failed}; {stage.done} of {len(clips)} clips are done and kept: make room "
                    "there, or mend what is wrong, and run the same command again"
                )
            if "lost" in answer:
                task.folder.write_clip(task.keys[outcome.clip_id], outcome)
            counts[outcome.status] += 1
            stage.advance(", ".join(f"{n} {status}" for status, n in counts.items() if n))
            yield outcome


def _say_what_was_lost(shards: ShardSet, reporter: Reporter) -> None:
    outcomes = shards.outcomes
    lost = [outcome for outcome in outcomes if outcome.status != "ok"]
    for outcome in lost[:MOST_LISTED]:
        words = f"{outcome.status}: {outcome.reason} {outcome.detail}".rstrip()
        reporter.line(f"  {outcome.clip_id}: {words}")
    if len(lost) > MOST_LISTED:
        reporter.line(
            f"  and {len(lost) - MOST_LISTED} more: all reasons are in {shards.folder.root}"
        )
    require(
        len(shards.usable) > 0,
        f"none of the {len(outcomes)} clips could be used: "
        f"{outcomes[0].clip_id}: {outcomes[0].reason} {outcomes[0].detail}; correct the files or "
        "the paths in the manifest, and run again",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Preprocess a corpus and say what became of each clip."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        config = compose_config("preprocess", PreprocessingRun, options.overrides)
        plan = CorpusPlan(config)
        if config.dry_run:
            print_plan(plan, as_json=options.json)
            return 0
        plan.require_ready()
        with ray_session(config.cluster, reporter, verbose=options.verbose) as place:
            shards = prepare(plan, place, reporter)
        reporter.line(
            f"{len(shards.usable)} of {len(shards.outcomes)} clips usable, "
            f"{sum(outcome.segments for outcome in shards.usable)} segments"
        )
        print(json.dumps(_as_json(shards)) if options.json else shards.folder.root)
        return 0

    return run_command(
        "python -m pipelines.preprocess",
        "Preprocess a corpus into segment shards: voice activity, audio images, face crops.",
        [
            "python -m pipelines.preprocess corpus=rml corpus.root=/data/RML dry_run=true",
            "python -m pipelines.preprocess corpus=csv_manifest corpus.root=/data/clips",
            "python -m pipelines.preprocess corpus=rml corpus.root=s3://bucket/RML "
            "paths.data=s3://bucket/data",
            "python -m pipelines.preprocess faces=yunet faces.model_dir=/models",
        ],
        run,
        arguments,
        lambda: describe_settings("preprocess", PreprocessingRun),
        on_ray=True,
    )


def _as_json(shards: ShardSet) -> dict[str, Any]:
    return {
        "shards": str(shards.folder.root),
        "data_digest": shards.data_digest,
        "outcomes": [asdict(outcome) for outcome in shards.outcomes],
    }


if __name__ == "__main__":
    sys.exit(main())
