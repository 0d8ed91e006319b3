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
from faults import TRIAL, Fault, Struck, finished

pytestmark = pytest.mark.long

WORDS = {
    # What -> a word of its command line.
    "a decode child": "sandbox_child",
    "a Data worker": "ray::MapWorker(Map(ClipWorker",
    # One at work: between two trials its process waits for the next.
    "a trial": TRIAL[1],
    "the driver": "harness.loso",
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
    ("what", "at", "within_s", "seed"),
    [
        ("a decode child", "", 3.0, 1),
        ("a decode child", "", 3.0, 2),
        ("a Data worker", "", 3.0, 3),
        ("a Data worker", "", 3.0, 4),
        ("a trial", "", 3.0, 5),
        ("a trial", "", 3.0, 6),
        # When some clips are done, when splits are trained, and when one is entered.
        ("the driver", "clips", 3.0, 7),
        ("the driver", "trials", 3.0, 8),
        ("the driver", "the last trial", 0.5, 9),
    ],
)
def test_a_process_is_killed(
    small_study: SmallStudy, tmp_path: Path, what: str, at: str, within_s: float, seed: int
) -> None:
    """Struck within some seconds of its first moment: of its own, or of what a driver is at."""
    study = subprocess.Popen(
        [sys.executable, "-m", "harness.loso", *small_study.arguments],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )

    def strike(chance: random.Random) -> str | None:
        found = processes(study.pid, WORDS[what])
        if not found:
            return None
        victim = chance.choice(found)
        with suppress(psutil.NoSuchProcess):
            name = str(victim.name())
            victim.send_signal(signal.SIGKILL)
            return name
        return None

    def done() -> dict[Path, int]:
        return finished(tmp_path / "data", tmp_path / "runs" / "small")

    def there() -> bool:
        if at == "clips":
            return bool(done())
        if at == "the last trial":
            return any(path.suffix == ".json" for path in done())
        return bool(processes(study.pid, WORDS["a trial" if at == "trials" else what]))

    row = Struck("one machine", what, seed, at=at)
    with Fault(strike, there, seed, within_s) as fault:
        _, said = study.communicate(timeout=900)
    assert fault.victim, f"{what} was never there to be struck"
    row.victim, row.after_s = fault.victim, fault.after_s
    assert what != "a trial" or "is tried again" in said, said
    # Trials outlive their driver for a moment, and may still enter a split.
    before, again = done(), 0
    status = study.returncode
    # All else ends by itself.
    assert (status != 0) == (what == "the driver"), said
    assert before or status == 0, "nothing was done that could be lost"
    while status != 0:
        again += 1
        assert again <= MOST_COMMANDS, said
        next_one = run_module("harness.loso", *small_study.arguments, cwd=tmp_path)
        status, said = next_one.status, next_one.stderr
    if again:
        row.ended = f"after the same command, {again} more"
        # What was done was not done again.
        assert before.items() <= done().items()
    check_same(tmp_path / "runs" / "small", small_study.folder)
    assert sorted(path.stem for path in (tmp_path / "runs/small/splits").glob("*.json")) == SPLITS
    assert splits_in_mlflow(tmp_path / "runs" / "mlflow.db") == SPLITS
    row.same = True
    row.keep()
