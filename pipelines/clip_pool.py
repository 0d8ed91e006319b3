"""Clips through a pool of Ray Data actors, each of them to its end whatever becomes of the others.

A clip is a row and a block: one that is slow holds up no other. Ray would try a row that kills its
worker (out of memory, a crash in native code) for ever. Here the rows that a dead worker had are
tried again, each alone, so that those which only stood beside it come through; what kills two
workers of its own is lost, and is told apart.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.session import Place

Row = dict[str, Any]
ALONE = 2
"""Times that a row is tried alone: one death by itself may have been the machine's."""


@dataclass(frozen=True)
class PoolSize:
    """Actors of a pool."""

    first: int
    """As many as there is room for now."""
    grows: bool
    """Up to one a row, as the cluster grows: its autoscaler sees what is wanted."""
    share: int = 30
    """Rows that are worth an actor which waits for a host to be started: some minutes' work, which
    is what a host takes. Ray Data alone asks for one host, and for the next when that is busy."""

    @classmethod
    def on(
        cls,
        place: Place,
        *,
        cpus: int = 1,
        gpus: float = 0.0,
        told: int | None = None,
        share: int = share,
    ) -> PoolSize:
        """Return as many as a place has room for.

        Args:
            place: where they run. A cluster may have no CPU yet when it is asked.
            cpus: of each actor.
            gpus: of each actor.
            told: how many the user wants; unset: all that there is room for.
            share: rows that are worth an actor which waits for a host.
        """
        room = int(place.gpus / gpus) if gpus else place.cpus // cpus
        return cls(max(1, told or room), grows=told is None and not place.local, share=share)

    def at_first(self, rows: int) -> int:
        """Return the actors to begin with, those that wait for hosts among them."""
        wanted = math.ceil(rows / self.share) if self.grows else 0
        return min(max(self.first, wanted), rows)


ONE = PoolSize(1, grows=False)


def map_clips(
    worker: type,
    arguments: Mapping[str, Any],
    rows: Sequence[Row],
    size: PoolSize,
    *,
    cpus: int = 1,
    gpus: float = 0.0,
) -> Generator[Row]:
    """Send rows through a pool of actors and yield what comes back, as it comes.

    To be closed (`contextlib.closing`) before Ray is left: Ray Data's thread would look for the
    blocks that are on their way, and start a Ray of its own to find them.

    Args:
        worker: made once an actor from `arguments`; takes a row and returns one, with the same
            `clip_id`. Its constructor must not raise.
        arguments: of the constructor.
        rows: each with a `clip_id` of its own.
        size: how many actors.
        cpus: of each actor.
        gpus: of each actor.

    Yields:
        The returned rows; for one that kills workers again and again, `{"clip_id": ...,
        "lost": True}`.
    """
    left = {row["clip_id"]: row for row in rows}
    for answer in _pass(worker, arguments, rows, size, cpus, gpus):
        del left[answer["clip_id"]]
        yield answer
    # Each with a worker of its own: Ray may hand a row to a worker that another has just killed.
    for clip_id in sorted(left):
        for _ in range(ALONE):
            answers = list(_pass(worker, arguments, [left[clip_id]], ONE, cpus, gpus))
            if answers:
                break
        yield answers[0] if answers else {"clip_id": clip_id, "lost": True}


def _pass(
    worker: type,
    arguments: Mapping[str, Any],
    rows: Sequence[Row],
    size: PoolSize,
    cpus: int,
    gpus: float,
) -> Generator[Row]:
    import ray

    if not rows:
        return
    # A block is lost with its worker, and left out of what comes back: there is one row in each.
    ray.data.DataContext.get_current().max_errored_blocks = -1
    dataset = ray.data.from_items(list(rows), override_num_blocks=len(rows))
    mapped = dataset.map(
        worker,
        fn_constructor_kwargs=dict(arguments),
        compute=_strategy(size, len(rows)),
        num_cpus=cpus,
        num_gpus=gpus or None,
        max_task_retries=0,
    )
    yield from mapped.iter_rows()


def _strategy(size: PoolSize, rows: int) -> Any:
    from ray.data import ActorPoolStrategy

    first = size.at_first(rows)
    if not size.grows:
        return ActorPoolStrategy(size=first)
    return ActorPoolStrategy(min_size=1, initial_size=first, max_size=rows)
