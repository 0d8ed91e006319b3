"""`ray up`, then a study as a job from outside: three hosts find what one machine finds."""

from __future__ import annotations

import http.client
import json
import re
import shlex
import shutil
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from cluster_study import (
    SPLITS,
    arguments,
    ask,
    check_same,
    children_in_mlflow,
    run_to_the_end,
    watched,
)
from conftest import SMALL, run_module
from faults import CLIPS, CUT_SHORT, TRIAL, Fault, Struck, kill, kill_ray, striker
from hosts import Host
from ray_up import Cluster

pytestmark = pytest.mark.cluster

MANY_CLIPS = ("corpus.subjects=6", "corpus.takes=3", "corpus.difficulty=0.2")
"""Enough that hosts which start their processes late find some left."""
SIX_SPLITS = (*SMALL, *MANY_CLIPS, "training.audio_epochs=1", "training.fusion_epochs=1")
"""One for each CPU of the three hosts: two of them could hold the three of a small study."""
SERVERS, SERVERS_S = {("127.0.0.1", 8265), ("127.0.0.1", 5000)}, 120.0
"""MLflow's takes its time to start after `ray up`."""
TRIES = 3
"""Of Ray's client, whose server on the head starts a process for each: on two cores it may give up
before that is there, or find it ended."""
NOT_STARTED = ("Starting Ray client server failed", "psutil.ZombieProcess")
"""What the client tells then, which says nothing of whether it would have been let in."""

COMMANDS = {
    "kfold": ("protocol.folds=3",),
    "search": ("training.trunk=frozen", "search.trials=2", "search.round=2", "search.startup=2"),
}
"""Of those that submit themselves: what each is told besides."""


def six_here(cluster: Cluster, cwd: Path) -> Path:
    """Return the folder of the study of six splits, on this machine alone, from the same videos."""
    shutil.copytree(cluster.data / "corpora", cwd / "data" / "corpora")
    done = run_module("harness.loso", *SIX_SPLITS, "name=six", cwd=cwd)
    assert done.status == 0, done.stderr
    return cwd / "runs" / "six"


def test_a_study_from_outside_runs_on_all_hosts_and_finds_what_one_machine_finds(
    cluster: Cluster, tmp_path: Path
) -> None:
    with watched(cluster, decoding="sandbox_child", training=TRIAL[1]) as seen:
        prepared = cluster.submit("pipelines.preprocess", *MANY_CLIPS)
        assert prepared.status == 0, prepared.stderr
        done = cluster.submit("harness.loso", *SIX_SPLITS, "name=six")
    assert done.status == 0, done.stderr
    assert "preprocess: 108 clips were done before" in done.stderr
    everywhere = {host.name for host in cluster.hosts}
    assert seen.hosts == {"decoding": everywhere, "training": everywhere}
    # On two CPUs of each host.
    assert seen.most["decoding"] == 6
    assert "on the Ray cluster at" in done.stderr
    assert "6 CPUs" in done.stderr
    check_same(cluster.runs / "six", six_here(cluster, tmp_path))
    assert children_in_mlflow(cluster, "six") == [f"loso-s{number:02d}" for number in range(1, 7)]
    # The server brings the files of all, also of whoever logs without naming an experiment.
    with cluster.tunnel(5000) as port:
        experiments = ask(port, "experiments/search", {"max_results": 100})["experiments"]
    places = {each["name"]: each["artifact_location"].partition("/")[0] for each in experiments}
    assert places["Default"] == places["emotion"] == "mlflow-artifacts:"


def listening(host: Host) -> set[tuple[str, int, str]]:
    """Return address, port and program of what listens on a host."""
    found = set()
    for line in host.run("ss --listening --tcp --numeric --processes --no-header").splitlines():
        if told := re.match(r'LISTEN +\d+ +\d+ +(\S+):(\d+) .*\(\("([^"]+)', line):
            found.add((told[1].split("%")[0], int(told[2]), told[3]))
    return found


def answer_to_a_stranger(host: Host, port: int) -> int | None:
    """Return how a web server there answers without a token; None where there is none."""
    try:
        with urllib.request.urlopen(f"http://{host.address}:{port}/metrics", timeout=3) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return None


