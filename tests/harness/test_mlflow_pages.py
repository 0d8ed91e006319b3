"""What MLflow's pages say first of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_study import check_sent, record, runs_in, write_study
from mlflow import MlflowClient
from run_folders import made_study

from harness.mlflow_pages import NOTE, study_note
from harness.protocols import LEAKING
from harness.track import send
from harness.tracking import Tracker, TrackingConfig


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return made_study(tmp_path_factory.mktemp("run"), networks=())


def test_a_headline_has_its_interval_and_each_subject(summary: dict[str, Any]) -> None:
    told = study_note(summary)
    mean, low, high = (
        f"{100 * summary[key]:.1f} %"
        for key in ("clip_accuracy_subject_mean", "ci95_low", "ci95_high")
    )
    assert told.startswith(f"**{mean}** of a person's clips recognised")
    assert f"(t interval, nominal 95 %: {low} to {high})" in told
    assert all(f"| {row['subject']} | {row['clips']} |" in told for row in summary["per_subject"])


def test_a_leak_stands_beside_the_number(summary: dict[str, Any]) -> None:
    told = study_note({**summary, "protocol_warnings": [LEAKING], "warnings": [LEAKING]})
    assert LEAKING in told.splitlines()[0]


def test_an_incomplete_study_has_no_number(summary: dict[str, Any]) -> None:
    told = study_note({**summary, "complete": False})
    assert told.startswith("**incomplete**: there is no figure of the study\n")
    assert f"{100 * summary['clip_accuracy_subject_mean']:.1f} %" not in told.splitlines()[0]


def test_what_somebody_wrote_above_the_list_stays(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("emotion", (tmp_path / "files").as_uri())
    client.set_experiment_tag(experiment, NOTE, "ours")
    assert send(write_study(tmp_path), TrackingConfig()).problem is None
    check_sent(uri)
    tags = client.get_experiment(experiment).tags
    assert tags[NOTE] == "ours"
    assert "mlflow.sharedViewState.studies" in tags


def test_a_study_that_leaks_says_so_in_place_of_its_headline(tmp_path: Path) -> None:
    tracker = Tracker(TrackingConfig(), runs=tmp_path, record=record())
    tracker.start()
    tracker.fail("split x: clip a is in both training and test")
    parent, _, _ = runs_in(tracker.uri)
    assert parent.data.tags[NOTE] == "**failed**: split x: clip a is in both training and test"
