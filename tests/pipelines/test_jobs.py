"""Commands as jobs of a real cluster of one node, which wants its token, submitted from outside."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from conftest import SMALL, ForkedCommands, Result, clean_environment, run_module
from planted_secrets import MARK, SECRET_FILES, SECRETS, files_with, plant
from ray.job_submission import JobStatus

from pipelines.cluster_address import NamedAddress
from pipelines.errors import StoppedError, UsageError
from pipelines.jobs.client import JobClient

TINY = ("corpus.subjects=2", "corpus.takes=1")
PATIENCE_S = 180
TOKEN = "0123456789abcdef" * 2


@dataclass(frozen=True)
class Cluster:
    """A cluster, and the laptop that submits to it."""

    address: str
    folder: Path
    token: Path
    ray: Path
    """Ray's own folder: its logs, and what jobs bring."""

    @property
    def laptop(self) -> Path:
        """Folder from which commands are submitted: no data, no runs."""
        return self.folder / "laptop"

    @property
    def environment(self) -> dict[str, str]:
        # No RAY_AUTH_MODE: a token that is there is shown.
        return {
            "RAY_ADDRESS": self.address,
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            **SECRETS,
        }

    def submit(self, module: str, *arguments: str, **changes: str) -> Result:
        return run_module(module, *arguments, cwd=self.laptop, **{**self.environment, **changes})


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "laptop").mkdir()
    token = folder / "token"
    token.write_text(TOKEN)
    # Ray's own folder: short, for its sockets, and not the one where other commands look for a
    # cluster of this node.
    temporary = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    port, dashboard, agent = free_port(), free_port(), free_port()
    environment = clean_environment(
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(token),
        RAY_TMPDIR=temporary,
        HARNESS_DATA=str(folder / "data"),
        HARNESS_RUNS=str(folder / "runs"),
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **SECRETS,
    )
    options = {
        "node-ip-address": "127.0.0.1",
        "port": port,
        "num-cpus": 2,
        "object-store-memory": 200_000_000,
        "dashboard-host": "127.0.0.1",
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": agent,
    }
    told = [f"--{name}={value}" for name, value in options.items()]
    with (folder / "ray.log").open("w") as log:
        head = subprocess.Popen(
            ["ray", "start", "--head", "--block", "--disable-usage-stats", *told],
            env=environment,
            executable=str(Path(sys.executable).with_name("ray")),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    made = Cluster(f"http://127.0.0.1:{dashboard}", folder, token, Path(temporary))
    try:
        for each in (dashboard, agent):
            wait_for(lambda each=each: answers(each), f"Ray on port {each}")  # type: ignore[misc]
        yield made
    finally:
        head.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            head.wait(5)
        head.kill()
        shutil.rmtree(temporary, ignore_errors=True)


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.fixture(scope="module")
def submitted(cluster: Cluster) -> Result:
    """Submit a command with credentials in the environment on both sides, and files beside it."""
    plant(cluster.laptop)
    (cluster.laptop / "notes.txt").write_text("brought along")
    told = cluster.submit("pipelines.preprocess", *TINY, "name=secrets", "--json")
    left = {str(p.relative_to(cluster.laptop)) for p in cluster.laptop.rglob("*") if p.is_file()}
    assert left == {*SECRET_FILES, "notes.txt"}
    shutil.rmtree(cluster.laptop)
    cluster.laptop.mkdir()
    assert told.status == 0, told.stderr
    return told


def test_a_job_shows_itself_as_the_command_would_here(cluster: Cluster, submitted: Result) -> None:
    assert len(json.loads(submitted.stdout)["outcomes"]) == 12
    lines = submitted.stderr.splitlines()
    assert lines[0].startswith(f"submitted to {cluster.address} as job raysubmit_")
    assert lines[1].startswith("running on the Ray cluster at ")
    assert lines[1].endswith(": 2 CPUs, 0 GPUs")
    assert lines[2].startswith("make corpus: 12 of 12 in ")
    assert lines[3].startswith("preprocess: 12 of 12 in ")
    # What was made is where every host sees it; the laptop got nothing.
    assert (cluster.folder / "data" / "shards").is_dir()


def test_no_credential_goes_along_or_is_written_down(cluster: Cluster, submitted: Result) -> None:
    request = urllib.request.Request(
        f"{cluster.address}/api/jobs/", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        jobs = answer.read().decode()
    assert "name=secrets" in jobs
    seen = files_with(
        [MARK, TOKEN, "brought along", "name=secrets"],
        *(cluster.ray, cluster.folder / "data", cluster.folder / "runs"),
    )
    # What is there is found: the working folder's files, and the command in Ray's logs.
    assert seen["brought along"]
    assert seen["name=secrets"]
    assert (seen[MARK], seen[TOKEN]) == ([], [])
    for secret in (MARK, TOKEN):
        assert secret not in jobs + submitted.stdout + submitted.stderr


def test_a_password_in_a_command_is_refused_before_anyone_can_list_it(cluster: Cluster) -> None:
    told = cluster.submit("harness.loso", f"tracking.uri=http://me:{MARK}@127.0.0.1:5000")
    assert (told.status, told.stdout) == (2, "")
    assert told.stderr.startswith("error: tracking.uri carries a password or a key")
    assert MARK not in told.stderr


def test_a_mistake_is_one_line_and_the_jobs_status_is_the_commands(cluster: Cluster) -> None:
    told = cluster.submit("harness.loso", "paths.runs=mine", "-q")
    assert (told.status, told.stdout) == (2, "")
    assert told.stderr.startswith("error: paths.runs (mine) is relative, and the folder of a job")
    assert told.stderr.count("\n") == 1


def test_without_the_token_nothing_is_let_in(cluster: Cluster, tmp_path: Path) -> None:
    other = tmp_path / "token"
    other.write_text("fedcba9876543210" * 2)
    told = cluster.submit("harness.loso", RAY_AUTH_TOKEN_PATH=str(other))
    assert (told.status, told.stdout) == (2, ""), told.stderr
    assert f"error: the cluster at {cluster.address} wants its token" in told.stderr
    assert "fedcba" not in told.stderr


@pytest.mark.parametrize("source", ["cluster.address", "RAY_ADDRESS"])
@pytest.mark.parametrize(
    ("module", "operands"), [("harness.loso", []), ("harness.follow", ["job"])]
)
def test_an_address_that_does_not_answer_is_no_local_run_and_is_named_by_where_it_stands(
    source: str,
    module: str,
    operands: list[str],
    tmp_path: Path,
    forked_commands: ForkedCommands,
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    settings = [f"{source}={address}"] if source == "cluster.address" else []
    # A setting goes before the environment.
    elsewhere = "127.0.0.1:9" if settings else address
    told = forked_commands.run(module, *operands, *settings, cwd=tmp_path, RAY_ADDRESS=elsewhere)
    assert (told.status, told.stdout) == (2, "")
    assert told.stderr.startswith(f"error: no job server answers at {source} ({address}): ")
    assert told.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["cluster.address", "RAY_ADDRESS"])
def test_who_follows_a_job_is_told_which_address_is_no_job_servers(
    source: str, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    settings = ["cluster.address=a:1"] if source == "cluster.address" else []
    told = forked_commands.run("harness.follow", "job", *settings, cwd=tmp_path, RAY_ADDRESS="a:1")
    assert (told.status, told.stdout) == (2, "")
    assert told.stderr.startswith(f"error: {source} (a:1) must be that of the job server")


def test_who_follows_a_job_and_names_no_cluster_is_told_so(
    tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    told = forked_commands.run("harness.follow", "job", cwd=tmp_path, RAY_ADDRESS="")
    assert (told.status, told.stdout) == (2, "")
    assert told.stderr.startswith("error: RAY_ADDRESS is not set: it must be that of the job")


@pytest.mark.parametrize("address", ["http://[::1", "http://h ead:8265", "http://a..b:8265"])
def test_an_address_that_can_be_none_is_refused_in_a_line(
    address: str, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    told = forked_commands.run("harness.loso", cwd=tmp_path, RAY_ADDRESS=address)
    assert (told.status, told.stdout) == (2, "")
    assert told.stderr.startswith(f"error: no job server answers at RAY_ADDRESS ({address}): ")
    assert told.stderr.count("\n") == 1


def test_an_address_without_http_is_no_cluster_to_join(cluster: Cluster) -> None:
    address = cluster.address.removeprefix("http://")
    told = cluster.submit("harness.loso", RAY_ADDRESS=address)
    assert (told.status, told.stdout) == (2, "")
    assert f"RAY_ADDRESS ({address}) is that of a web server" in told.stderr
    assert f"write RAY_ADDRESS=http://{address}" in told.stderr


@pytest.mark.parametrize("answer", ["none", "error", "page", "other"])
def test_what_answers_but_is_no_job_server_is_told_in_a_line(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.jobs.client.CONNECT_SECONDS", 0.5)
    body = {"page": b"<html>", "other": b'{"version": 1}'}.get(answer, b"")

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if answer == "none":
                time.sleep(2)
            self.send_response(500 if answer == "error" else 200)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        named = rf"RAY_ADDRESS \({address}\)"
        with pytest.raises(UsageError, match=rf"no job server.* {named}|{named} is no job server"):
            JobClient(NamedAddress(address, "RAY_ADDRESS"))
        server.shutdown()


class Lost:
    """Ray's client of a job server that answers a few times and then no more."""

    def __init__(self, *, answers: int, ended: bool, logs_fail: int = 0) -> None:
        self.left, self.ended, self.logs_fail = answers, ended, logs_fail

    def get_job_info(self, job: str) -> SimpleNamespace:
        self.left -= 1
        if self.left < 0:
            raise ConnectionError("connection refused")
        status = JobStatus.SUCCEEDED if self.ended else JobStatus.RUNNING
        return SimpleNamespace(status=status, driver_exit_code=0, message="")

    def get_job_logs(self, job: str) -> str:
        self.logs_fail -= 1
        if self.logs_fail >= 0:
            raise RuntimeError("Request failed with status code 502")
        return "first\nlast\n"

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        yield "first\n"
        raise ConnectionError("broken")

    def submit_job(self, **_: object) -> str:
        raise FileNotFoundError("[Errno 2] No such file or directory: 'gone.txt'")


def follower(client: Lost) -> JobClient:
    made = JobClient.__new__(JobClient)
    made.address, made._client = "http://127.0.0.1:1", client
    return made


def test_a_job_that_is_lost_from_sight_goes_on_and_can_be_followed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipelines.jobs.client.LOST_SECONDS", 0.5)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(StoppedError) as lost:
        follower(Lost(answers=2, ended=False)).follow("raysubmit_1", lambda line: None)
    assert str(lost.value) == (
        "http://127.0.0.1:1 has not answered for 0.5 s; job raysubmit_1 goes on without this "
        "connection: to follow it again, RAY_ADDRESS=http://127.0.0.1:1 python -m harness.follow "
        "raysubmit_1"
    )


def test_the_end_of_a_log_is_asked_for_again_and_no_line_comes_twice() -> None:
    lines: list[str] = []
    end = follower(Lost(answers=10, ended=True, logs_fail=2)).follow("raysubmit_1", lines.append)
    assert (end.status, end.exit_status) == ("SUCCEEDED", 0)
    assert lines == ["first", "last"]


def test_a_folder_that_cannot_be_packed_is_not_blamed_on_the_server(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^the working folder \(.*\) can't be packed .*gone\.txt"):
        follower(Lost(answers=1, ended=False)).submit("python -m x", tmp_path, {})


def test_a_password_in_the_address_of_a_job_server_is_refused(tmp_path: Path) -> None:
    told = run_module("harness.loso", cwd=tmp_path, RAY_ADDRESS=f"http://me:{MARK}@127.0.0.1:1")
    assert (told.status, told.stdout) == (2, "")
    assert told.stderr.startswith("error: RAY_ADDRESS carries a password or a key")
    assert MARK not in told.stderr


@pytest.mark.long
def test_a_working_folder_that_is_too_large_is_told_as_that(cluster: Cluster) -> None:
    large = cluster.laptop / "large.bin"
    large.write_bytes(os.urandom(150 * 2**20))
    told = cluster.submit("pipelines.preprocess", *TINY)
    large.unlink()
    assert (told.status, told.stdout) == (2, "")
    assert f"the working folder ({cluster.laptop}) is larger than the 100 MiB" in told.stderr


@pytest.mark.parametrize(
    "module",
    [
        *("harness.loso", "harness.kfold", "harness.cross", "harness.search", "harness.ablate"),
        *("harness.fit", "pipelines.preprocess", "pipelines.extract"),
    ],
)
def test_each_command_that_works_on_ray_can_be_a_job_and_wants_a_server_for_it(
    module: str, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    told = forked_commands.run(module, "--detach", cwd=tmp_path)
    assert (told.status, told.stdout) == (2, "")
    last = told.stderr.splitlines()[-1]
    assert last.startswith("error: --detach is for a job on a cluster: set RAY_ADDRESS=")


@pytest.mark.long
def test_a_study_as_a_job_is_the_study_here_to_the_bit(cluster: Cluster, tmp_path: Path) -> None:
    settings = (*SMALL, "tracking.enabled=false", "name=study")
    job = cluster.submit("harness.loso", *settings, "--json")
    assert job.status == 0, job.stderr
    here = run_module("harness.loso", *settings, "--json", cwd=tmp_path)
    assert here.status == 0, here.stderr
    one, other = (
        pd.read_parquet(runs / "study" / "segment_predictions.parquet")
        for runs in (cluster.folder / "runs", tmp_path / "runs")
    )
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.long
def test_a_job_is_left_followed_again_and_stopped(cluster: Cluster) -> None:
    module, *settings = "harness.loso", *SMALL, "training.audio_epochs=500", "name=left"
    started = cluster.submit(module, *settings, "tracking.enabled=false", "--detach", "-q")
    assert (started.status, started.stderr) == (0, "")
    job = started.stdout.strip()
    for answer, said in (("leave\n", f"job {job} goes on"), ("stop\n", f"job {job} is stopped")):
        screen, status = follow_and_interrupt(cluster, job, answer)
        assert status == 130
        assert "stop the job, or leave it running?" in screen
        assert said in screen
        assert f"{cluster.address} python -m harness.follow {job}" in screen or answer == "stop\n"
    again = cluster.submit("harness.follow", job)
    assert again.status == 130
    assert f"job {job} was stopped" in again.stderr
    unknown = cluster.submit("harness.follow", "nothing")
    assert unknown.status == 2
    assert f"nothing is no job at {cluster.address}: there are raysubmit_" in unknown.stderr


def follow_and_interrupt(cluster: Cluster, job: str, answer: str) -> tuple[str, int]:
    """Follow a job in a terminal until it trains, press Ctrl-C there, and answer."""
    ours, theirs = pty.openpty()
    away = {"RAY_ADDRESS"}
    environment = {k: v for k, v in cluster.environment.items() if k not in away}
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.follow", job, f"cluster.address={cluster.address}"],
        cwd=cluster.laptop,
        env=clean_environment(TERM="xterm", COLUMNS="100", **environment),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    screen, interrupted, answered = b"", False, False
    with suppress(OSError):
        while part := os.read(ours, 65536):
            screen += part
            if b"train " in screen and not interrupted:
                process.send_signal(signal.SIGINT)
                interrupted = True
            if b"leave it running?" in screen and not answered:
                os.write(ours, answer.encode())
                answered = True
    os.close(ours)
    return screen.decode(errors="replace"), process.wait(60)
