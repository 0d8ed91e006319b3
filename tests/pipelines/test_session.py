"""A trial that has no room: refused where nothing can grow, said where it may."""

from __future__ import annotations

import pytest

from pipelines.errors import UsageError
from pipelines.session import ClusterConfig, Place, check_trial_fits


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        (ClusterConfig(trial_cpus=3), r"^cluster\.trial_cpus \(3\) is more than the 2 CPUs here$"),
        (ClusterConfig(extract_cpus=3), r"^cluster\.extract_cpus \(3\) is more than the 2 CPUs"),
        (ClusterConfig(trial_gpus=0.5), r"^cluster\.trial_gpus \(0\.5\) is more than the 0 GPUs"),
    ],
)
def test_a_local_ray_never_grows(config: ClusterConfig, refused: str) -> None:
    said: list[str] = []
    place = Place(address="local", local=True, cpus=2, gpus=0)
    with pytest.raises(UsageError, match=refused):
        check_trial_fits(config, place, said.append)
    check_trial_fits(ClusterConfig(trial_cpus=2, extract_cpus=2), place, said.append)
    assert said == []


@pytest.mark.parametrize(("gpus", "waits"), [(0, True), (1, False)])
def test_a_cluster_without_a_gpu_is_said_to_be_waited_for(gpus: int, waits: bool) -> None:
    said: list[str] = []
    place = Place(address="10.0.0.1:6379", local=False, cpus=0, gpus=gpus, largest=0)
    check_trial_fits(ClusterConfig(trial_gpus=1), place, said.append)
    assert said == [
        "the cluster has 0 GPUs now, and a trial takes 1 (cluster.trial_gpus): it waits until the "
        "cluster adds a host that has them"
    ] * int(waits)


def test_a_trial_larger_than_any_host_is_said_to_wait() -> None:
    said: list[str] = []
    place = Place(address="10.0.0.1:6379", local=False, cpus=8, gpus=0, largest=4)
    check_trial_fits(ClusterConfig(trial_cpus=4, extract_cpus=5), place, said.append)
    (line,) = said
    assert line.startswith("no host of the cluster has the 5 CPUs of cluster.extract_cpus now, ")
