"""What MLflow gets of a study, from a server that takes it, refuses it or never answers."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from harness.aggregate import aggregate
from harness.ledger import Ledger
from harness.mlflow_study import StudyRecord
from harness.splits import Plan, Split
from harness.track import send
from harness.tracking import Tracker, TrackingConfig
from pipelines.records import Clip
from pipelines.split_task import Row, SegmentPrediction, SplitResult, SplitTask
from pipelines.storage import write_json

CLASSES = ("anger", "fear")
EPOCHS = 3


def record(name: str = "made") -> StudyRecord:
    return StudyRecord(
        name=name,
        tags={"config_digest": "c0", "data_digest": "d0", "protocol": "LOSO"},
        parameters={"model.lstm_hidden": 8},
        datasets=[{"name": "made", "digest": "d0", "source": "/data/made"}],
    )


def curves() -> list[Row]:
    return [
        {"network": network, "epoch": epoch, "train_loss": 1.0 / epoch, "validation_loss": 0.5}
        for network in ("audio", "visual", "fusion")
        for epoch in range(1, EPOCHS + 1)
    ]


def split_of(number: int) -> Split:
    return Split(
        split_id=f"loso-s{number:02d}",
        held_out=f"s{number:02d}",
        repeat=0,
        seed=number,
        train=(f"s{(number + 1) % 100:02d}/a",),
        validation=(),
        test=(f"s{number:02d}/a", f"s{number:02d}/b"),
    )


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A finished study of 42 subjects, who are never trained on."""
    folder = tmp_path / "runs" / "made"
    splits = tuple(split_of(number) for number in range(42))
    ledger = Ledger(folder / "splits")
    for split in splits:
        task = SplitTask(
            split_id=split.split_id,
            repeat=0,
            seed=split.seed,
            classes=CLASSES,
            train=(),
            validation=(),
            test=split.test,
        )
        rows = [
            SegmentPrediction(
                clip_id=clip_id, segment_index=0, probabilities=(0.7, 0.3), attention={}
            )
            for clip_id in split.test
        ]
        result = SplitResult(
            segments=rows, curves=curves(), chosen_epochs={}, reads={}, parameters={}
        )
        ledger.record(task, result, study_digest="", device="cpu", threads=1)
    clips = {
        clip_id: Clip(
            clip_id=clip_id,
            path="",
            subject=split.held_out,
            emotion="anger" if clip_id.endswith("a") else "fear",
        )
        for split in splits
        for clip_id in split.test
    }
    plan = Plan(unit="clip", splits=splits)
    plan.write(folder / "plan.json")
    write_json(folder / "study.json", asdict(record()))
    aggregate(
        folder,
        plan=plan,
        protocol="LOSO",
        corpus="made",
        clips=clips,
        classes=CLASSES,
        predicts="segment",
        digests={},
        seconds={"train": 2.5},
        warnings=[],
    )
    return folder


