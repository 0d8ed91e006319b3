"""A model for use: who it is trained on, its folder, and MLflow's copy that predicts and serves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from conftest import (
    SMALL,
    ForkedCommands,
    Result,
    SmallStudy,
    clean_environment,
    run_module,
)
from omegaconf import OmegaConf

from harness.model_training import everybody
from pipelines.records import Clip

REPOSITORY = Path(__file__).parents[2]


def clips_of(*told: tuple[str, str]) -> list[Clip]:
    return [
        Clip(clip_id=f"{who}/{emotion}_{n}", path="", subject=who, emotion=emotion)
        for n, (who, emotion) in enumerate(told)
    ]


def test_everybody_is_trained_on_but_one_who_chooses_the_epochs() -> None:
    clips = clips_of(*((f"s{n}", label) for n in range(6) for label in ("anger", "fear")))
    split = everybody(clips, 5, validation=True)
    (validator,) = {clip_id.partition("/")[0] for clip_id in split.validation}
    assert len(split.validation) == 2
    assert {*split.train, *split.validation} == {clip.clip_id for clip in clips}
    assert not any(clip_id.startswith(f"{validator}/") for clip_id in split.train)
    assert split.test == ()
    assert everybody(clips[::-1], 5, validation=True) == split
    assert everybody(clips, 6, validation=True).seed != split.seed
    whole = everybody(clips, 5, validation=False)
    assert (set(whole.train), whole.validation) == ({clip.clip_id for clip in clips}, ())


def test_who_alone_shows_an_emotion_is_learned_from() -> None:
    people = [f"s{n}" for n in range(3)]
    for alone in people:
        clips = clips_of(*((who, "anger") for who in people), (alone, "fear"))
        split = everybody(clips, 0, validation=True)
        assert any(clip_id.startswith(f"{alone}/fear") for clip_id in split.train)
        assert len(split.validation) == 1


@dataclass(frozen=True)
class Fit:
    """A model that was trained and logged."""

    cwd: Path
    arguments: tuple[str, ...]
    result: Result
    told: dict[str, Any]

    @property
    def model(self) -> Path:
        """Its folder."""
        return self.cwd / "runs" / "fitted" / "model"

    @property
    def logged(self) -> Path:
        """Where MLflow keeps it."""
        (folder,) = (self.cwd / "runs" / "mlartifacts" / "models").iterdir()
        return folder / "artifacts"

    @property
    def store(self) -> str:
        """MLflow's address."""
        return f"sqlite:///{self.cwd / 'runs' / 'mlflow.db'}"


@pytest.fixture(scope="module")
def fitted(small_study: SmallStudy, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    cwd = tmp_path_factory.mktemp("fit")
    arguments = (*SMALL, f"paths.data={small_study.cwd / 'data'}", "name=fitted")
    result = run_module("harness.fit", *arguments, "--json", cwd=cwd)
    assert result.status == 0, result.stderr
    return Fit(cwd, arguments, result, json.loads(result.stdout))


def test_the_model_is_in_its_folder_and_says_who_taught_it(fitted: Fit) -> None:
    assert (fitted.told["train"], fitted.told["validation"]) == (12, 6)
    assert fitted.told["model"] == str(fitted.model)
    record = json.loads((fitted.model / "model.json").read_text())
    trained_on = record["trained_on"]
    assert {name: len(clips) for name, clips in trained_on.items()} == {
        "train": 12,
        "validation": 6,
    }
    lines = fitted.result.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "running on a local Ray",
        "preprocess",
        "train",
    ]


def told_by_mlflow(fitted: Fit) -> dict[str, Any]:
    told = OmegaConf.to_container(OmegaConf.load(fitted.logged / "MLmodel"))
    assert isinstance(told, dict)
    return {str(key): value for key, value in told.items()}


def test_mlflow_has_the_model_once_with_signature_requirements_and_example(fitted: Fit) -> None:
    told = told_by_mlflow(fitted)
    assert fitted.told["model_uri"] == f"models:/{told['model_id']}"
    assert told["run_id"] == fitted.told["run_id"]
    inputs = json.loads(told["signature"]["inputs"])
    assert [(column["name"], column["type"]) for column in inputs] == [("path", "string")]
    outputs = [column["name"] for column in json.loads(told["signature"]["outputs"])]
    assert outputs[:5] == ["path", "status", "reason", "detail", "emotion"]
    assert outputs[-6:] == [f"p_{label}" for label in fitted.told["classes"]]
    pins = dict(
        line.split("==") for line in (fitted.logged / "requirements.txt").read_text().split()
    )
    assert {"torch", "mlflow", "librosa", "decord", "safetensors"} <= pins.keys()
    for package, pin in pins.items():
        assert version(package).partition("+")[0] == pin
    example = json.loads((fitted.logged / "input_example.json").read_text())
    assert example["columns"] == ["path"]
    copy = fitted.logged / "artifacts" / "model"
    for name in ("model.json", "weights.safetensors"):
        assert (copy / name).read_bytes() == (fitted.model / name).read_bytes()


def test_nothing_of_the_logged_model_is_pickled(fitted: Fit) -> None:
    suffixes = {path.suffix for path in fitted.logged.rglob("*") if path.is_file()}
    assert suffixes <= {"", ".py", ".json", ".yaml", ".txt", ".safetensors", ".md", ".html", ".css"}
    flavour = told_by_mlflow(fitted)["flavors"]["python_function"]
    assert Path(flavour["model_code_path"]).name == "served_model.py"
    assert "python_model" not in flavour


