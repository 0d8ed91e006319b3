"""Processes of a study on this machine alone are killed at seeded moments: its result is the same.

On three hosts: tests/cluster/test_faults_on_hosts.py.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from cluster_study import SPLITS, check_same
from conftest import SmallStudy, clean_environment, run_module
from faults import Fault, Struck

pytestmark = pytest.mark.long

KILLS = {
    # What -> a word of its command line, within seconds of the first.
    "a decode child": ("sandbox_child", 3.0),
    "a Data worker": ("ray::MapWorker(Map(ClipWorker", 3.0),
    # One at work: between two trials its process waits for the next.
    "a trial": ("ray::ImplicitFunc.train", 3.0),
    "the driver": ("harness.loso", 20.0),
}
MOST_COMMANDS = 4
PARENT = "mlflow.parentRunId"


def processes(pid: int, word: str) -> list[psutil.Process]:
    """Return a process and those below it whose command line has a word."""
    found = []
    with suppress(psutil.Error):
        ours = psutil.Process(pid)
        for each in (ours, *ours.children(recursive=True)):
            with suppress(psutil.Error):
                if word in " ".join(each.cmdline()):
                    found.append(each)
    return sorted(found, key=lambda each: each.pid)


def splits_in_mlflow(store: Path) -> list[str]:
    """Return the splits of the one study in a store, each as often as it is there as finished."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store}")
    experiment = client.get_experiment_by_name("emotion")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    return sorted(run.data.tags["split_id"] for run in runs if PARENT in run.data.tags)


@pytest.mark.parametrize(
    ("what", "seed"),
    [
        *(("a decode child", seed) for seed in (1, 2)),
        *(("a Data worker", seed) for seed in (3, 4)),
        *(("a trial", seed) for seed in (5, 6)),
        *(("the driver", seed) for seed in (7, 8, 9)),
    ],
)
def test_a_process_is_killed(small_study: SmallStudy, tmp_path: Path, what: str, seed: int) -> None:
    word, within_s = KILLS[what]
    study = subprocess.Popen(
        [sys.executable, "-m", "harness.loso", *small_study.arguments],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )

    def strike(chance: random.Random) -> str | None:
        found = processes(study.pid, word)
        if not found:
            return None
        victim = chance.choice(found)
        name = str(victim.name())
        victim.send_signal(signal.SIGKILL)
        return name

    row = Struck("one machine", what, seed)
    with Fault(strike, lambda: bool(processes(study.pid, word)), seed, within_s) as fault:
        _, said = study.communicate(timeout=900)
    assert fault.victim, f"{what} was never there to be struck"
    row.victim, row.after_s = fault.victim, fault.after_s
    assert what != "a trial" or "is tried again" in said, said
    again = 0
    status = study.returncode
    while status != 0:
        assert what == "the driver", said  # all else ends by itself
        again += 1
        assert again <= MOST_COMMANDS, said
        done = run_module("harness.loso", *small_study.arguments, cwd=tmp_path)
        status, said = done.status, done.stderr
    if again:
        row.ended = f"after the same command, {again} more"
    check_same(tmp_path / "runs" / "small", small_study.folder)
    assert sorted(path.stem for path in (tmp_path / "runs/small/splits").glob("*.json")) == SPLITS
    assert splits_in_mlflow(tmp_path / "runs" / "mlflow.db") == SPLITS
    row.same = True
    row.keep()