def runs_in(uri: str) -> tuple[Any, dict[str, Any], Any]:
    """Return the parent, its children by split, and the client."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("emotion")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.data.tags["split_id"]: run for run in runs if run is not parent}
    assert all(r.data.tags["mlflow.parentRunId"] == parent.info.run_id for r in children.values())
    return parent, children, client


def check_sent(uri: str) -> None:
    """See that everything of the study is there, once."""
    parent, children, client = runs_in(uri)
    assert len(children) == 42
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["clip_accuracy"] == 0.5
    assert parent.data.metrics["splits_done"] == 42
    assert parent.data.metrics["splits_expected"] == 42
    assert parent.data.metrics["seconds/train"] == 2.5
    assert parent.data.tags["complete"] == "true"
    assert [told.dataset.digest for told in parent.inputs.dataset_inputs] == ["d0"]
    held = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert held >= {"plan.json", "predictions.parquet", "summary.json"}
    for child in list(children.values())[::20]:
        assert child.info.status == "FINISHED"
        assert child.data.metrics["test/clip_accuracy"] == 0.5
        assert child.data.params["model.lstm_hidden"] == "8"
        history = client.get_metric_history(child.info.run_id, "fusion/train_loss")
        assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_a_study_of_42_splits_is_sent_once_however_often(study: Path) -> None:
    store = study.parent / "mlflow.db"
    for _ in range(2):
        tracker = send(study, TrackingConfig(enabled=False))
        assert tracker.problem is None
    check_sent(f"sqlite:///{store}")
    with closing(sqlite3.connect(store)) as tables:
        counts = tables.execute("select count(*) from runs").fetchone()[0]
        of_children = tables.execute(
            "select count(*) from metrics where key like '%/train_loss' or key like 'test/%'"
        ).fetchone()[0]
    assert counts == 43
    assert of_children == 42 * (3 * EPOCHS + 3)


def test_curves_arrive_while_a_split_is_trained_and_are_not_sent_again(study: Path) -> None:
    tracker = Tracker(TrackingConfig(), runs=study.parent, record=record())
    tracker.start()
    tracker.epochs(split_of(7), curves()[:2])
    uri = tracker.uri
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            _, children, _ = runs_in(uri)
            if "audio/train_loss" in children["loso-s07"].data.metrics:
                break
        except Exception:  # the store is still being made
            time.sleep(0.2)
    child = children["loso-s07"]
    assert child.info.status == "RUNNING"
    assert child.data.metrics["audio/train_loss"] == 0.5
    tracker.fail("stopped here")
    assert tracker.problem is None
    assert send(study, TrackingConfig()).problem is None
    check_sent(uri)
    _, children, client = runs_in(uri)
    assert len(client.get_metric_history(children["loso-s07"].info.run_id, "audio/train_loss")) == 3


def test_a_server_that_is_down_is_said_with_the_command_that_sends_again(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        uri = f"http://127.0.0.1:{held.getsockname()[1]}"
        tracker = Tracker(TrackingConfig(uri=uri), runs=tmp_path, record=record())
        begun = time.monotonic()
        tracker.start()
        tracker.epochs(split_of(1), curves())
        tracker.finish({"seconds": {}, "complete": True, "warnings": []}, [])
        assert time.monotonic() - begun < 50
    assert tracker.problem is not None
    assert uri in tracker.problem
    assert f"python -m harness.track {tmp_path / 'made'}" in tracker.problem
    assert tracker.browse_command() is None


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_never_answers_holds_a_study_up_no_longer_than_is_set(tmp_path: Path) -> None:
    with silent_server() as uri:
        config = TrackingConfig(uri=uri, wait_s=0.5)
        tracker = Tracker(config, runs=tmp_path, record=record())
        begun = time.monotonic()
        tracker.start()
        for number in range(42):
            tracker.epochs(split_of(number), curves())
        assert time.monotonic() - begun < 0.5
        tracker.finish({"seconds": {}, "complete": True, "warnings": []}, [])
        assert time.monotonic() - begun < 5
    assert tracker.problem is not None
    assert "not all of it within 0.5 s" in tracker.problem


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name the run folders to send"),
        (["nowhere"], "nowhere is no folder"),
        (["."], "is no study's folder: it has no study.json"),
    ],
)
def test_what_is_no_study_is_refused(
    arguments: Sequence[str], said: str, tmp_path: Path, forked_commands: Any
) -> None:
    result = forked_commands.run("harness.track", *arguments, cwd=tmp_path)
    assert result.status == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_command_says_where_a_study_went(study: Path, forked_commands: Any) -> None:
    result = forked_commands.run("harness.track", str(study), "--json", cwd=study)
    assert result.status == 0, result.stderr
    (told,) = json.loads(result.stdout)
    assert told == {
        "folder": str(study),
        "uri": f"sqlite:///{study.parent / 'mlflow.db'}",
        "problem": None,
    }
    check_sent(told["uri"])