@pytest.mark.parametrize("setting", ["protocol=kfold", "protocol.folds=3", "model.keep=false"])
def test_settings_of_a_study_are_refused(
    setting: str, forked_commands: ForkedCommands, tmp_path: Path
) -> None:
    result = forked_commands.run("harness.fit", setting, cwd=tmp_path)
    assert result.status == 2
    assert result.stderr.startswith(f"error: {setting}: harness.fit trains one model on everybody")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.long
def test_the_same_command_goes_on_and_a_server_that_is_down_costs_a_line(
    fitted: Fit, tmp_path: Path
) -> None:
    shutil.copytree(fitted.cwd / "runs", tmp_path / "runs")
    weights = (tmp_path / "runs" / "fitted" / "model" / "weights.safetensors").read_bytes()
    down = run_module(
        "harness.fit", *fitted.arguments, "tracking.uri=http://127.0.0.1:9", cwd=tmp_path
    )
    assert down.status == 0
    assert "train: the model was trained before" in down.stderr
    assert down.stderr.count("MLflow did not take the model") == 1
    assert down.stdout.splitlines() == [
        f"model: {tmp_path / 'runs' / 'fitted' / 'model'}",
        f"use it: python -m harness.predict CLIP --model {tmp_path / 'runs' / 'fitted' / 'model'}",
    ]
    other = run_module("harness.fit", *fitted.arguments, "seed=1", cwd=tmp_path)
    assert other.status == 2
    assert "name (fitted) is taken" in other.stderr
    # A run that was killed between its training and the end: the model is put together from there.
    model = tmp_path / "runs" / "fitted" / "model"
    (tmp_path / "runs" / "fitted" / "fit" / "models").mkdir(exist_ok=True)
    model.rename(tmp_path / "runs" / "fitted" / "fit" / "models" / "fit")
    again = run_module("harness.fit", *fitted.arguments, "--json", cwd=tmp_path)
    assert again.status == 0, again.stderr
    assert "train:" not in again.stderr
    assert (model / "weights.safetensors").read_bytes() == weights
    assert json.loads(again.stdout)["model_uri"] == fitted.told["model_uri"]
    with sqlite3.connect(tmp_path / "runs" / "mlflow.db") as store:
        assert store.execute("select count(*) from runs").fetchone() == (1,)
        assert store.execute("select count(*) from logged_models").fetchone() == (1,)


@pytest.fixture
def clips(small_study: SmallStudy, tmp_path: Path) -> list[str]:
    (corpus,) = (small_study.cwd / "data" / "corpora").iterdir()
    (tmp_path / "text.avi").write_text("this is no video\n")
    return [str(corpus / "s01" / "fear_1.avi"), str(tmp_path / "text.avi")]


@pytest.fixture
def expected(fitted: Fit, clips: list[str]) -> list[dict[str, Any]]:
    """What harness.predict says, by the model's address in MLflow."""
    address = f"runs:/{fitted.told['run_id']}/model"
    result = run_module("harness.predict", *clips, "--model", address, "--json", cwd=fitted.cwd)
    assert (result.status, result.stderr) == (1, "")
    told: list[dict[str, Any]] = json.loads(result.stdout)["clips"]
    by_folder = run_module(
        "harness.predict", *clips, "--model", str(fitted.model), "--json", cwd=fitted.cwd
    )
    assert json.loads(by_folder.stdout)["clips"] == told
    return told


def check(rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [row["emotion"] for row in rows] == [clip["emotion"] for clip in expected]
    assert rows[0]["probability"] == expected[0]["probability"]
    assert rows[0]["votes"] == expected[0]["votes"]
    assert rows[0]["segments"] == len(expected[0]["segments"])
    for label, probability in expected[0]["probabilities"].items():
        assert rows[0][f"p_{label}"] == probability
    assert (rows[1]["emotion"], rows[1]["reason"]) == (None, "not_media")


PREDICT = """
import json, sys
import mlflow, pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
import pipelines
rows = model.predict(pandas.DataFrame({"path": sys.argv[3:]})).to_dict(orient="records")
print(json.dumps({"rows": rows, "code": pipelines.__file__}))
"""


@pytest.mark.long
def test_it_predicts_in_a_process_that_knows_nothing_of_this_project(
    fitted: Fit, clips: list[str], expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    environment = clean_environment()
    environment.pop("PYTHONPATH", None)
    for address in (fitted.told["model_uri"], f"runs:/{fitted.told['run_id']}/model"):
        done = subprocess.run(
            # -I: neither this folder nor any other but what is installed.
            [sys.executable, "-I", "-c", PREDICT, fitted.store, address, *clips],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        told = json.loads(done.stdout.splitlines()[-1])
        assert not Path(told["code"]).is_relative_to(REPOSITORY)
        check(told["rows"], expected)


@pytest.fixture
def served(fitted: Fit, tmp_path: Path) -> Iterator[str]:
    """The model, served on loopback by MLflow's own command."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mlflow = str(Path(sys.executable).with_name("mlflow"))
    serve = [mlflow, "models", "serve", "-m", fitted.told["model_uri"]]
    environment = clean_environment(MLFLOW_TRACKING_URI=fitted.store)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with (tmp_path / "served.txt").open("w") as log:
        process = subprocess.Popen(
            [*serve, "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)],
            cwd=tmp_path,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, (tmp_path / "served.txt").read_text()
            try:
                urllib.request.urlopen(f"{address}/ping", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.mark.long
def test_it_answers_where_mlflow_serves_it(
    served: str, clips: list[str], expected: list[dict[str, Any]]
) -> None:
    body = json.dumps({"dataframe_split": {"columns": ["path"], "data": [[c] for c in clips]}})
    request = urllib.request.Request(
        f"{served}/invocations", body.encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        check(json.load(answer)["predictions"], expected)
