"""Splits of one configuration through the product's own scheduling, without the rest of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.plan import Split
from harness.scheduling import Job, run_jobs
from pipelines.clip_reading import ClipPlaces
from pipelines.config import PipelineConfig
from pipelines.shards import ShardSet


def run_splits(
    splits: Sequence[Split],
    *,
    config: PipelineConfig,
    shards: ShardSet,
    places: ClipPlaces,
    classes: Sequence[str],
    folder: Path,
    study_digest: str,
) -> None:
    """Run one trial per split, all under one configuration, and tell nobody; see `run_jobs`."""
    jobs = [
        Job(
            name=split.split_id,
            splits=(split,),
            config=config,
            shards=shards,
            places=places,
            frozen_audio=None,
            folder=folder,
            digest=study_digest,
        )
        for split in splits
    ]
    run_jobs(
        jobs,
        classes=classes,
        folder=folder,
        on_done=lambda name: None,
        on_epochs=lambda name, rows: None,
        say=print,
    )
