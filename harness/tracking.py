"""Sends a study to MLflow. The driver is the only writer; the ledger stays the truth.

One parent run per study, one child per split. Runs are found again by their tags, so sending a
study twice updates it and duplicates nothing.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.ledger import DONE, Entry
from harness.splits import Split
from pipelines.errors import require
from pipelines.storage import exclusive

PARENT = "mlflow.parentRunId"
METRICS_PER_CALL = 500
"""MLflow takes at most 1,000 metrics in one batch."""


@dataclass
class TrackingConfig:
    """Where results are browsed."""

    enabled: bool = True
    uri: str | None = None
    """MLflow's tracking address; unset: MLFLOW_TRACKING_URI, else a sqlite file in paths.runs."""
    experiment: str = "emotion"

    def __post_init__(self) -> None:
        require(bool(self.experiment), "tracking.experiment must not be empty")


def tracking_uri(config: TrackingConfig, runs: Path) -> str:
    """Return the address that a study is sent to."""
    default = f"sqlite:///{runs.absolute() / 'mlflow.db'}"
    return config.uri or os.environ.get("MLFLOW_TRACKING_URI") or default


class Tracker:
    """Writes one study to MLflow; a server that is down or refuses never stops the study.

    After the first problem nothing more is sent, and `problem` says in one line what it was.
    """

    def __init__(
        self, config: TrackingConfig, *, runs: Path, study: str, tags: Mapping[str, str]
    ) -> None:
        self.uri = tracking_uri(config, runs)
        self.problem: str | None = None
        self._enabled = config.enabled
        self._runs = runs
        self._study = MlflowStudy(self.uri, config.experiment, runs, study, tags)

    def start(self, parameters: Mapping[str, Any]) -> None:
        """Find or create the parent run."""
        self._attempt(lambda: self._study.start(parameters))

    def split(
        self,
        split: Split,
        entry: Entry,
        figures: Mapping[str, float],
        parameters: Mapping[str, Any],
    ) -> None:
        """Write one child run."""
        self._attempt(lambda: self._study.split(split, entry, figures, parameters))

    def finish(self, summary: Mapping[str, Any], artifacts: Sequence[Path]) -> None:
        """Write the study's figures and files, and close the parent run."""
        self._attempt(lambda: self._study.finish(summary, artifacts))

    def browse_command(self) -> str | None:
        """Return the command that opens MLflow on this store; None where nothing was sent."""
        if not self._enabled or self.problem is not None:
            return None
        if not self.uri.startswith("sqlite:"):
            return f"open {self.uri}"
        mlflow = Path(sys.executable).with_name("mlflow")
        return f"{mlflow} ui --backend-store-uri {self.uri} --host 127.0.0.1 --port 5000"

    def _attempt(self, work: Callable[[], None]) -> None:
        if not self._enabled or self.problem is not None:
            return
        try:
            work()
        except Exception as error:
            reason = str(error).strip().splitlines() or [""]
            self.problem = (
                f"MLflow at {self.uri} did not take this study ({type(error).__name__}: "
                f"{reason[0][:200]}): its results are in the run folder, and the same command "
                "sends them again"
            )


