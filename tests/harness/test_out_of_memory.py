"""Too little memory: fewer trials share a node, what passes through Ray is small; the same bits."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from conftest import SMALL, Result, SmallStudy, run_module
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError

from harness.crowding import Shortage, bundles, next_crowding, shortage
from harness.tune_repairs import take_memory_kills_for_deaths
from pipelines.session import ClusterConfig, Host

HUNGRY = "model=tiny_network:HungryBackbone"
EATEN_MB = 3000


def cluster(cpus: int, gpus: float) -> ClusterConfig:
    return ClusterConfig(trial_cpus=cpus, trial_gpus=gpus)


def test_the_process_keeps_its_cpus_and_fewer_fit_on_a_node() -> None:
    assert bundles(cluster(1, 0), 1) == [{"CPU": 1.0}]
    assert bundles(cluster(2, 0), 4) == [{"CPU": 2.0}, {"CPU": 6.0}]
    assert bundles(cluster(2, 0.25), 2) == [{"CPU": 2.0, "GPU": 0.5}, {"CPU": 2.0}]
    assert bundles(cluster(1, 0.25), 8)[0] == {"CPU": 1.0, "GPU": 1.0}
    assert bundles(cluster(1, 1), 2) == [{"CPU": 1.0, "GPU": 1.0}, {"CPU": 1.0}]


@pytest.mark.parametrize(
    ("each", "hosts", "counts"),
    [
        (cluster(2, 0), [Host(24)], [12, 6, 3, 1]),
        (cluster(4, 0), [Host(4)], [1]),
        (cluster(4, 0), [], [0]),
        # Where CPUs abound a trial has to reserve many before one GPU fewer is used.
        (cluster(1, 1), [Host(48, 4)], [4, 2, 1]),
        (cluster(1, 0.5), [Host(48, 4)], [8, 4, 2, 1]),
        # A host without a GPU is none on which a trial could wait to be alone.
        (cluster(1, 1), [Host(16), Host(8, 1)], [1]),
        (cluster(1, 1), [Host(16), Host(8, 2)], [2, 1]),
    ],
)
def test_half_as_many_each_time_until_a_trial_is_alone(
    each: ClusterConfig, hosts: list[Host], counts: list[int]
) -> None:
    """By Ray's own arithmetic: what is reserved fits so many times into a host."""

    def together(crowding: int) -> int:
        reserved = bundles(each, crowding)
        cpus = sum(bundle.get("CPU", 0) for bundle in reserved)
        gpus = sum(bundle.get("GPU", 0) for bundle in reserved)
        return max(
            (
                min(int(host.cpus // cpus), int(host.gpus // gpus) if gpus else 1000)
                for host in hosts
            ),
            default=0,
        )

    crowding: int | None = 1
    found = []
    while crowding is not None:
        found.append(together(crowding))
        crowding = next_crowding(each, crowding, hosts, Shortage.NODE)
    assert found == counts


def test_a_gpus_memory_is_shared_by_fewer_until_one_has_a_gpu_to_itself() -> None:
    hosts = [Host(48, 4)]
    found, crowding = [], next_crowding(cluster(1, 0.25), 1, hosts, Shortage.GPU)
    while crowding is not None:
        found.append(bundles(cluster(1, 0.25), crowding)[0]["GPU"])
        crowding = next_crowding(cluster(1, 0.25), crowding, hosts, Shortage.GPU)
    # Beside three quarters of a GPU none of them has room.
    assert found == [0.5, 0.75]
    # Whoever has it whole gains nothing by fewer on its host.
    assert next_crowding(cluster(1, 1), 1, hosts, Shortage.GPU) is None
    assert next_crowding(cluster(1, 0), 1, hosts, Shortage.GPU) is None


def test_what_says_that_memory_is_short() -> None:
    class OutOfMemoryError(Exception):
        """As Ray and torch name theirs."""

    assert shortage(OutOfMemoryError("Task was killed")) is Shortage.NODE
    on_cpu = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
    assert shortage(on_cpu) is Shortage.NODE
    assert shortage(RuntimeError("ray::train() ...\nMemoryError")) is Shortage.NODE
    on_gpu = "CUDA out of memory. Tried to allocate 2 GiB"
    assert shortage(OutOfMemoryError(on_gpu)) is Shortage.GPU
    assert shortage(RuntimeError(f"ray::train()\ntorch.OutOfMemoryError: {on_gpu}")) is Shortage.GPU
    assert shortage(RuntimeError("killed by SIGKILL by OOM killer, or it crashed")) is None
    assert shortage(ValueError("memory")) is None


def test_a_trial_that_the_memory_monitor_killed_is_one_that_failed_and_no_more() -> None:
    """Tune's own handler would end the whole run: it takes the death of an actor alone for one."""
    take_memory_kills_for_deaths()
    take_memory_kills_for_deaths()  # once is enough
    ended: list[tuple[str, Exception]] = []
    actor = SimpleNamespace(actor_id=7, _on_error=lambda _, error: ended.append(("actor", error)))
    task = SimpleNamespace(
        _tracked_actor=actor, _on_error=lambda _, error: ended.append(("task", error))
    )
    manager = SimpleNamespace(_failed_actor_ids=set(), _cleanup_actor=lambda tracked_actor: None)
    handler: Any = RayActorManager._actor_task_failed
    killed: Any = OutOfMemoryError
    error = killed("1 worker was killed: 8 GB used\nTop 10 users:\n")
    handler(manager, tracked_actor_task=task, exception=error)  # by name, as Tune does
    assert [kind for kind, _ in ended] == ["actor", "task"]
    for _, error in ended:
        assert isinstance(error, RayActorError)
        assert str(error) == "OutOfMemoryError: 1 worker was killed: 8 GB used"
        assert shortage(error) is Shortage.NODE
    with pytest.raises(RuntimeError, match="unexpected"):
        handler(manager, task, ValueError("something else"))


@pytest.mark.long
@pytest.mark.alone
def test_trials_that_run_out_of_memory_together_run_one_after_the_other(tmp_path: Path) -> None:
    memory = psutil.virtual_memory()
    # What Ray, the driver and two trials take, and half of what the second trial eats.
    limit = memory.total - memory.available + (3000 + EATEN_MB * 3 // 2) * 2**20
    if memory.available < (3000 + EATEN_MB * 2) * 2**20:
        pytest.skip(f"{memory.available / 2**30:.0f} GiB of memory are too few for the test")
    shutil.copy(Path(__file__).parent.parent / "tiny_network.py", tmp_path)

    def run(name: str, **environment: str) -> Result:
        changes = ("cluster.trial_retries=5", "cluster.cpus=2", "tracking.enabled=false")
        done = run_module(
            "harness.loso", *SMALL, HUNGRY, *changes, f"name={name}", cwd=tmp_path, **environment
        )
        assert done.status == 0, done.stderr
        return done

    run("undisturbed", HUNGRY_MB="0")
    short = run(
        "short",
        HUNGRY_MB=str(EATEN_MB),
        RAY_memory_usage_threshold=f"{limit / memory.total:.4f}",
        RAY_memory_monitor_refresh_ms="50",
    )
    (warning,) = [line for line in short.stderr.splitlines() if "ran out of memory" in line]
    assert "2 CPUs reserved for each, so that fewer share a node" in warning
    # Not once more as crowded as before.
    assert "was cut short" not in short.stderr
    one, other = (tmp_path / "runs" / name for name in ("undisturbed", "short"))
    for name in ("predictions.parquet", "segment_predictions.parquet"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.long
def test_a_study_larger_than_the_object_store_ends(small_study: SmallStudy, tmp_path: Path) -> None:
    store_mb = 80  # Ray's least
    held = sum(path.stat().st_size for path in small_study.shards.rglob("*.parquet"))
    assert held > store_mb * 2**20
    small = f"cluster.object_store_mb={store_mb}"
    done = run_module("harness.loso", *small_study.arguments, small, cwd=tmp_path)
    assert done.status == 0, done.stderr
    for name in ("predictions.parquet", "segment_predictions.parquet"):
        same = (tmp_path / "runs" / "small" / name).read_bytes()
        assert same == (small_study.folder / name).read_bytes()
