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

KILLS = {
    # What -> a word of its command line, within seconds of the first.
    "a decode child": ("sandbox_child", 3.0),
    "a Data worker": ("ray::MapWorker(Map(ClipWorker", 3.0),
    # One at work: between two trials its process waits for the next.
    "a trial": (TRIAL[1], 3.0),
    # When some clips are done, when splits are trained, and when one is entered.
    "the driver, at clips": ("harness.loso", 3.0),
    "the driver, at trials": ("harness.loso", 3.0),
    "the driver, at the last trial": ("harness.loso", 0.5),
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
        ("the driver, at clips", 7),
        ("the driver, at trials", 8),
        ("the driver, at the last trial", 9),
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

    def done() -> dict[Path, int]:
        return finished(tmp_path / "data", tmp_path / "runs" / "small")

    def there() -> bool:
        if what == "the driver, at clips":
            return bool(done())
        if what == "the driver, at the last trial":
            return any(path.suffix == ".json" for path in done())
        return bool(processes(study.pid, TRIAL[1] if what == "the driver, at trials" else word))

    row = Struck("one machine", what.partition(",")[0], seed)
    with Fault(strike, there, seed, within_s) as fault:
        _, said = study.communicate(timeout=900)
    assert fault.victim, f"{what} was never there to be struck"
    moment = what.partition(",")[2]
    row.victim, row.after_s = fault.victim + (moment and f",{moment}"), fault.after_s
    assert what != "a trial" or "is tried again" in said, said
    # Trials outlive their driver for a moment, and may still enter a split.
    before, again = done(), 0
    status = study.returncode
    while status != 0:
        assert "driver" in what, said  # all else ends by itself
        assert before, "nothing was done that could be lost"
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
