"""How many trials share a node: fewer where they ran out of its memory."""

from __future__ import annotations

import re

from pipelines.session import ClusterConfig

_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|\bMemoryError\b|CUDA out of memory|can't allocate memory"
)
"""What Ray's memory monitor, Python, torch on a GPU and torch on a CPU say. A process that the
kernel killed says nothing, and is tried again as any other that died."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a trial ended for want of memory, by what Ray tells of its end."""
    return _OUT_OF_MEMORY.search(f"{type(error).__name__}: {error}") is not None


def bundles(cluster: ClusterConfig, crowding: int) -> list[dict[str, float]]:
    """Return what a trial reserves on one node, so that it holds a `crowding`-th of them.

    The process itself gets the first of them: the same CPUs, and so the same threads and bits,
    however many share its node. What else it reserves is idle.
    """
    gpus = cluster.trial_gpus
    # Of a GPU that is shared it takes more; whole ones are nobody else's anyway.
    first = {"CPU": cluster.trial_cpus, "GPU": min(1.0, gpus * crowding) if gpus < 1 else gpus}
    idle = {"CPU": cluster.trial_cpus * (crowding - 1)}
    return [
        told
        for bundle in (first, idle)
        if (told := {name: float(some) for name, some in bundle.items() if some})
    ]


def next_crowding(cluster: ClusterConfig, crowding: int, node_cpus: int) -> int | None:
    """Return twice the crowding, or what leaves a trial alone on a node; None where it was alone.

    Args:
        cluster: what a trial takes.
        crowding: what it was.
        node_cpus: of the node that has most.
    """
    alone = max(1, node_cpus // cluster.trial_cpus)
    return min(2 * crowding, alone) if crowding < alone else None
