"""Sends a study to MLflow while it runs. The driver is the only writer; the ledger is the truth.

A thread of its own does the sending, so that a slow server slows nothing, and the first problem
ends it: what was not sent is sent by `python -m harness.track`.
"""

from __future__ import annotations

import os
import queue
import shlex
import sys
import textwrap
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.ledger import Entry
from harness.mlflow_pages import studies_address
from harness.mlflow_study import MlflowStudy, StudyRecord
from harness.plan import Split
from harness.sqlite_address import address_of, file_of
from pipelines.credentials import without_credentials
from pipelines.errors import require
from pipelines.split_task import Row

LONGEST_REASON = 200
"""Letters of an error that are told."""


@dataclass
class TrackingConfig:
    """Where results are browsed."""

    enabled: bool = True
    uri: str | None = None
    """MLflow's tracking address; unset: MLFLOW_TRACKING_URI, else a sqlite file in paths.runs."""
    experiment: str = "emotion"
    wait_s: float = 60.0
    """Time that the end of a study gives a slow server to take what is left."""
    system_metrics: bool = False
    """Also send what the driver's machine does: processors, memory, disk, GPUs."""

    def __post_init__(self) -> None:
        require(bool(self.experiment), "tracking.experiment must not be empty")
        require(self.wait_s >= 0, f"tracking.wait_s ({self.wait_s}) must be 0 or more")


def tracking_uri(config: TrackingConfig, runs: Path) -> str:
    """Return the address that a study is sent to."""
    default = address_of(runs / "mlflow.db")
    return config.uri or os.environ.get("MLFLOW_TRACKING_URI") or default


def recorded_uri(config: TrackingConfig, runs: Path) -> str | None:
    """Return what `tracking.uri` must be for studies in other folders to go to the same place.

    None where the environment says it: it may carry a password, and settings are written down.
    """
    in_environment = config.uri is None and os.environ.get("MLFLOW_TRACKING_URI")
    return None if in_environment else tracking_uri(config, runs)


class Tracker:
    """Sends one study in the order of its calls; never raises, and `problem` says what failed."""

    def __init__(self, config: TrackingConfig, *, runs: Path, record: StudyRecord) -> None:
        uri = tracking_uri(config, runs)
        self.uri = without_credentials(uri)
        """As it may be shown."""
        self.problem: str | None = None
        self._config, self._folder, self._group = config, runs / record.name, record.group
        self._study = MlflowStudy(uri, config.experiment, runs, record)
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._monitor: Any = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Find or create the parent run."""
        if self._config.enabled:
            self._thread = threading.Thread(target=self._send, name="tracking", daemon=True)
            self._thread.start()
        self._jobs.put(self._begin)

    def epochs(self, split: Split, rows: Sequence[Row]) -> None:
        """Add to a split's learning curves."""
        self._jobs.put(lambda: self._study.epochs(split, rows))

    def split(self, split: Split, entry: Entry, figures: Mapping[str, float]) -> None:
        """Write what a split came to."""
        self._jobs.put(lambda: self._study.split(split, entry, figures))

    def finish(self, summary: Mapping[str, Any], artifacts: Sequence[Path], note: str = "") -> None:
        """Write the study's figures and files, and wait for all that is still on its way."""
        self._end(lambda: self._study.finish(summary, artifacts, note))

    def fail(self, error: str) -> None:
        """Close the run of a study that must not go on."""
        self._end(lambda: self._study.fail(error))

    def _end(self, job: Callable[[], None]) -> None:
        for last in (self._end_monitor, job, None):
            self._jobs.put(last)
        if self._thread is None:
            return
        self._thread.join(self._config.wait_s)
        if self._thread.is_alive():
            self.problem = self._told(f"not all of it within {self._config.wait_s:g} s")

    def browse_lines(self) -> list[str]:
        """Return how to look at the studies in MLflow; nothing where this one was not sent."""
        if not self._config.enabled or self.problem is not None:
            return []
        server, lines = self.uri, []
        if file_of(self.uri) is not None:
            mlflow = Path(sys.executable).with_name("mlflow")
            store = shlex.quote(self.uri)
            command = f"{mlflow} ui --backend-store-uri {store} --host 127.0.0.1 --port 5000"
            server, lines = "http://127.0.0.1:5000", [f"browse it:  {command}"]
        if server.startswith("http"):
            page = studies_address(server, self._study.experiment_id, self._group)
            lines.append(f"the list:   {page}")
        return lines or [f"browse it:  MLflow on {self.uri}"]

    def _begin(self) -> None:
        self._study.start()
        if self._config.system_metrics:
            self._monitor = self._study.system_metrics()

    def _end_monitor(self) -> None:
        if self._monitor is not None:
            self._monitor.finish()

    def _send(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self.problem is not None:
                continue
            try:
                job()
            except Exception as error:
                words = without_credentials(str(error))
                reason = textwrap.shorten(words, LONGEST_REASON, placeholder=" ...")
                # The first stays: the study may have ended, and said it.
                self.problem = self.problem or self._told(f"{type(error).__name__}: {reason}")

    def _told(self, reason: str) -> str:
        return (
            f"MLflow at {self.uri} did not take this study ({reason}): its results are in the run "
            f"folder, and python -m harness.track {shlex.quote(str(self._folder))} sends them"
        )
