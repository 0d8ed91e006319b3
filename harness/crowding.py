"""How many trials share a node, or a GPU: fewer where they ran out of its memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from pipelines.session import ClusterConfig, Host

_GPU_MEMORY = re.compile(r"CUDA out of memory|CUDA error: out of memory")
"""What torch says of a GPU's."""
_MEMORY = re.compile(r"OutOfMemoryError|\bMemoryError\b|can't allocate memory")
"""What Ray's memory monitor, Python and torch on a CPU say. A process that the kernel killed says
nothing, and is tried again as any other that died."""


class Shortage(Enum):
    """What a trial has not enough of: the memory of which."""

    NODE = "node"
    GPU = "GPU"


def shortage(error: BaseException) -> Shortage | None:
    """Return what a trial ran out of, by what Ray tells of its end; None if it ended otherwise."""
    told = f"{type(error).__name__}: {error}"
    if _GPU_MEMORY.search(told):
        return Shortage.GPU
    return Shortage.NODE if _MEMORY.search(told) else None


def bundles(cluster: ClusterConfig, crowding: int) -> list[dict[str, float]]:
    """Return what a trial reserves on one node: `crowding` times its CPUs, and of a shared GPU.

    The process itself gets the first of them: the same CPUs, and so the same threads and bits,
    however many share its node. What else it reserves is idle.
    """
    first = {"CPU": cluster.trial_cpus, "GPU": _gpus(cluster, crowding)}
    idle = {"CPU": cluster.trial_cpus * (crowding - 1)}
    return [
        told
        for bundle in (first, idle)
        if (told := {name: float(some) for name, some in bundle.items() if some})
    ]


def _gpus(cluster: ClusterConfig, crowding: int) -> float:
    """Return the GPUs that a trial reserves: whole ones are nobody else's anyway."""
    gpus = cluster.trial_gpus
    return min(1.0, gpus * crowding) if gpus < 1 else gpus


def next_crowding(
    cluster: ClusterConfig, crowding: int, hosts: Sequence[Host], short_of: Shortage
) -> int | None:
    """Return what leaves half as many trials, or fewer, where most are together; None if it can't.

    Args:
        cluster: what a trial takes.
        crowding: what it was.
        hosts: those that are there; some may be unable to hold a trial.
        short_of: whether fewer are to share a node, or a GPU.
    """
    if short_of is Shortage.GPU and not 0 < _gpus(cluster, crowding) <= 0.5:
        return None  # nobody else fits on it
    most = _together(cluster, crowding, hosts)
    largest = max((host.cpus for host in hosts), default=0) // cluster.trial_cpus
    for more in range(crowding + 1, largest + 1):
        if 1 <= _together(cluster, more, hosts) <= most // 2:
            return more
    return None


def _together(cluster: ClusterConfig, crowding: int, hosts: Sequence[Host]) -> int:
    """Return how many trials are together on the node that holds most of them."""
    cpus, gpus = cluster.trial_cpus * crowding, _gpus(cluster, crowding)
    return max((host.room(cpus, gpus) for host in hosts), default=0)
