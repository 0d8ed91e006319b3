"""The runs of one study in MLflow: a parent, and a child for each split, one level.

Runs are found again by their tags, and what was sent before is not sent twice, so sending a study
again changes nothing; a point of a learning curve has the same time whenever it is sent.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.ledger import DONE, Entry
from harness.mlflow_pages import GROUP, NOTE, experiment_tags, group_tags, study_note
from harness.mlflow_store import made_store
from harness.plan import Split
from harness.sqlite_address import file_of
from pipelines.split_task import Row
from pipelines.storage import content_digest, digest_of

PARENT = "mlflow.parentRunId"
METRICS_PER_CALL = 500
"""MLflow takes at most 1,000 metrics in one batch."""
REQUEST_SECONDS = 10
LONGEST_TAG, LONGEST_PARAMETER = 5000, 6000
SENT = "sent"
"""Tag: digest of a parent's figures and files, so that they are sent once."""

Point = tuple[str, float, int]
"""Metric, value, step."""


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What MLflow is told of a study before it has any result; kept in study.json."""

    name: str
    tags: Mapping[str, str]
    parameters: Mapping[str, Any]
    datasets: Sequence[Mapping[str, str]] = field(default=())
    """Corpora as {name, digest, source}: the digest is over the clips and their preprocessing."""

    @classmethod
    def of(cls, study: Mapping[str, Any]) -> StudyRecord:
        """Return the record in what study.json holds."""
        names = ("name", "tags", "parameters", "datasets")
        return cls(**{name: study[name] for name in names})

    @property
    def marks(self) -> dict[str, str]:
        """What makes it this study and no other; rows of two ablations are two."""
        keys = ("config_digest", "data_digest", GROUP)
        return {key: self.tags[key] for key in keys if key in self.tags}

    @property
    def group(self) -> str:
        """The ablation that it is of; empty: none."""
        return self.tags.get(GROUP, "")


class MlflowStudy:
    """Sends one study; raises what MLflow raises."""

    def __init__(self, uri: str, experiment: str, runs: Path, record: StudyRecord) -> None:
        self._uri, self._experiment, self._runs = uri, experiment, runs
        self._record = record
        self.experiment_id, self.parent = "", ""
        self._children: dict[str, Any] = {}

    def start(self) -> None:
        """Find the parent run by the study's name and digests, or create it."""
        # A server that does not answer is given up on after seconds, not MLflow's many minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_SECONDS))
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        # stdout is for results: with --json a program reads it.
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        from mlflow import MlflowClient

        # Several studies may start on a store that is not there yet: one makes its tables.
        with made_store(self._uri, self._runs):
            self._client = MlflowClient(self._uri)
            self.experiment_id = self._find_experiment()
        marks = {"study": self._record.name, **self._record.marks}
        known = self._search(" and ".join(f"tags.`{k}` = '{v}'" for k, v in marks.items()))
        parents = [run for run in known if PARENT not in run.data.tags]
        if not parents:
            run = self._create(self._record.name, {}, self._record.parameters)
            self.parent = str(run.info.run_id)
            self._log_datasets()
            return
        self.parent = str(parents[0].info.run_id)
        self._client.update_run(self.parent, status="RUNNING")
        self._children = {
            run.data.tags["split_id"]: run
            for run in known
            if run.data.tags.get(PARENT) == self.parent
        }

    def epochs(self, split: Split, rows: Iterable[Row]) -> None:
        """Add epochs to a split's curves while it is being trained."""
        child = self._child(split)
        if child.info.status != "FINISHED":
            self._log_at_its_time(child, curve_points(rows))

    def split(self, split: Split, entry: Entry, figures: Mapping[str, float]) -> None:
        """Write what a split came to, unless it is there already."""
        seconds = sum(entry.seconds.values())
        child = self._child(split, seconds_ago=seconds)
        if child.info.status == "FINISHED":
            return
        points = [*curve_points(entry.curves), *((key, v, 0) for key, v in figures.items())]
        self._log_at_its_time(child, points)
        if entry.error or "error" in child.data.tags:
            self._client.set_tag(child.info.run_id, "error", entry.error[:LONGEST_TAG])
        for name, value in entry.settings.items():
            self._client.set_tag(child.info.run_id, f"chosen/{name}", str(value))
        status = "FINISHED" if entry.status == DONE else "FAILED"
        self._client.set_terminated(child.info.run_id, status=status)

    def finish(self, summary: Mapping[str, Any], artifacts: Sequence[Path], note: str = "") -> None:
        """Write the figures and files of the study, and close the parent run.

        Args:
            summary: of the study.
            artifacts: files and folders; those that are not there are passed over.
            note: Markdown above them in MLflow's page; empty: the study's headline.
        """
        searched = {f"search/{key}": value for key, value in summary.get("search", {}).items()}
        points = [
            (key, float(value), 0)
            for key, value in [*summary.items(), *searched.items()]
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        points += [
            (f"seconds/{stage.replace(' ', '_')}", float(value), 0)
            for stage, value in summary["seconds"].items()
        ]
        status = "FINISHED" if summary["complete"] else "FAILED"
        held = self._client.get_run(self.parent).data
        sent = digest_of([points, {str(path): _content(path) for path in artifacts}])
        if held.tags.get(SENT) == sent:
            self._client.set_terminated(self.parent, status=status)
            return
        # What is as it was stays: another point of it would be a curve where there is none.
        points = [point for point in points if held.metrics.get(point[0]) != point[1]]
        now = int(time.time() * 1000)
        self._log(self.parent, points, lambda step: now)
        self._client.set_tag(self.parent, "complete", str(summary["complete"]).lower())
        told = "; ".join(summary["warnings"])
        self._client.set_tag(self.parent, "warnings", told[:LONGEST_TAG])
        self._client.set_tag(self.parent, NOTE, (note or study_note(summary))[:LONGEST_TAG])
        for path in artifacts:
            if path.is_dir():
                self._client.log_artifacts(self.parent, str(path), path.name)
            elif path.exists():
                self._client.log_artifact(self.parent, str(path))
        self._client.set_tag(self.parent, SENT, sent)
        self._client.set_terminated(self.parent, status=status)

    def fail(self, error: str) -> None:
        """Close the parent run of a study that must not go on."""
        self._client.set_tag(self.parent, "error", error[:LONGEST_TAG])
        self._client.set_tag(self.parent, NOTE, f"**failed**: {error}"[:LONGEST_TAG])
        self._client.set_terminated(self.parent, status="FAILED")

    def system_metrics(self) -> Any:
        """Return a monitor of this machine's processors, memory, disk and GPUs, begun."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor: Any = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
            self.parent, tracking_uri=self._uri, resume_logging=True
        )
        monitor.start()
        return monitor

    def _child(self, split: Split, seconds_ago: float = 0.0) -> Any:
        """Return the child run of a split, made where it is not there yet."""
        if split.split_id not in self._children:
            tags = {"split_id": split.split_id, "held_out": split.held_out, PARENT: self.parent}
            parameters = {**self._record.parameters, "held_out": split.held_out}
            child = self._create(split.split_id, tags, parameters, seconds_ago)
            self._children[split.split_id] = child
        return self._children[split.split_id]

    def _find_experiment(self) -> str:
        known = self._client.get_experiment_by_name(self._experiment)
        if known is None:
            # A sqlite store has no place for files: MLflow would put them where it is started.
            store = file_of(self._uri)
            files = None if store is None else (store.parent / "mlartifacts").absolute().as_uri()
            found = str(self._client.create_experiment(self._experiment, files))
        else:
            found = str(known.experiment_id)
        group = self._record.group
        for key, value in (experiment_tags(found) | (group_tags(group) if group else {})).items():
            # What somebody has written above the list stays.
            if known is None or key not in known.tags:
                self._client.set_experiment_tag(found, key, value)
        return found

    def _search(self, query: str) -> list[Any]:
        found: list[Any] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id], filter_string=query, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def _create(
        self,
        name: str,
        tags: Mapping[str, str],
        parameters: Mapping[str, Any],
        seconds_ago: float = 0.0,
    ) -> Any:
        from mlflow.entities import Param

        run = self._client.create_run(
            self.experiment_id,
            run_name=name,
            # A split may be sent when it is done: its duration is what it took, not the sending.
            start_time=int((time.time() - seconds_ago) * 1000),
            tags={**self._record.tags, "study": self._record.name, **tags},
        )
        self._client.log_batch(
            run.info.run_id,
            params=[Param(k, str(value)[:LONGEST_PARAMETER]) for k, value in parameters.items()],
        )
        return run

    def _log_datasets(self) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(
                    name=told["name"],
                    digest=told["digest"],
                    source_type="local" if "://" not in told["source"] else "s3",
                    source=told["source"],
                ),
                [InputTag("mlflow.data.context", "evaluation")],
            )
            for told in self._record.datasets
        ]
        if inputs:
            self._client.log_inputs(self.parent, inputs)

    def _log_at_its_time(self, run: Any, points: Sequence[Point]) -> None:
        """Log points whose times depend on the run and the step alone: MLflow keeps equal ones
        once.
        """
        start = int(run.info.start_time)
        self._log(run.info.run_id, points, lambda step: start + step)

    def _log(self, run_id: str, points: Sequence[Point], time_of: Callable[[int], int]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(key, value, time_of(step), step)
            for key, value, step in points
            if math.isfinite(value)
        ]
        for first in range(0, len(metrics), METRICS_PER_CALL):
            self._client.log_batch(run_id, metrics=metrics[first : first + METRICS_PER_CALL])


def _content(path: Path) -> str:
    """Return a digest of a file, or of all in a folder; empty where there is none."""
    if not path.is_dir():
        return content_digest(path) if path.exists() else ""
    inside = sorted(each for each in path.rglob("*") if each.is_file())
    return digest_of({str(each.relative_to(path)): content_digest(each) for each in inside})


def curve_points(rows: Iterable[Mapping[str, Any]]) -> list[Point]:
    """Return learning curves as (network/what, value, epoch)."""
    return [
        (f"{row['network']}/{key}", float(value), int(row["epoch"]))
        for row in rows
        for key, value in row.items()
        if key not in ("network", "epoch")
    ]
