"""One configuration on one corpus, in its folder: what a study is, whatever runs it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.config import StudyConfig, config_digest
from harness.corpora import StudyData
from harness.leakage import check_plan
from harness.ledger import Ledger
from harness.mlflow_study import StudyRecord
from harness.plan import Plan, Split
from harness.plan_file import rerun, write_plan
from harness.predictions import CONTENTS, predictions_of, split_figures
from harness.protocols import LOSO
from harness.same_sound import SameSound, same_sound
from harness.splits import plan_splits
from harness.tracking import Tracker
from harness.trial import model_folder
from pipelines.commit import git_commit
from pipelines.config import to_plain, to_yaml
from pipelines.errors import require
from pipelines.model_files import is_model
from pipelines.shard_tables import write_outcomes
from pipelines.storage import claim, digest_of, write_json, write_text

ARTIFACTS = (
    "config.yaml",
    "plan.json",
    "predictions.parquet",
    "summary.json",
    "outcomes.csv",
    "report.html",
    "tables",
    "figures",
)
"""Of a study's folder: what MLflow gets to keep, where it is there."""
WITHDRAWN = (
    "summary.json",
    "predictions.parquet",
    "segment_predictions.parquet",
    "report.html",
    "tables",
    "figures",
)
"""Of a study's folder: what holds numbers."""
VOICELESS_SHARE = 0.05
"""Above this share of clips without a found voice, a study warns."""


class Study:
    """One configuration on one corpus of shards, in its folder."""

    def __init__(
        self, config: StudyConfig, data: StudyData, tags: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Name it.

        Args:
            config: its settings, resolved.
            data: its clips.
            tags: what else it is found by in MLflow.
        """
        self.config, self.data, self.tags = config, data, tags
        self.shards = data.shards
        self.digests = {
            "config_digest": config_digest(config),
            "data_digest": data.shards.data_digest,
        }
        self.digest = digest_of(self.digests)
        self.name = config.name or f"{config.kind}-{config.corpus.name}-{self.digest[:8]}"
        self.folder = Path(config.paths.runs).absolute() / self.name
        self.classes = sorted({clip.emotion for clip in data.clips.values()})
        self.ledger = Ledger(self.folder / "splits")

    def open_folder(self, shared: Plan | None = None) -> Plan:
        """Claim the study's folder and write its configuration and plan.

        Args:
            shared: of a study with other settings, whose splits this one is to have, as far as its
                own clips allow.

        Raises:
            UsageError: the folder holds another study, or the plan leaks.
        """
        data, protocol = self.data, self.config.protocol
        if shared is None:
            plan = plan_splits(
                data.usable,
                data.segments,
                protocol,
                self.config.seed,
                other_corpus=data.other_corpus & data.segments.keys(),
                lost=data.lost,
            )
        else:
            plan = rerun(shared, data.usable, data.segments, data.lost, "the shared plan")
        require(
            protocol.plan is None or not (protocol.kind == LOSO and plan.warnings(data.clips)),
            f"protocol.plan ({protocol.plan}) trains on people whom it tests: python -m "
            "harness.kfold runs such a plan, and labels what comes out",
        )
        check_plan(
            plan,
            protocol,
            {clip_id: clip.subject for clip_id, clip in data.clips.items()},
            self.shards.contents,
            self.same_sounds,
        )
        self.claim_folder(plan.warnings(data.clips))
        write_plan(self.folder / "plan.json", plan)
        return plan

    @cached_property
    def same_sounds(self) -> list[SameSound]:
        """Pairs of clips that hold one recording in different files."""
        return same_sound(self.shards.sounds())

    def claim_folder(self, warnings: Sequence[str]) -> None:
        """Take the folder for this process and write what it holds.

        Args:
            warnings: what must be said wherever its figures appear.

        Raises:
            UsageError: it holds another study, or another process works on it.
        """
        # Held until this process ends: two drivers would train the same splits twice.
        self._claim = claim(self.folder / ".lock")
        require(
            self._claim is not None,
            f"name ({self.name}) is being worked on by another process: wait for it, or choose "
            "another name",
        )
        mark = self.folder / "study.json"
        if mark.exists():
            held = json.loads(mark.read_text())
            for key, value in self.digests.items():
                require(
                    held.get(key) == value,
                    f"name ({self.name}) is taken: {self.folder} holds a study with another "
                    f"{key.replace('_digest', '')}; choose another name, or remove that folder",
                )
        write_json(mark, {**self.digests, **asdict(self.record(warnings))})
        write_outcomes(self.folder / "outcomes.csv", self.shards.outcomes)
        write_json(self.folder / CONTENTS, dict(sorted(self.shards.contents.items())))
        write_text(self.folder / "config.yaml", to_yaml(self.config))

    def withdraw(self) -> None:
        """Remove what an earlier run made of splits that turned out to leak: no number stands."""
        for name in WITHDRAWN:
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def warnings(self, plan: Plan) -> list[str]:
        """Return what a reader of the figures must know of the protocol and the data."""
        usable = self.shards.usable
        told = [*plan.warnings(self.data.clips), *self.data.warnings]
        told += plan.untested(self.data.clips) if self.config.protocol.plan else []
        lost = len(self.shards.outcomes) - len(usable)
        if lost:
            told.append(f"{lost} of {len(self.shards.outcomes)} clips could not be used")
        voiceless = sum(not outcome.voice_found for outcome in usable)
        if self.config.vad.enabled and voiceless > VOICELESS_SHARE * len(usable):
            told.append(f"no voice was found in {voiceless} of {len(usable)} clips")
        return told

    def figures(self, split: Split) -> dict[str, float]:
        """Return the test figures of one finished split."""
        segments = self.ledger.segments([split.split_id])
        predictions = predictions_of(segments, self.data.clips, self.classes)
        return split_figures([vars(row) for row in predictions])

    def is_done(self, split: Split) -> bool:
        """Whether a split is finished, and its networks are kept if they are to be."""
        kept = not self.config.model.keep or is_model(model_folder(self.folder, split.split_id))
        return kept and self.ledger.is_done(split.split_id, self.digest)

    def record(self, warnings: Sequence[str]) -> StudyRecord:
        """Return what MLflow is told of the study before it has any result.

        Args:
            warnings: what must be said wherever its figures appear.
        """
        return StudyRecord(
            name=self.name,
            tags={
                **self.digests,
                **self.config.tags,
                **self.tags,
                "protocol": self.config.protocol.label,
                "corpus": self.data.corpus,
                "git_commit": git_commit(),
                "protocol_warning": "; ".join(warnings) or "none",
            },
            parameters=self.parameters(),
            datasets=self.data.datasets,
        )

    def tracker(self, warnings: Sequence[str]) -> Tracker:
        """Return what sends the study to MLflow."""
        runs = Path(self.config.paths.runs).absolute()
        return Tracker(self.config.tracking, runs=runs, record=self.record(warnings))

    def parameters(self) -> dict[str, Any]:
        """Return the settings that people filter runs by."""
        config = self.config
        groups: dict[str, object] = {
            "model": config.model,
            "fusion": config.fusion,
            "training": config.training,
            "vad": config.vad,
            "mfcc": config.mfcc,
        }
        if config.rival.is_set:
            groups["rival"] = config.rival
        flat = {f"{group}.{k}": v for group, c in groups.items() for k, v in to_plain(c).items()}
        return {
            **flat,
            "faces.detector": config.faces.detector,
            "corpus": self.data.corpus,
            "protocol": config.protocol.label,
            "seed": config.seed,
        }
