"""Says which hosts of a cluster go and come while a command works on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

Say = Callable[[str], None]
Node = Mapping[str, Any]
"""What Ray tells of one: a host that has left and come again is two."""

LOOK_EVERY_S = 1.0
LEAVE_S = 5.0
"""For a look that is going on when the command ends: Ray's head may be gone, and never answer."""
IDLE = 4
"""Ray's reason for one that an autoscaler took away because nothing ran on it."""
BY_AUTOSCALER = "Terminated by autoscaler"
"""What the older autoscaler has Ray say of one that it took away: idle, or not as wanted now."""


@contextmanager
def hosts_watched(*, lost: Say, changed: Say) -> Iterator[None]:
    """Watch the hosts of the Ray that is joined until the block ends.

    Args:
        lost: told, in a line, of a host that was lost, and why.
        changed: told, in a line, of one that has come, or that the autoscaler took away.
    """
    over = threading.Event()
    known = {node["NodeID"] for node in _nodes() if node["Alive"]}
    watch = threading.Thread(target=_watch, args=(known, over, lost, changed), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join(LEAVE_S)


def _watch(known: set[str], over: threading.Event, lost: Say, changed: Say) -> None:
    while not over.wait(LOOK_EVERY_S):
        # Where the head is gone, or busy, whoever works on it finds out, and says so.
        with suppress(Exception):
            tell_changes(known, _nodes(), lost, changed)


def tell_changes(known: set[str], nodes: Sequence[Node], lost: Say, changed: Say) -> None:
    """Tell of the nodes that have gone or come since `known`, and bring it up to date."""
    alive = [node for node in nodes if node["Alive"]]
    now = ", ".join(
        f"{sum(node['Resources'].get(what, 0) for node in alive):g} {what}s"
        for what in ("CPU", "GPU")
    )
    for node in nodes:
        name, host = node["NodeID"], f"host {node['NodeManagerAddress']}"
        if node["Alive"] and name not in known:
            known.add(name)
            changed(f"{host} has come: the cluster has {now} now")
        elif not node["Alive"] and name in known:
            known.remove(name)
            why = node["DeathReasonMessage"]
            if node["DeathReason"] == IDLE or why.startswith(BY_AUTOSCALER):
                changed(f"{host} was given back by the autoscaler: the cluster has {now} now")
                continue
            lost(
                f"{host} is gone{f' ({why})' if why else ''}: what it was doing is tried again "
                f"elsewhere; the cluster has {now} now"
            )


def _nodes() -> list[Node]:
    import ray

    nodes: list[Node] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes
