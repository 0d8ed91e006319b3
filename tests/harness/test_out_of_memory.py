"""Too little memory: fewer trials share a node, what passes through Ray is small; the same bits."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from conftest import SMALL, Result, SmallStudy, run_module

from harness.crowding import bundles, is_out_of_memory, next_crowding
from pipelines.session import ClusterConfig

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


def test_half_as_many_each_time_until_a_trial_is_alone() -> None:
    steps, crowding = [], 1
    while (more := next_crowding(cluster(2, 0), crowding, 24)) is not None:
        steps.append(crowding := more)
    assert steps == [2, 4, 8, 12]
    assert next_crowding(cluster(4, 0), 1, 4) is None
    assert next_crowding(cluster(4, 0), 1, 0) is None


def test_what_says_that_memory_is_short() -> None:
    class OutOfMemoryError(Exception):
        """As Ray and torch name theirs."""

    assert is_out_of_memory(OutOfMemoryError("Task was killed"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert is_out_of_memory(RuntimeError("ray::train() ...\nMemoryError"))
    assert not is_out_of_memory(RuntimeError("killed by SIGKILL by OOM killer, or it crashed"))
    assert not is_out_of_memory(ValueError("memory"))


@pytest.mark.long
def test_trials_that_run_out_of_memory_together_run_one_after_the_other(tmp_path: Path) -> None:
    memory = psutil.virtual_memory()
    # What Ray, the driver and two trials take, and half of what the second trial eats.
    limit = memory.total - memory.available + (3000 + EATEN_MB * 3 // 2) * 2**20
    if memory.available < (3000 + EATEN_MB * 2) * 2**20:
        pytest.skip(f"{memory.available / 2**30:.0f} GiB of memory are too few for the test")
    shutil.copy(Path(__file__).parent.parent / "tiny_network.py", tmp_path)

    def run(name: str, **environment: str) -> Result:
        changes = ("cluster.trial_retries=0", "cluster.cpus=2", "tracking.enabled=false")
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
    assert "the CPUs of 2 reserved for each" in warning
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
