"""A study from its configuration to its summary: the order of the stages, and nothing else."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.aggregate import aggregate, predictions_of
from harness.config import StudyConfig, config_digest
from harness.leakage import check_fitted, check_plan, check_reads
from harness.ledger import DONE, Ledger
from harness.metrics import accuracy, unweighted_average_recall
from harness.report import print_summary
from harness.same_sound import same_sound
from harness.scheduling import run_splits
from harness.splits import Plan, Split, check_divisible, plan_splits
from harness.tracking import Tracker
from pipelines.clip_reading import ClipPlaces
from pipelines.command_line import run_command
from pipelines.config import CONF, compose_config, describe_settings, resolve, to_plain, to_yaml
from pipelines.corpus_plan import CorpusPlan
from pipelines.errors import require
from pipelines.extract import FeaturePlan, extract_features
from pipelines.networks.backbone import backbone_class, build_backbone
from pipelines.networks.frozen import LAYERS
from pipelines.preprocess import prepare
from pipelines.progress import Reporter, Stage
from pipelines.session import check_trial_fits, ray_session
from pipelines.shards import ShardSet
from pipelines.storage import claim, digest_of, require_folder, write_json, write_text
from pipelines.trunk_recipe import TrunkRecipe

ALL_DONE, SOME_FAILED = 0, 1
VOICELESS_SHARE = 0.05
"""Above this share of clips without a found voice, a study warns."""


class Study:
    """One configuration on one corpus of shards, in its folder."""

    def __init__(self, config: StudyConfig, shards: ShardSet, features: FeaturePlan | None) -> None:
        self.config, self.shards, self.features = config, shards, features
        self.digests = {"config_digest": config_digest(config), "data_digest": shards.data_digest}
        self.digest = digest_of(self.digests)
        corpus = str(config.corpus.name)
        self.corpus = corpus
        self.name = config.name or f"{config.protocol.kind}-{corpus}-{self.digest[:8]}"
        self.folder = Path(config.paths.runs).absolute() / self.name
        self.classes = sorted({outcome.emotion for outcome in shards.outcomes})
        self.outcomes = {outcome.clip_id: outcome for outcome in shards.outcomes}
        self.ledger = Ledger(self.folder / "splits")

    def open_folder(self) -> Plan:
        """Claim the study's folder and write its configuration and plan.

        Raises:
            UsageError: the folder holds another study, or the plan leaks.
        """
        check_divisible(self.shards.usable, self.config.protocol)
        plan = plan_splits(self.shards.usable, self.config.protocol, self.config.seed)
        check_plan(
            plan,
            self.config.protocol,
            {clip_id: outcome.subject for clip_id, outcome in self.outcomes.items()},
            self.shards.contents,
            same_sound(self.shards.sounds()),
        )
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
        write_json(mark, {"name": self.name, **self.digests})
        write_text(self.folder / "config.yaml", to_yaml(self.config))
        plan.write(self.folder / "plan.json")
        return plan

    def warnings(self) -> list[str]:
        """Return what a reader of the figures must know of the data."""
        usable = self.shards.usable
        told = []
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
        predictions = predictions_of(segments, self.outcomes, self.classes)
        true = [row.emotion for row in predictions]
        predicted = [row.predicted for row in predictions]
        return {
            "test/clip_accuracy": accuracy(true, predicted),
            "test/uar": unweighted_average_recall(true, predicted),
            "test/clips": float(len(true)),
        }

    @property
    def places(self) -> ClipPlaces:
        """Where trials read the clips: as pixels, or as features of frozen layers."""
        model = self.config.model
        places = ClipPlaces(
            shards=str(self.shards.folder.root),
            modalities=model.used_modalities,
            face_size=backbone_class(model.backbone).face_size,
            rescaling=self.config.training.rescaling,
        )
        return self.features.placed(places) if self.features else places

    @property
    def frozen_audio(self) -> TrunkRecipe | None:
        """What makes features of audio images that each split standardises by its own clips."""
        standardised = self.config.training.rescaling == "standardised"
        if self.features is None or not standardised:
            return None
        return self.features.recipe

    def parameters(self) -> dict[str, Any]:
        """Return the settings that people filter runs by."""
        config = self.config
        groups = {
            "model": config.model,
            "fusion": config.fusion,
            "training": config.training,
            "vad": config.vad,
            "mfcc": config.mfcc,
        }
        flat = {f"{group}.{k}": v for group, c in groups.items() for k, v in to_plain(c).items()}
        return {
            **flat,
            "faces.detector": config.faces.detector,
            "corpus": self.corpus,
            "protocol": config.protocol.label,
            "seed": config.seed,
        }


def run_study(config: StudyConfig, reporter: Reporter, *, verbose: bool) -> Outcome:
    """Preprocess, plan, train every split, vote, write the summary and send it to MLflow.

    Raises:
        UsageError: the request itself is wrong; nothing has been trained.
    """
    resolve(config)
    corpus_plan = CorpusPlan(config)
    check_divisible(corpus_plan.clips, config.protocol)
    # Weights that can't be had are said now, not in each trial.
    features = FeaturePlan(config) if config.training.trunk in LAYERS else None
    if features is None:
        build_backbone(config.model)
    corpus_plan.require_ready()
    require_folder("paths.runs", config.paths.runs)
    with ray_session(config.cluster, verbose=verbose) as place:
        check_trial_fits(config.cluster, place)
        reporter.line(f"running on {place}")
        shards = prepare(corpus_plan, place, reporter)
        study = Study(config, shards, features)
        plan = study.open_folder()
        todo = [s for s in plan.splits if not study.ledger.is_done(s.split_id, study.digest)]
        tracker = _tracker(study)
        tracker.start(study.parameters())
        if todo and features is not None:
            extract_features(features, shards, config, place, reporter)
        _train(study, plan, todo, tracker, reporter)
    for split in plan.splits:
        entry = study.ledger.entry(split.split_id)
        if entry is not None and entry.status == DONE:
            check_reads(split, entry.reads, fused=config.model.fuses)
            check_fitted(split, entry.fitted)
    summary = aggregate(
        study.folder,
        plan=plan,
        protocol=config.protocol,
        corpus=study.corpus,
        shards=shards,
        classes=study.classes,
        predicts=config.predicts,
        digests=study.digests,
        seconds=_stage_seconds(study.folder, reporter),
        warnings=study.warnings(),
    )
    files = ("config.yaml", "plan.json", "predictions.parquet", "summary.json")
    tracker.finish(summary, [study.folder / name for name in files])
    return Outcome(study.folder, summary, tracker)


@dataclass(frozen=True)
class Outcome:
    """What a study came to."""

    folder: Path
    summary: dict[str, Any]
    tracker: Tracker


def _train(
    study: Study, plan: Plan, todo: Sequence[Split], tracker: Tracker, reporter: Reporter
) -> None:
    by_id = {split.split_id: split for split in plan.splits}

    def send(split: Split) -> None:
        entry = study.ledger.entry(split.split_id)
        if entry is None:
            return
        done = study.ledger.is_done(split.split_id, study.digest)
        tracker.split(split, entry, study.figures(split) if done else {}, study.parameters())

    for split in plan.splits:
        if split not in todo:
            send(split)
    if not todo:
        reporter.line(f"train: {len(plan.splits)} splits were done before")
        return
    with reporter.stage("train", len(todo)) as stage:
        epochs: dict[str, int] = {}

        def on_epoch(split_id: str, count: int) -> None:
            epochs[split_id] = count
            _say_epochs(stage, epochs)

        def on_done(split_id: str) -> None:
            epochs.pop(split_id, None)
            stage.advance()
            send(by_id[split_id])

        run_splits(
            todo,
            config=study.config,
            shards=study.shards,
            places=study.places,
            frozen_audio=study.frozen_audio,
            classes=study.classes,
            folder=study.folder,
            study_digest=study.digest,
            on_done=on_done,
            on_epoch=on_epoch,
        )
        stage.say("")
    for split in todo:
        if not study.ledger.is_done(split.split_id, study.digest):
            send(split)


def _say_epochs(stage: Stage, epochs: dict[str, int]) -> None:
    stage.say(", ".join(f"{split_id} epoch {n}" for split_id, n in sorted(epochs.items())))


def _stage_seconds(folder: Path, reporter: Reporter) -> dict[str, float]:
    """Add this run's stages to those of earlier runs: a resumed study took the sum."""
    path = folder / "seconds.json"
    before: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    total = {
        stage: before.get(stage, 0.0) + reporter.seconds.get(stage, 0.0)
        for stage in {**before, **reporter.seconds}
    }
    write_json(path, total)
    return total


