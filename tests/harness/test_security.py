"""A study listens to nobody but this machine, and writes no credential down."""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from conftest import SMALL, ForkedCommands, SmallStudy, clean_environment, copy_of, run_module
from planted_secrets import MARK, SECRETS, files_with

from harness.tracking import TrackingConfig, recorded_uri

SECRET_ADDRESS = f"http://researcher:{MARK}@127.0.0.1:9"
"""Where nothing listens."""


@dataclass(frozen=True)
class Watched:
    """A study that was looked at while it ran."""

    cwd: Path
    ray: Path
    """Ray's folder: its logs."""
    said: str
    listened: set[tuple[str, str]]
    """Program and address of every listening socket."""


def listening(process: psutil.Process) -> Iterator[tuple[str, str]]:
    """Yield the program and the address of each listening socket of a process and its children."""
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):
            for socket in each.net_connections(kind="inet"):
                if socket.status == psutil.CONN_LISTEN:
                    yield each.name(), socket.laddr.ip


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


@pytest.fixture(scope="module")
def watched(small_study: SmallStudy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    cwd = copy_of(small_study, tmp_path_factory.mktemp("watched"), runs=False)
    ray = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # short, for its sockets
    study = subprocess.Popen(
        [sys.executable, "-m", "harness.loso", *SMALL, "name=small"],
        cwd=cwd,
        env=clean_environment(RAY_TMPDIR=str(ray), **SECRETS),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seen: set[tuple[str, str]] = set()
    while study.poll() is None:
        with suppress(psutil.Error):
            seen |= set(listening(psutil.Process(study.pid)))
        time.sleep(0.2)
    assert study.stdout is not None
    said = study.stdout.read()
    assert study.returncode == 0, said
    yield Watched(cwd, ray, said, seen)
    shutil.rmtree(ray, ignore_errors=True)


def test_a_study_listens_on_loopback_alone(watched: Watched) -> None:
    # Ray's own are among them, or the test looked at nothing.
    assert {"gcs_server", "raylet"} <= {program for program, _ in watched.listened}
    assert not {each for each in watched.listened if not is_loopback(each[1])}


def test_no_credential_is_in_results_in_mlflow_or_in_a_log(watched: Watched) -> None:
    seen = files_with([MARK, "clip_accuracy", "gcs_server"], watched.cwd / "runs", watched.ray)
    # What is there is found: figures in MLflow's store, words of Ray's in its logs.
    assert watched.cwd / "runs" / "mlflow.db" in seen["clip_accuracy"]
    assert any(watched.ray in path.parents for path in seen["gcs_server"])
    assert seen[MARK] == []
    assert MARK not in watched.said


@pytest.mark.parametrize(
    "setting",
    [
        f"tracking.uri={SECRET_ADDRESS}",
        f"tracking.uri=postgresql://researcher:{MARK}@db/mlflow",
        f"paths.data=s3://id:{MARK}@bucket/data",
        f'paths.data="s3://bucket/data?secret_key={MARK}"',
        f'corpus.root="https://host/RML?X-Amz-Signature={MARK}"',
    ],
)
def test_a_setting_with_a_password_is_refused_and_not_repeated(
    setting: str, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    name = setting.partition("=")[0]
    corpus = ["corpus=rml"] if name == "corpus.root" else []
    told = forked_commands.run("harness.loso", *corpus, setting, cwd=tmp_path)
    assert (told.status, told.stdout) == (2, "")
    assert told.stderr.startswith(f"error: {name} carries a password or a key")
    assert told.stderr.count("\n") == 1
    assert MARK not in told.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["", "http://127.0.0.1:9"])
@pytest.mark.parametrize(
    ("argument", "name"),
    [
        (f"http://me:{MARK}@h/x", "a setting"),
        (f"http://me:{MARK}@h/x?a=1", "a setting"),
        (f"corpus.root=https://host/x?a=1&password={MARK}", "corpus.root"),
        (f"+tracking.uri=http://me:{MARK}@h", "+tracking.uri"),
        (f'tracking.uri="http://me:{MARK}@h', "tracking.uri"),
        (f"--models=http://me:{MARK}@h", "--models"),
    ],
)
def test_nor_is_what_cannot_be_read(
    argument: str, name: str, address: str, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    told = forked_commands.run("harness.loso", argument, cwd=tmp_path, RAY_ADDRESS=address)
    assert (told.status, told.stdout) == (2, "")
    assert told.stderr.startswith(f"error: {name} carries a password or a key")
    assert told.stderr.count("\n") == 1
    assert MARK not in told.stderr


def test_a_password_in_mlflows_own_variable_is_shown_to_nobody(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    shutil.copytree(small_study.folder, tmp_path / "small")
    told = run_module(
        "harness.track", "small", "--json", cwd=tmp_path, MLFLOW_TRACKING_URI=SECRET_ADDRESS
    )
    assert told.status == 1
    assert "http://***@127.0.0.1:9 did not take this study" in told.stderr
    assert MARK not in told.stdout + told.stderr
    assert files_with([MARK], tmp_path)[MARK] == []


def test_rows_are_told_where_to_go_but_for_what_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert recorded_uri(TrackingConfig(), tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    told = TrackingConfig(uri="http://127.0.0.1:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SECRET_ADDRESS)
    assert recorded_uri(TrackingConfig(), tmp_path) is None
    assert recorded_uri(told, tmp_path) == "http://127.0.0.1:5000"