@pytest.mark.long
def test_ray_and_ssh_alone_listen_to_the_hosts_and_ray_wants_the_token(cluster: Cluster) -> None:
    for host in cluster.hosts:
        everyone = {
            (port, program)
            for address, port, program in listening(host)
            if not address.startswith(("127.", "[::1", "[::ffff:127."))
        }
        assert (22, "sshd") in everyone
        others = {each for each in everyone if not each[1].startswith(("sshd", "ray", "gcs"))}
        # What Ray calls its client's server, on the head.
        assert others <= {(10001, "python")}, host.name
        # None of them tells anything to who has no token: metrics, for example.
        answers = {each: answer_to_a_stranger(host, each[0]) for each in everyone}
        assert 200 not in answers.values(), (host.name, answers)
    # The dashboard with its job server, and MLflow: brought by ssh to whoever has the key.
    deadline = time.monotonic() + SERVERS_S
    while not (here := {told[:2] for told in listening(cluster.head)}) >= SERVERS:
        assert time.monotonic() < deadline, here
        time.sleep(1.0)
    for address in (f"{cluster.head.address}:6379", f"ray://{cluster.head.address}:10001"):
        asks = f"import ray; ray.init('{address}'); print(ray.nodes())"
        for mode, let_in in (("token", True), ("disabled", False)):
            for _ in range(TRIES):
                command = f'RAY_AUTH_MODE={mode} python -c "{asks}" 2>&1 || true'
                told = cluster.workers[0].run(command)
                answered = not any(words in told for words in NOT_STARTED)
                if answered:
                    break
            assert answered, told
            assert ("NodeManagerAddress" in told) == let_in, told


@pytest.mark.long
def test_on_the_head_a_bare_command_joins_the_cluster(cluster: Cluster, undisturbed: Path) -> None:
    command = f"cd ~/harness && python -m harness.loso {shlex.join(arguments('on-head'))} 2>&1"
    said = cluster.head.run(command, 600.0)
    assert re.search(
        rf"running on the Ray cluster at {cluster.head.address}:6379: 6 CPUs, 0 GPUs$", said, re.M
    ), said
    check_same(cluster.runs / "on-head", undisturbed)
    assert children_in_mlflow(cluster, "on-head") == SPLITS


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_other_studies_are_submitted_as_well(
    cluster: Cluster, tmp_path: Path, command: str
) -> None:
    settings = (*SMALL, *COMMANDS[command], f"name={command}")
    done = cluster.submit(f"harness.{command}", *settings)
    here = run_module(f"harness.{command}", *settings, cwd=tmp_path)
    assert (done.status, here.status) == (0, 0), done.stderr + here.stderr
    assert "on the Ray cluster at" in done.stderr
    assert "6 CPUs" in done.stderr
    # The log on the way, and the results on stdout, but for where they lie.
    assert re.search(r"train: \d of \d", done.stderr), done.stderr
    there, local = cluster.runs / command, tmp_path / "runs" / command
    check_same(there, local)
    if command == "search":
        chosen = [
            json.loads((folder / "summary.json").read_text())["search"]["splits"]
            for folder in (there, local)
        ]
        assert chosen[0] == chosen[1]


@pytest.mark.long
def test_three_faults_in_one_study_change_nothing(cluster: Cluster, undisturbed: Path) -> None:
    """A decode child, a trial and all of Ray on a worker are killed, each at its moment."""
    kinds = {
        "a decode child": striker(cluster.hosts.all, CLIPS, kill),
        "a trial": striker(cluster.hosts.all, TRIAL, kill),
        "a raylet": striker(cluster.workers, TRIAL, kill_ray),
    }
    rows = []
    with ExitStack() as faults:
        struck = [
            faults.enter_context(Fault(strike, there, 90 + number, 1.5))
            for number, (there, strike) in enumerate(kinds.values())
        ]
        done = cluster.submit("harness.loso", *arguments("faults"))
    assert CUT_SHORT.search(done.stderr), done.stderr
    for what, fault in zip(kinds, struck, strict=True):
        assert fault.victim, f"{what} was never there to be struck"
        at = "trials" if what == "a raylet" else ""
        rows.append(Struck("three hosts", what, fault.seed, fault.victim, at, fault.after_s))
    if done.status != 0:
        # Two of them struck the same trial, which is tried again once.
        assert "Traceback" not in done.stderr
        _, again = run_to_the_end(cluster, "faults")
        assert again == 1
        rows = [replace(row, ended=f"after the same command, {again} more") for row in rows]
    check_same(cluster.runs / "faults", undisturbed)
    assert children_in_mlflow(cluster, "faults") == SPLITS
    for row in rows:
        row.same = True
        row.keep()
