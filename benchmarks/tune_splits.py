"""Splits of one configuration through the product's own scheduling, without the rest of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.feature_corpus import Geometry, clips_of, write_feature_corpus
from harness.plan import Split
from harness.protocols import ProtocolConfig
from harness.scheduling import Job, run_jobs
from harness.splits import plan_splits
from pipelines.clip_reading import ClipPlaces
from pipelines.config import PipelineConfig, compose_config, resolve
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


@dataclass(frozen=True, kw_only=True)
class TinyStudy:
    """The splits of a corpus with hardly anything in it, for trials that do something else."""

    folder: Path
    config: PipelineConfig
    shards: ShardSet
    places: ClipPlaces
    splits: Sequence[Split]

    @classmethod
    def write(
        cls, folder: Path, *, subjects: int, cluster: Sequence[str], seeds: int = 1
    ) -> TinyStudy:
        """Write its corpus, and plan one split per subject and seed.

        Args:
            folder: for all that it writes.
            subjects: people, of two clips each.
            cluster: overrides of the configuration: what a trial takes, of how much.
            seeds: how often each split is trained.
        """
        shards, places = write_feature_corpus(
            folder / "corpus", Geometry(subjects=subjects, clips=2, feature_size=8)
        )
        overrides = [
            *cluster,
            # A trial that does something else leaves no prediction: it is not to be tried again.
            "cluster.trial_retries=0",
            f"paths.runs={folder}",
            "training.trunk=frozen",
        ]
        config = compose_config("pipeline", PipelineConfig, overrides)
        resolve(config)
        plan = plan_splits(clips_of(shards.usable), {}, ProtocolConfig(seeds=seeds), seed=0)
        return cls(folder=folder, config=config, shards=shards, places=places, splits=plan.splits)

    def run(self) -> None:
        """Run one trial per split; see `run_splits`."""
        run_splits(
            self.splits,
            config=self.config,
            shards=self.shards,
            places=self.places,
            classes=sorted({outcome.emotion for outcome in self.shards.usable}),
            folder=self.folder / "study",
            study_digest="tiny",
        )
