"""A study from its configuration to its summary: the order of the stages, and nothing else."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.aggregate import aggregate
from harness.config import StudyConfig, config_digest, model_settings
from harness.corpora import StudyCorpora, StudyData
from harness.divisions import check_divisible
from harness.leakage import LeakError, check_fitted, check_plan, check_reads
from harness.ledger import Ledger
from harness.mlflow_study import StudyRecord
from harness.predictions import predictions_of, split_figures
from harness.report import print_summary
from harness.scheduling import run_splits
from harness.splits import Plan, Split, plan_splits, read_plan
from harness.tracking import Tracker
from harness.trial import model_folder
from pipelines.clip_reading import ClipPlaces
from pipelines.command_line import run_command
from pipelines.config import CONF, compose_config, describe_settings, resolve, to_plain, to_yaml
from pipelines.errors import require
from pipelines.extract import FeaturePlan, extract_features
from pipelines.model_files import ModelSettings, is_model
from pipelines.networks.backbone import backbone_class, build_backbone
from pipelines.networks.frozen import LAYERS
from pipelines.progress import Reporter, Stage
from pipelines.session import check_trial_fits, ray_session
from pipelines.shard_tables import write_outcomes
from pipelines.storage import claim, digest_of, require_folder, write_json, write_text
from pipelines.trunk_recipe import TrunkRecipe

ALL_DONE, SOME_FAILED = 0, 1
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
VOICELESS_SHARE = 0.05
"""Above this share of clips without a found voice, a study warns."""


class Study:
    """One configuration on one corpus of shards, in its folder."""

    def __init__(self, config: StudyConfig, data: StudyData, features: FeaturePlan | None) -> None:
        self.config, self.data, self.features = config, data, features
        self.shards = data.shards
        self.digests = {
            "config_digest": config_digest(config),
            "data_digest": data.shards.data_digest,
        }
        self.digest = digest_of(self.digests)
        self.name = config.name or (
            f"{config.protocol.kind}-{config.corpus.name}-{self.digest[:8]}"
        )
        self.folder = Path(config.paths.runs).absolute() / self.name
        self.classes = sorted({clip.emotion for clip in data.clips.values()})
        self.ledger = Ledger(self.folder / "splits")

    def open_folder(self) -> Plan:
        """Claim the study's folder and write its configuration and plan.

        Raises:
            UsageError: the folder holds another study, or the plan leaks.
        """
        data, protocol = self.data, self.config.protocol
        plan = plan_splits(
            data.usable,
            data.segments,
            protocol,
            self.config.seed,
            other_corpus=data.other_corpus & data.segments.keys(),
            lost=data.lost,
        )
        check_plan(
            plan,
            protocol,
            {clip_id: clip.subject for clip_id, clip in data.clips.items()},
            self.shards.contents,
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
        write_json(mark, {**self.digests, **asdict(self.record(plan))})
        write_outcomes(self.folder / "outcomes.csv", self.shards.outcomes)
        write_text(self.folder / "config.yaml", to_yaml(self.config))
        plan.write(self.folder / "plan.json")
        return plan

    def warnings(self, plan: Plan) -> list[str]:
        """Return what a reader of the figures must know of the protocol and the data."""
        usable = self.shards.usable
        told = [*plan.warnings(self.data.clips), *self.data.warnings]
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

    @property
    def keeps(self) -> ModelSettings | None:
        """What each split's networks are kept with; None where they are not."""
        if not self.config.model.keep:
            return None
        trunk = None if self.features is None else self.features.recipe
        return model_settings(self.config, trunk)

    def is_done(self, split: Split) -> bool:
        """Whether a split is finished, and its networks are kept if they are to be."""
        kept = not self.config.model.keep or is_model(model_folder(self.folder, split.split_id))
        return kept and self.ledger.is_done(split.split_id, self.digest)

    def record(self, plan: Plan) -> StudyRecord:
        """Return what MLflow is told of the study before it has any result."""
        return StudyRecord(
            name=self.name,
            tags={
                **self.digests,
                "protocol": self.config.protocol.label,
                "corpus": self.data.corpus,
                "git_commit": git_commit(),
                "protocol_warning": "; ".join(plan.warnings(self.data.clips)) or "none",
            },
            parameters=self.parameters(),
            datasets=self.data.datasets,
        )

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
            "corpus": self.data.corpus,
            "protocol": config.protocol.label,
            "seed": config.seed,
        }


def feature_plan(config: StudyConfig) -> FeaturePlan | None:
    """Return which features the configuration needs; None where the whole trunk is trained.

    Raises:
        UsageError: the trunk's weights can't be had: said now, not in each trial.
    """
    if config.training.trunk in LAYERS:
        return FeaturePlan(config)
    build_backbone(config.model)
    return None


def run_study(config: StudyConfig, reporter: Reporter, *, verbose: bool) -> Outcome:
    """Preprocess, plan, train every split, vote, write the summary and send it to MLflow.

    Raises:
        UsageError: the request itself is wrong; nothing has been trained.
    """
    resolve(config)
    if config.protocol.plan is not None:
        read_plan(Path(config.protocol.plan))
    corpora = StudyCorpora(config)
    check_divisible(corpora.clips, config.protocol)
    features = feature_plan(config)
    corpora.require_ready()
    require_folder("paths.runs", config.paths.runs)
    with ray_session(config.cluster, verbose=verbose) as place:
        check_trial_fits(config.cluster, place)
        reporter.line(f"running on {place}")
        study = Study(config, corpora.prepare(place, reporter), features)
        plan = study.open_folder()
        todo = [split for split in plan.splits if not study.is_done(split)]
        tracker = Tracker(
            config.tracking, runs=Path(config.paths.runs).absolute(), record=study.record(plan)
        )
        tracker.start()
        if todo and features is not None:
            extract_features(features, study.shards, config, place, reporter)
        _train(study, plan, todo, tracker, reporter)
    try:
        for split in plan.splits:
            entry = study.ledger.entry(split.split_id)
            if entry is not None:
                check_reads(split, entry.reads)
                check_fitted(split, entry.fitted)
    except LeakError as error:
        tracker.fail(str(error))
        raise
    summary = aggregate(
        study.folder,
        plan=plan,
        protocol=config.protocol.label,
        corpus=study.data.corpus,
        clips=study.data.clips,
        classes=study.classes,
        predicts=config.predicts,
        digests=study.digests,
        seconds=_stage_seconds(study.folder, reporter),
        warnings=study.warnings(plan),
    )
    tracker.finish(summary, [study.folder / name for name in ARTIFACTS])
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
        tracker.split(split, entry, study.figures(split) if done else {})

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
            keeps=study.keeps,
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


def git_commit() -> str:
    """Return the commit of this code; `unknown` where there is none."""
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
