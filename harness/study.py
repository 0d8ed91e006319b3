"""A study from its configuration to its summary: the order of the stages, and nothing else."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from harness import provenance
from harness.aggregate import aggregate
from harness.config import StudyConfig, config_digest
from harness.corpora import StudyCorpora, StudyData
from harness.divisions import check_divisible
from harness.leakage import LeakError, check_fitted, check_plan, check_reads
from harness.ledger import DONE, Ledger
from harness.mlflow_study import StudyRecord
from harness.page.attempt import draw
from harness.predictions import predictions_of, split_figures
from harness.preparation import Preparations, Prepared, feature_plan
from harness.protocols import LOSO
from harness.same_sound import SameSound, same_sound
from harness.scheduling import run_jobs
from harness.sentences import sentence_overlap
from harness.splits import Plan, Split, plan_splits, read_plan
from harness.terminal import print_summary
from harness.tracking import Tracker
from harness.trial import model_folder
from pipelines.command_line import run_command
from pipelines.config import compose_config, describe_settings, resolve, to_plain, to_yaml
from pipelines.errors import require
from pipelines.model_files import is_model
from pipelines.progress import Reporter, Stage
from pipelines.session import check_trial_fits, ray_session
from pipelines.shard_tables import write_outcomes
from pipelines.split_task import Row
from pipelines.storage import claim, digest_of, require_folder, write_json, write_text

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

    def __init__(self, config: StudyConfig, data: StudyData) -> None:
        self.config, self.data = config, data
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
        plan.write(self.folder / "plan.json")
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
        write_text(self.folder / "config.yaml", to_yaml(self.config))

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
                "protocol": self.config.protocol.label,
                "corpus": self.data.corpus,
                "git_commit": provenance.git_commit(),
                "protocol_warning": "; ".join(warnings) or "none",
                **self.config.tags,
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


@dataclass(frozen=True)
class Chosen:
    """What a split is trained with."""

    config: StudyConfig
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those of it that a search chose."""


class Search(Protocol):
    """Finds what each split of a study is trained with."""

    def choose(self, study: Study, plan: Plan, preparations: Preparations) -> Mapping[str, Chosen]:
        """Return split_id -> its settings; a split for which nothing was found is not there."""

    def section(self, study: Study, plan: Plan) -> dict[str, Any]:
        """Return what the summary says of the search when the splits are done."""


@contextmanager
def opened(
    config: StudyConfig, reporter: Reporter, *, verbose: bool
) -> Iterator[tuple[Study, Preparations]]:
    """Preprocess the corpus of a study, with Ray at hand for the block.

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
        data = corpora.prepare(place, reporter)
        preparations = Preparations(place, reporter)
        preparations.know(Prepared(config=config, data=data, features=features))
        yield Study(config, data), preparations


def run_study(
    config: StudyConfig, reporter: Reporter, *, verbose: bool, search: Search | None = None
) -> Outcome:
    """Preprocess, plan, train every split, vote, write the summary and send it to MLflow.

    Args:
        config: of the study.
        reporter: told how far it is.
        verbose: whether the libraries may speak.
        search: chooses what each split is trained with; None: all as the study is configured.

    Raises:
        UsageError: the request itself is wrong; nothing has been trained.
    """
    with opened(config, reporter, verbose=verbose) as (study, preparations):
        plan = study.open_folder()
        todo = [split for split in plan.splits if not study.is_done(split)]
        tracker = study.tracker(plan.warnings(study.data.clips))
        tracker.start()
        if todo:
            provenance.begin(study.folder, place=str(preparations.place), splits=len(todo))
        try:
            chosen = (
                {split.split_id: Chosen(config) for split in plan.splits}
                if search is None
                else search.choose(study, plan, preparations)
            )
            _train(study, plan, todo, chosen, preparations, tracker)
            for split in plan.splits:
                entry = study.ledger.entry(split.split_id)
                if entry is not None and entry.status == DONE:
                    fused = chosen[split.split_id].config.model.fuses
                    check_reads(split, entry.reads, fused=fused)
                    check_fitted(split, entry.fitted)
        except LeakError as error:
            tracker.fail(str(error))
            raise
        if todo:
            provenance.end(study.folder)
    # A search may have chosen to fuse whole clips in some splits: segments are not alike then.
    predicts = {found.config.predicts for found in chosen.values()} or {config.predicts}
    summary = aggregate(
        study.folder,
        plan=plan,
        protocol=config.protocol.label,
        corpus=study.data.corpus,
        clips=study.data.clips,
        classes=study.classes,
        predicts="clip" if "clip" in predicts else "segment",
        digests=study.digests,
        seconds=stage_seconds(study.folder, reporter),
        warnings=study.warnings(plan),
        # Two corpora number their sentences apart.
        sentence_overlap=None
        if study.data.other_corpus
        else sentence_overlap(
            plan, {clip_id: clip.sentence for clip_id, clip in study.data.clips.items()}
        ),
    )
    if search is not None:
        summary["search"] = search.section(study, plan)
        write_json(study.folder / "summary.json", summary)
    draw(study.folder, reporter)
    tracker.finish(summary, [study.folder / name for name in ARTIFACTS])
    return Outcome(study.folder, summary, tracker)


@dataclass(frozen=True)
class Outcome:
    """What a study came to."""

    folder: Path
    summary: dict[str, Any]
    tracker: Tracker


def _train(
    study: Study,
    plan: Plan,
    todo: Sequence[Split],
    chosen: Mapping[str, Chosen],
    preparations: Preparations,
    tracker: Tracker,
) -> None:
    reporter = preparations.reporter
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
    jobs = [
        preparations.of(found.config).job(
            split.split_id,
            (split,),
            folder=study.folder,
            digest=study.digest,
            settings=found.settings,
            keep=study.config.model.keep,
        )
        for split in todo
        if (found := chosen.get(split.split_id)) is not None
    ]
    with reporter.stage("train", len(todo)) as stage:
        epochs: dict[str, int] = {}

        def on_epochs(split_id: str, rows: list[Row]) -> None:
            epochs[split_id] = epochs.get(split_id, 0) + len(rows)
            _say_epochs(stage, epochs)
            tracker.epochs(by_id[split_id], rows)

        def on_done(split_id: str) -> None:
            epochs.pop(split_id, None)
            stage.advance()
            send(by_id[split_id])

        if jobs:
            run_jobs(
                jobs,
                classes=study.classes,
                folder=study.folder,
                on_done=on_done,
                on_epochs=on_epochs,
            )
        stage.say("")
    for split in todo:
        if not study.ledger.is_done(split.split_id, study.digest):
            send(split)


def _say_epochs(stage: Stage, epochs: dict[str, int]) -> None:
    stage.say(", ".join(f"{split_id} epoch {n}" for split_id, n in sorted(epochs.items())))


def stage_seconds(folder: Path, reporter: Reporter) -> dict[str, float]:
    """Add this run's stages to those of earlier runs: a resumed study took the sum."""
    path = folder / "seconds.json"
    before: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    total = {
        stage: before.get(stage, 0.0) + reporter.seconds.get(stage, 0.0)
        for stage in {**before, **reporter.seconds}
    }
    write_json(path, total)
    return total


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