def _tracker(study: Study) -> Tracker:
    protocol = study.config.protocol
    return Tracker(
        study.config.tracking,
        runs=Path(study.config.paths.runs),
        study=study.name,
        tags={
            **study.digests,
            "protocol": protocol.label,
            "corpus": study.corpus,
            "git_commit": _git_commit(),
            "protocol_warning": "; ".join(protocol.warnings) or "none",
        },
    )


def _git_commit() -> str:
    command = ["git", "-C", str(CONF.parent), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def study_command(
    module: str,
    description: str,
    examples: Sequence[str],
    protocol: str,
    arguments: Sequence[str] | None,
) -> int:
    """Run a study under one protocol as a command; return its exit status."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        chosen = any(override.startswith("protocol=") for override in options.overrides)
        overrides = options.overrides if chosen else [f"protocol={protocol}", *options.overrides]
        config = compose_config("study", StudyConfig, overrides)
        require(
            config.protocol.kind == protocol,
            f"protocol ({config.protocol.kind}) is not what this command runs: use python -m "
            f"harness.{config.protocol.kind}",
        )
        outcome = run_study(config, reporter, verbose=options.verbose)
        if outcome.tracker.problem:
            reporter.warn(outcome.tracker.problem)
        if options.json:
            print(json.dumps(outcome.summary, sort_keys=True))
        else:
            print_summary(outcome.summary, outcome.folder, outcome.tracker)
        return ALL_DONE if outcome.summary["complete"] else SOME_FAILED

    return run_command(
        f"python -m harness.{module}",
        description,
        examples,
        run,
        arguments,
        lambda: describe_settings("study", StudyConfig),
    )
