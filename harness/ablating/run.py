"""The rows of an ablation, one study after another in one session: what they share is made once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.ablating.combined import combine_rows
from harness.ablating.config import MEAN_VOTE, WHOLE, AblateConfig
from harness.ablating.declared import declare
from harness.ablating.row_result import DONE_ROW, INCOMPLETE, NOT_RUN, RowResult, cost_of
from harness.ablating.rows import Row
from harness.ablating.shared import SharedStage1
from harness.aggregate import Judged
from harness.config import StudyConfig, config_digest
from harness.corpora import StudyCorpora
from harness.divisions import check_divisible
from harness.leakage import LeakError
from harness.mlflow_pages import GROUP
from harness.mlflow_study import StudyRecord
from harness.page.attempt import draw
from harness.plan import Plan
from harness.plan_file import read_plan
from harness.predictions import CONTENTS
from harness.preparation import Preparations
from harness.resending import MARK, send_study
from harness.study_run import Group, run_study
from harness.tracking import recorded_uri
from pipelines.config import resolve, to_plain
from pipelines.errors import UnavailableError, UsageError
from pipelines.progress import Reporter
from pipelines.session import check_trial_fits, ray_session
from pipelines.storage import digest_of, require_folder, write_json


def run_rows(
    config: AblateConfig, rows: Sequence[Row], reporter: Reporter, *, verbose: bool
) -> tuple[Path, list[RowResult], list[str]]:
    """Run every row that can be.

    Returns:
        The folder, what came of each row, in their order, and what must be said of the family.

    Raises:
        UsageError: the whole system's own settings are wrong; no row has been run.
        LeakError: a guard found a leak: the ablation must not go on.
    """
    require_folder("paths.runs", config.paths.runs)
    # Said now, and not when Ray has started and clips have been preprocessed.
    corpora = StudyCorpora(config)
    check_divisible(corpora.clips, config.protocol)
    corpora.require_ready()
    with ray_session(config.cluster, reporter, verbose=verbose) as place:
        check_trial_fits(config.cluster, place, reporter.line)
        # All rows go to one store, not each to one beside its folder.
        config.tracking.uri = recorded_uri(config.tracking, Path(config.paths.runs))
        folder = folder_of(config)
        cautions = declare(folder, config.ablation.family)
        shared = SharedStage1(folder, rows)
        run = _Run(config, folder, Preparations(place, reporter), shared, quiet=reporter.quiet)
        for number, row in enumerate(rows, 1):
            reporter.line(f"row {number} of {len(rows)}: {row.told.title}")
            run.add(row, verbose=verbose)
            shared.end(row)
        shared.close()
    return folder, list(run.results.values()), cautions


def finished_rows(config: AblateConfig) -> list[str]:
    """Return the rows that earlier runs of this ablation have finished."""
    folder = folder_of(config)
    found = []
    for name in config.ablation.rows:
        summary = folder / name / "summary.json"
        if summary.is_file() and json.loads(summary.read_text()).get("complete"):
            found.append(name)
    return found


def folder_of(config: AblateConfig) -> Path:
    """Return the folder: named by what the whole system is, so that rows can be added to it."""
    whole = config.of_study()
    resolve(whole)
    digest = digest_of([config_digest(whole), to_plain(config.corpus)])[:8]
    name = config.name or f"{config.kind}-{config.corpus.name}-{digest}"
    return Path(config.paths.runs).absolute() / name


class _Run:
    def __init__(
        self,
        config: AblateConfig,
        folder: Path,
        preparations: Preparations,
        shared: SharedStage1,
        *,
        quiet: bool,
    ) -> None:
        self.config, self.folder, self.preparations = config, folder, preparations
        self.shared = shared
        self.quiet = quiet
        self.results: dict[str, RowResult] = {}
        self._by_digest: dict[str, str] = {}

    def add(self, row: Row, *, verbose: bool) -> None:
        """Run a row, unless it can't be: then it says why, and the others go on."""
        try:
            if row.problem:
                raise UnavailableError(row.problem)
            result = self._combined(row) if row.config is None else self._study(row, verbose)
        except LeakError:
            raise
        except UsageError as error:
            if row.name == WHOLE:
                raise
            expected = isinstance(error, UnavailableError)
            result = RowResult(row=row, status=NOT_RUN, reason=str(error), expected=expected)
        self.results[row.name] = result

    @property
    def whole(self) -> RowResult:
        """The row that all others are compared with."""
        return self.results[WHOLE]

    @property
    def plan(self) -> Plan | None:
        """The whole system's splits, which every row has."""
        folder = self.folder / WHOLE
        return read_plan(folder / "plan.json") if WHOLE in self.results else None

    def _study(self, row: Row, verbose: bool) -> RowResult:
        config = self._placed(row)
        resolve(config)
        digest = config_digest(config)
        if digest in self._by_digest:
            known = self.results[self._by_digest[digest]]
            return replace(known, row=row, same_as=known.row.name)
        # A reporter of its own: a study's seconds are those of its stages alone.
        outcome = run_study(
            config,
            Reporter(quiet=self.quiet),
            verbose=verbose,
            group=Group(
                preparations=self.preparations,
                plan=self.plan,
                tags=self._tags(row),
                stage1=self.shared.of(row) if self.config.ablation.share_stage1 else {},
            ),
        )
        self._by_digest[digest] = row.name
        parameters, seconds = cost_of(outcome.folder)
        if outcome.tracker.problem:
            self.preparations.reporter.warn(outcome.tracker.problem)
        return RowResult(
            row=row,
            status=DONE_ROW if outcome.summary["complete"] else INCOMPLETE,
            reason="; ".join(f["error"] for f in outcome.summary["splits_failed"]),
            folder=outcome.folder,
            summary=outcome.summary,
            parameters=parameters,
            seconds=seconds,
        )

    def _placed(self, row: Row) -> StudyConfig:
        """Return a row's settings with its place below the ablation's folder."""
        assert row.config is not None
        config = row.config
        config.tracking = self.config.tracking
        config.paths.runs, config.name = str(self.folder), row.name
        return config

    def _combined(self, row: Row) -> RowResult:
        sources = [self.results.get(name) for name in row.told.of]
        for name, source in zip(row.told.of, sources, strict=True):
            if source is None or source.status != DONE_ROW or source.folder is None:
                reason = f"it is made of the row {name}, which is {source and source.status}"
                return RowResult(row=row, status=NOT_RUN, reason=reason)
        clipwise = self.whole.summary["predicts"] == "clip"
        if row.told.combine == MEAN_VOTE and clipwise:
            raise UnavailableError("each clip has one prediction: there is no vote to replace")
        folder = self.folder / row.name
        folders = [source.folder for source in sources if source and source.folder]
        summary = combine_rows(folder, self._judged(row), folders, row.told.combine)
        shutil.copy(folders[0] / CONTENTS, folder / CONTENTS)
        draw(folder, self.preparations.reporter)
        self._record(row, summary)
        tracker = send_study(folder, self.config.tracking)
        if tracker.problem:
            self.preparations.reporter.warn(tracker.problem)
        # What it is made of had to be trained, if not for it.
        return RowResult(
            row=row,
            status=DONE_ROW,
            folder=folder,
            summary=summary,
            parameters=sum(source.parameters for source in sources if source),
            seconds=sum(source.seconds for source in sources if source),
        )

    def _record(self, row: Row, summary: Mapping[str, Any]) -> None:
        """Write what MLflow is told of a combined row: the whole system's, but for its own name."""
        whole = json.loads((self.folder / WHOLE / MARK).read_text())
        digests = {key: summary[key] for key in ("config_digest", "data_digest")}
        record = StudyRecord(
            name=row.name,
            tags={**whole["tags"], **digests, **self._tags(row)},
            parameters={
                **whole["parameters"],
                "combine": row.told.combine,
                "of": ", ".join(row.told.of),
            },
            datasets=whole["datasets"],
        )
        write_json(self.folder / row.name / MARK, {**digests, **asdict(record)})

    def _tags(self, row: Row) -> dict[str, str]:
        return {GROUP: self.folder.name, "row": row.name}

    def _judged(self, row: Row) -> Judged:
        whole, plan = self.whole.summary, self.plan
        of = [self.results[name].summary for name in row.told.of]
        assert self.whole.row.config is not None
        assert plan is not None
        data = self.preparations.of(self.whole.row.config).data
        made = f"made of the predictions of {' and '.join(row.told.of)} ({row.told.combine})"
        kept = [text for text in whole["warnings"] if not text.startswith("split ")]
        return Judged(
            plan=plan,
            protocol=whole["protocol"],
            corpus=whole["corpus"],
            clips=data.clips,
            classes=whole["classes"],
            # Where the whole system fuses clips there is no vote to replace.
            predicts=whole["predicts"] if row.told.combine == MEAN_VOTE else "segment",
            digests={
                "config_digest": digest_of([row.told.combine, *(s["config_digest"] for s in of)]),
                "data_digest": whole["data_digest"],
            },
            warnings=[*kept, f"{made}: nothing was trained for it"],
            sentence_overlap=whole["sentence_overlap"],
        )
