"""Trials that end otherwise than Tune says: what is run again, how often, and what is entered."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray import tune
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError
from ray.util.placement_group import get_current_placement_group

from benchmarks.tune_splits import TinyStudy
from harness import scheduling
from harness.ledger import Ledger
from harness.trial_failures import Failures
from pipelines.session import ClusterConfig, Host


@dataclass
class PlayedJob:
    """A job whose trial comes to its end at the n-th time that it is run."""

    name: str
    ends_at: int
    config: Any
    runs: int = 0
    cleared: bool = False
    failure: str = ""
    unseen: int = 0
    """Looks until its host sees what the trial says that it has entered."""
    trials: Any = field(default=lambda classes: [])

    @property
    def unfinished(self) -> str | None:
        if self.unseen:
            self.unseen -= 1
            return self.name
        return self.name if self.runs < self.ends_at else None

    def clear(self) -> None:
        assert self.runs == 0, "what its trial has entered may be forgotten"
        self.cleared = True

    def enter_failure(self, error: str) -> None:
        if self.unfinished:
            self.failure = error


def play(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    ends: dict[str, int],
    retries: int,
    unseen: int = 0,
) -> tuple[dict[str, PlayedJob], list[list[str]]]:
    """Run jobs with a Tune that loses those which have not come to their end."""
    config = SimpleNamespace(cluster=ClusterConfig(trial_retries=retries))
    jobs = {name: PlayedJob(name, ends_at, config, unseen=unseen) for name, ends_at in ends.items()}
    rounds: list[list[str]] = []

    def run_once(
        files: dict[str, list[str]], config: Any, crowding: int, scratch: Path, watch: Any
    ) -> Failures:
        rounds.append(list(files))
        for name in files:
            assert jobs[name].cleared
            jobs[name].runs += 1
            if jobs[name].runs >= jobs[name].ends_at:
                watch.entered.add(name)
        return Failures(config.cluster, crowding)

    monkeypatch.setattr(scheduling, "_run_once", run_once)
    monkeypatch.setattr("harness.scheduling.time.sleep", lambda seconds: None)
    monkeypatch.setattr(scheduling, "hosts_now", lambda: (Host(2),))
    scheduling.run_jobs(
        list(jobs.values()),  # type: ignore[arg-type]
        classes=[],
        folder=folder,
        on_done=lambda name: None,
        on_epochs=lambda name, rows: None,
        say=print,
    )
    return jobs, rounds


def test_a_trial_that_tune_loses_is_run_again_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs, rounds = play(monkeypatch, tmp_path, {"a": 1, "b": 2, "c": 1}, retries=1)
    assert rounds == [["a", "b", "c"], ["b"]]
    assert capsys.readouterr().out == "b was lost with its process and is tried again\n"
    assert {job.failure for job in jobs.values()} == {""}


def test_one_that_has_entered_all_is_waited_for_until_that_is_seen_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jobs, rounds = play(monkeypatch, tmp_path, {"a": 1, "b": 1}, retries=1, unseen=20)
    assert rounds == [["a", "b"]]
    assert {job.failure for job in jobs.values()} == {""}


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_one_that_is_lost_each_time_has_failed_after_as_many_tries(
    retries: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jobs, rounds = play(monkeypatch, tmp_path, {"a": 1, "b": 99}, retries=retries)
    assert rounds == [["a", "b"], *([["b"]] * retries)]
    assert jobs["b"].failure == "the trial ended without a result"
    assert jobs["a"].failure == ""


def _run_on(study: TinyStudy, cpus: int) -> None:
    ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False)
    try:
        study.run()
    finally:
        ray.shutdown()


def _killed_once(split_id: str, marker: Path) -> Callable[[dict[str, Any]], None]:
    def told(config: dict[str, Any]) -> None:
        if config["trial"]["name"] == split_id and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        tune.report({"rows": [], "done": True})

    return told


def test_a_trial_whose_process_is_killed_is_tried_again_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = TinyStudy.write(tmp_path, subjects=3, cluster=[])
    study.config.cluster.trial_retries = 1
    struck = study.splits[1].split_id
    told = _killed_once(struck, tmp_path / "killed")
    monkeypatch.setattr("harness.scheduling.trainable", told)
    _run_on(study, cpus=1)
    said = capsys.readouterr().out.splitlines()
    cut = [line for line in said if "was cut short and is tried again (" in line]
    assert len(cut) == 1
    assert cut[0].startswith(struck)
    assert "worker process has died" in cut[0]
    assert len(cut[0]) < 300


def _short_of_memory(log: Path) -> Callable[[dict[str, Any]], None]:
    def told(config: dict[str, Any]) -> None:
        group = get_current_placement_group()
        assert group is not None
        reserved = sum(bundle["CPU"] for bundle in group.bundle_specs)
        with log.open("a") as file:
            file.write(f"{config['trial']['name']} {reserved:g}\n")
        raise MemoryError

    return told


def test_out_of_memory_none_is_tried_again_as_crowded_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = TinyStudy.write(tmp_path, subjects=3, cluster=[])
    study = replace(study, splits=study.splits[:2])
    study.config.cluster.trial_retries = 1
    log = tmp_path / "begun"
    monkeypatch.setattr("harness.scheduling.trainable", _short_of_memory(log))
    _run_on(study, cpus=2)
    names = [split.split_id for split in study.splits]
    # Alone on its node one that fails is tried again, as whatever fails.
    once_together, twice_alone = ({f"{name} {cpus}" for name in names} for cpus in (1, 2))
    assert Counter(log.read_text().splitlines()) == {
        **dict.fromkeys(once_together, 1),
        **dict.fromkeys(twice_alone, 2),
    }
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if "ran out of memory" in line] == [
        "2 of 2 trials ran out of memory: they are tried again with 2 CPUs reserved for each, so "
        "that fewer share a node"
    ]
    assert sum("was cut short" in line for line in said) == 2


def test_one_killed_for_memory_before_its_process_is_there_is_one_that_ran_out_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It never reported, and Tune's own result says neither what it was nor what ended it."""
    study = TinyStudy.write(tmp_path, subjects=3, cluster=[])
    study = replace(study, splits=study.splits[:2])
    log, manager = tmp_path / "begun", RayActorManager
    starts = manager._actor_start_resolved
    killed: list[Any] = []

    def kill_the_first_two(self: Any, tracked_actor: Any, future: Any) -> None:
        if len(killed) < 2:
            killed.append(tracked_actor)
            error: Any = OutOfMemoryError
            self._actor_start_failed(tracked_actor, error("1 worker was killed: 8 GB used"))
        else:
            starts(self, tracked_actor, future)

    monkeypatch.setattr(manager, "_actor_start_resolved", kill_the_first_two)
    monkeypatch.setattr("harness.scheduling.trainable", _short_of_memory(log))
    _run_on(study, cpus=2)
    names = [split.split_id for split in study.splits]
    assert Counter(log.read_text().splitlines()) == {f"{name} 2": 1 for name in names}
    said = capsys.readouterr().out.splitlines()
    assert not [line for line in said if "was cut short" in line or "was lost" in line]
    (short,) = [line for line in said if "ran out of memory" in line]
    assert short.startswith("2 of 2 trials ran out of memory: they are tried again with 2 CPUs")
    for name in names:
        entry = Ledger(study.folder / "study" / "splits").entry(name)
        assert entry is not None
        assert entry.error.startswith("out of memory with a node to itself: ")
