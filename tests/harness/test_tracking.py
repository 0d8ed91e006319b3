"""What MLflow gets of a study, from a server that takes it, refuses it or never answers."""

from __future__ import annotations

import errno
import json
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import clean_environment
from made_study import EPOCHS, check_sent, curves, record, runs_in, split_of, write_study

from harness.mlflow_store import made_store
from harness.track import send
from harness.tracking import Tracker, TrackingConfig


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "runs")


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


def test_a_figure_that_changed_is_sent_again_and_no_other(study: Path) -> None:
    for accuracy in (0.5, 0.25, 0.25):
        summary = json.loads((study / "summary.json").read_text())
        (study / "summary.json").write_text(json.dumps({**summary, "clip_accuracy": accuracy}))
        tracker = send(study, TrackingConfig())
        assert tracker.problem is None
    parent, _, client = runs_in(tracker.uri)
    of_figure = client.get_metric_history(parent.info.run_id, "clip_accuracy")
    assert [point.value for point in of_figure] == [0.5, 0.25]
    assert len(client.get_metric_history(parent.info.run_id, "uar")) == 1


def test_a_study_is_sent_again_to_where_its_command_sent_it(
    study: Path, tmp_path: Path, forked_commands: Any
) -> None:
    store = tmp_path / "else where" / "own.db"
    store.parent.mkdir()
    then = {"tracking": {"uri": f"sqlite:///{store}", "experiment": "paper"}}
    (study / "config.yaml").write_text(json.dumps(then))
    result = forked_commands.run("harness.track", str(study), cwd=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout == f"{study} is in MLflow at sqlite:///{store}\n"
    other = f"tracking.uri=sqlite:///{tmp_path / 'other.db'}"
    result = forked_commands.run("harness.track", str(study), other, cwd=tmp_path)
    assert result.stdout == f"{study} is in MLflow at sqlite:///{tmp_path / 'other.db'}\n"
    for place in (store, tmp_path / "other.db"):
        with closing(sqlite3.connect(place)) as tables:
            names = {name for (name,) in tables.execute("select name from experiments")}
        assert "paper" in names


def test_curves_arrive_while_a_split_is_trained_and_are_not_sent_again(study: Path) -> None:
    tracker = Tracker(TrackingConfig(), runs=study.parent, record=record())
    tracker.start()
    tracker.epochs(split_of(7), curves()[:2])
    uri = tracker.uri
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.2)
        if not (study.parent / "mlflow.db").exists():
            continue
        try:
            _, children, _ = runs_in(uri)
            if "audio/train_loss" in children["loso-s07"].data.metrics:
                break
        except Exception:  # the study is not in it yet
            continue
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
    assert tracker.browse_lines() == []


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


def test_a_store_is_there_when_it_is_whole(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, *_: Any, **__: Any) -> None:
        assert list(study.parent.glob(".mlflow.db.new-*"))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        # Its tables are there, and what stands in them is not.
        broken.setattr("mlflow.store.db.utils._verify_schema", full)
        tracker = send(study, TrackingConfig())
    assert tracker.problem is not None
    assert "No space left on device" in tracker.problem
    assert not list(study.parent.glob("*mlflow.db*"))
    # What a process has left that was killed at it.
    left = study.parent / ".mlflow.db.new-0"
    left.write_bytes(b"half")
    tracker = send(study, TrackingConfig())
    assert tracker.problem is None
    check_sent(f"sqlite:///{study.parent / 'mlflow.db'}")
    assert not left.exists()


def test_a_process_that_is_killed_while_it_makes_a_store_leaves_none(study: Path) -> None:
    store = study.parent / "mlflow.db"
    sender = subprocess.Popen(
        [sys.executable, "-m", "harness.track", str(study)], env=clean_environment()
    )
    while not any(path.stat().st_size for path in study.parent.glob(".mlflow.db.new-*[0-9a-f]")):
        assert sender.poll() is None, "the store was made before its process could be killed"
    sender.kill()
    sender.wait()
    assert list(study.parent.glob(".mlflow.db.new-*"))
    assert not store.exists()
    assert send(study, TrackingConfig()).problem is None
    check_sent(f"sqlite:///{store}")
    assert not list(study.parent.glob(".mlflow.db.new-*"))


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("sqlite:///own.db?timeout=30", "own.db"),
        ("sqlite:///./s", "s"),
        ("sqlite:///of%20two%20words/own.db", "of two words/own.db"),
        ("sqlite:///some[1].db", "some[1].db"),
        ("sqlite+pysqlite:///own.db", "own.db"),
        ("sqlite:///link.db", "elsewhere/real.db"),
    ],
)
def test_the_store_is_the_file_that_its_address_means(
    address: str, file: str, study: Path, tmp_path: Path, forked_commands: Any
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    if "link" in address:
        (tmp_path / "link.db").symlink_to(tmp_path / file)
    uri = f"tracking.uri='{address}'"
    for _ in range(2):
        result = forked_commands.run("harness.track", str(study), uri, cwd=tmp_path)
        assert result.status == 0, result.stderr
    assert runs_of(tmp_path / file) == [("FINISHED", 43)]
    found = {path.resolve() for path in tmp_path.rglob("*") if is_sqlite(path)}
    assert found == {tmp_path / file}


def test_a_folder_of_runs_whose_name_means_something_in_an_address(tmp_path: Path) -> None:
    study = write_study(tmp_path / "50%25 of it?" / "runs")
    tracker = send(study, TrackingConfig())
    assert tracker.problem is None
    assert runs_of(study.parent / "mlflow.db") == [("FINISHED", 43)]
    check_sent(tracker.uri)


def test_a_server_brings_the_files_of_whoever_names_no_experiment(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'server.db'}"
    with made_store(uri, tmp_path, "mlflow-artifacts:/"):
        assert runs_of(tmp_path / "server.db") == []
    assert MlflowClient(uri).get_experiment("0").artifact_location == "mlflow-artifacts:/0"


def is_sqlite(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith(b"SQLite format 3")


def runs_of(store: Path) -> list[tuple[str, int]]:
    """Return how many runs a store has, by what became of them."""
    with closing(sqlite3.connect(store)) as tables:
        found = tables.execute("select status, count(*) from runs group by status").fetchall()
    return [(str(status), int(count)) for status, count in found]


def test_two_folders_of_runs_that_begin_one_store_at_once(study: Path, tmp_path: Path) -> None:
    other = write_study(tmp_path / "others", "other")
    uri = f"sqlite:///{tmp_path / 'both.db'}?timeout=30"
    senders = [
        subprocess.Popen(
            [sys.executable, "-m", "harness.track", str(each), f"tracking.uri='{uri}'"],
            env=clean_environment(),
        )
        for each in (study, other)
    ]
    assert [sender.wait(300) for sender in senders] == [0, 0]
    assert not list(tmp_path.glob("*.new-*"))
    assert runs_of(tmp_path / "both.db") == [("FINISHED", 2 * 43)]