class MlflowStudy:
    """The runs of one study; raises what MLflow raises."""

    def __init__(
        self, uri: str, experiment: str, runs: Path, study: str, tags: Mapping[str, str]
    ) -> None:
        self._uri, self._experiment, self._runs = uri, experiment, runs
        self._name, self._tags = study, dict(tags)
        self._parent = ""
        self._children: dict[str, Any] = {}

    def start(self, parameters: Mapping[str, Any]) -> None:
        """Find the parent run by the study's name and digest, or create it."""
        # A server that does not answer is given up on after seconds, not MLflow's many minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        from mlflow import MlflowClient

        # Several studies may start on a store that is not there yet: one makes its tables.
        with exclusive(self._runs / ".mlflow.lock"):
            self._client = MlflowClient(self._uri)
            self._experiment_id = self._find_experiment()
        marks = {key: self._tags[key] for key in ("config_digest", "data_digest")}
        query = " and ".join(
            f"tags.`{key}` = '{value}'" for key, value in {"study": self._name, **marks}.items()
        )
        known = self._search(query)
        parents = [run for run in known if PARENT not in run.data.tags]
        if not parents:
            self._parent = self._create(self._name, {}, parameters)
            return
        self._parent = parents[0].info.run_id
        self._client.update_run(self._parent, status="RUNNING")
        self._children = {
            run.data.tags["split_id"]: run
            for run in known
            if run.data.tags.get(PARENT) == self._parent
        }

    def split(
        self,
        split: Split,
        entry: Entry,
        figures: Mapping[str, float],
        parameters: Mapping[str, Any],
    ) -> None:
        """Write the child run of a split, unless it is there already."""
        known = self._children.get(split.split_id)
        if known is not None and known.info.status == "FINISHED":
            return
        tags = {"split_id": split.split_id, "held_out": split.held_out, PARENT: self._parent}
        child = (
            known.info.run_id
            if known is not None
            else self._create(
                split.split_id,
                tags,
                {**parameters, "held_out": split.held_out},
                seconds_ago=sum(entry.seconds.values()),
            )
        )
        self._log_metrics(child, [*_curves(entry), *((k, v, 0) for k, v in figures.items())])
        if entry.error:
            self._client.set_tag(child, "error", entry.error[:5000])
        status = "FINISHED" if entry.status == DONE else "FAILED"
        self._client.set_terminated(child, status=status)

    def finish(self, summary: Mapping[str, Any], artifacts: Sequence[Path]) -> None:
        """Write the figures and files of the study."""
        figures = {
            key: float(value)
            for key, value in summary.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        figures |= {
            f"seconds/{key.replace(' ', '_')}": float(value)
            for key, value in summary["seconds"].items()
        }
        self._log_metrics(self._parent, [(key, value, 0) for key, value in figures.items()])
        self._client.set_tag(self._parent, "complete", str(summary["complete"]).lower())
        self._client.set_tag(self._parent, "warnings", "; ".join(summary["warnings"])[:5000])
        for path in artifacts:
            if path.exists():
                self._client.log_artifact(self._parent, str(path))
        status = "FINISHED" if summary["complete"] else "FAILED"
        self._client.set_terminated(self._parent, status=status)

    def _find_experiment(self) -> str:
        known = self._client.get_experiment_by_name(self._experiment)
        if known is not None:
            return str(known.experiment_id)
        # A sqlite store has no place for files: without one MLflow puts them where it is started.
        files = (self._runs / "mlartifacts").absolute().as_uri()
        location = files if self._uri.startswith("sqlite:") else None
        return str(self._client.create_experiment(self._experiment, artifact_location=location))

    def _search(self, query: str) -> list[Any]:
        found: list[Any] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id], filter_string=query, page_token=token
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
    ) -> str:
        from mlflow.entities import Param

        run = self._client.create_run(
            self._experiment_id,
            run_name=name,
            # A split is sent when it is done: its duration is what it took, not the sending.
            start_time=int((time.time() - seconds_ago) * 1000),
            tags={**self._tags, "study": self._name, **tags},
        )
        run_id = str(run.info.run_id)
        self._client.log_batch(
            run_id, params=[Param(key, str(value)[:6000]) for key, value in parameters.items()]
        )
        return run_id

    def _log_metrics(self, run_id: str, points: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(key, value, now, step) for key, value, step in points if math.isfinite(value)
        ]
        for start in range(0, len(metrics), METRICS_PER_CALL):
            self._client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_CALL])


def _curves(entry: Entry) -> list[tuple[str, float, int]]:
    """Return the learning curves as (name, value, epoch)."""
    return [
        (f"{row['network']}/{key}", float(value), int(row["epoch"]))
        for row in entry.curves
        for key, value in row.items()
        if key not in ("network", "epoch")
    ]
