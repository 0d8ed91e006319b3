"""Says which hosts of a cluster go and come while a command works on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

Say = Callable[[str], None]
Node = Mapping[str, Any]
"""What Ray tells of one: a host that has left and come again is two."""

LOOK_EVERY_S = 1.0
LEAVE_S = 5.0
"""For a look that is going on when the command ends: Ray's head may be gone, and never answer."""
GIVEN_BACK = 4
"""Ray's reason for one that the autoscaler took away because nothing ran on it."""


@contextmanager
def hosts_watched(*, gone: Say, came: Say) -> Iterator[None]:
    """Watch the hosts of the Ray that is joined until the block ends.

    Args:
        gone: told, in a line, of a host that was lost, and why; of one that was idle, nothing.
        came: told, in a line, of one that has come.
    """
    over = threading.Event()
    known = {node["NodeID"] for node in _nodes() if node["Alive"]}
    watch = threading.Thread(target=_watch, args=(known, over, gone, came), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join(LEAVE_S)


def _watch(known: set[str], over: threading.Event, gone: Say, came: Say) -> None:
    while not over.wait(LOOK_EVERY_S):
        try:
            nodes = _nodes()
        except Exception:
            # The head is gone: whoever works on it finds out, and says so.
            return
        tell_changes(known, nodes, gone, came)


def tell_changes(known: set[str], nodes: Sequence[Node], gone: Say, came: Say) -> None:
    """Tell of the nodes that have gone or come since `known`, and bring it up to date."""
    alive = [node for node in nodes if node["Alive"]]
    now = ", ".join(
        f"{sum(node['Resources'].get(what, 0) for node in alive):g} {what}s"
        for what in ("CPU", "GPU")
    )
    for node in nodes:
        name, address = node["NodeID"], node["NodeManagerAddress"]
        if node["Alive"] and name not in known:
            known.add(name)
            came(f"host {address} has come: the cluster has {now} now")
        elif not node["Alive"] and name in known:
            known.remove(name)
            if node["DeathReason"] != GIVEN_BACK:
                why = f" ({told})" if (told := node["DeathReasonMessage"]) else ""
                gone(
                    f"host {address} is gone{why}: what it was doing is done elsewhere; the "
                    f"cluster has {now} now"
                )


def _nodes() -> list[Node]:
    import ray

    nodes: list[Node] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes
