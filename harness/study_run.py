"""A study from its configuration to its summary: the order of the stages, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness import provenance
from harness.aggregate import aggregate
from harness.config import StudyConfig, check_rival
from harness.corpora import StudyCorpora
from harness.divisions import check_divisible
from harness.leakage import LeakError, check_fitted, check_reads
from harness.ledger import DONE
from harness.page.attempt import draw
from harness.plan import Plan, Split
from harness.plan_file import read_plan
from harness.preparation import Preparations, Prepared, feature_plan
from harness.scheduling import run_jobs
from harness.sentences import sentence_overlap
from harness.study import ARTIFACTS, Study
from harness.tracking import Tracker
from pipelines.config import resolve
from pipelines.progress import Reporter, Stage
from pipelines.session import check_trial_fits, ray_session
from pipelines.split_task import Row
from pipelines.storage import require_folder, write_json


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


@dataclass(frozen=True, kw_only=True)
class Group:
    """What a study shares with others of one command."""

    preparations: Preparations
    plan: Plan | None
    """Whose splits it is to have, as far as its clips allow; None: it draws its own."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """What it is found by in MLflow, beside its own."""
    stage1: Mapping[str, Path] = field(default_factory=dict)
    """Network of stage 1 -> the folder through which studies with the same one share it."""


@contextmanager
def opened(
    config: StudyConfig, reporter: Reporter, *, verbose: bool
) -> Iterator[tuple[Study, Preparations]]:
    """Preprocess the corpus of a study, with Ray at hand for the block.

    Raises:
        UsageError: the request itself is wrong; nothing has been trained.
    """
    resolve(config)
    check_rival(config)
    if config.protocol.plan is not None:
        read_plan(Path(config.protocol.plan))
    corpora = StudyCorpora(config)
    check_divisible(corpora.clips, config.protocol)
    features = feature_plan(config)
    corpora.require_ready()
    require_folder("paths.runs", config.paths.runs)
    with ray_session(config.cluster, reporter, verbose=verbose) as place:
        check_trial_fits(config.cluster, place, reporter.line)
        data = corpora.prepare(place, reporter)
        preparations = Preparations(place, reporter)
        preparations.know(Prepared(config=config, data=data, features=features))
        yield Study(config, data), preparations


@contextmanager
def joined(
    config: StudyConfig, reporter: Reporter, group: Group
) -> Iterator[tuple[Study, Preparations]]:
    """Preprocess the corpus of a study where the group has not done so, in the group's session.

    Raises:
        UsageError: the request itself is wrong; nothing has been trained.
    """
    resolve(config)
    check_rival(config)
    preparations = group.preparations.told_to(reporter)
    yield Study(config, preparations.of(config).data, group.tags), preparations


def run_study(
    config: StudyConfig,
    reporter: Reporter,
    *,
    verbose: bool,
    search: Search | None = None,
    group: Group | None = None,
) -> Outcome:
    """Preprocess, plan, train every split, vote, write the summary and send it to MLflow.

    Args:
        config: of the study.
        reporter: told how far it is.
        verbose: whether the libraries may speak.
        search: chooses what each split is trained with; None: all as the study is configured.
        group: what it shares with other studies; None: it stands alone.

    Raises:
        UsageError: the request itself is wrong; nothing has been trained.
    """
    session = (
        opened(config, reporter, verbose=verbose)
        if group is None
        else joined(config, reporter, group)
    )
    with session as (study, preparations):
        plan = study.open_folder(None if group is None else group.plan)
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
            stage1 = {} if group is None else group.stage1
            _train(study, plan, todo, chosen, preparations, tracker, stage1)
            for split in plan.splits:
                entry = study.ledger.entry(split.split_id)
                if entry is not None and entry.status == DONE:
                    used = chosen[split.split_id].config
                    check_reads(split, entry.reads, two_stages=used.two_stages)
                    check_fitted(
                        split,
                        entry.fitted,
                        standardised=used.standardises,
                        rival=used.rival.is_set,
                    )
        except LeakError as error:
            study.withdraw()
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
    stage1: Mapping[str, Path],
) -> None:
    reporter = preparations.reporter
    by_id = {split.split_id: split for split in plan.splits}

    sent: set[str] = set()
    """Splits whose figures the tracker has."""

    def send(split: Split) -> None:
        entry = study.ledger.entry(split.split_id)
        if entry is None:
            return
        done = study.ledger.is_done(split.split_id, study.digest)
        tracker.split(split, entry, study.figures(split) if done else {})
        if done:
            sent.add(split.split_id)

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
            shared=stage1,
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
                say=reporter.warn,
            )
        stage.say("")
    # Those that failed, and those whose end was not seen yet when their trial told of it.
    for split in todo:
        if split.split_id not in sent:
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
