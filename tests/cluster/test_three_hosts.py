"""`ray up`, then a study as a job from outside: three hosts find what one machine finds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cluster_study import SPLITS, arguments, check_same, children_in_mlflow, run_to_the_end
from conftest import SMALL
from faults import Fault, Struck, killer
from ray_up import Cluster

pytestmark = pytest.mark.cluster


class Seen:
    """Which hosts were seen to have a kind of process."""

    def __init__(self) -> None:
        self.hosts: dict[str, set[str]] = {}


@contextmanager
def watched(cluster: Cluster, **kinds: str) -> Iterator[Seen]:
    """Look at the hosts' processes until the block ends."""
    seen, over = Seen(), threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            for kind, word in kinds.items():
                found = cluster.hosts.processes(word)
                seen.hosts.setdefault(kind, set()).update(n for n, some in found.items() if some)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_a_study_from_outside_runs_on_all_hosts_and_finds_what_one_machine_finds(
    cluster: Cluster, undisturbed: Path
) -> None:
    with watched(cluster, decoding="sandbox_child", training="ImplicitFunc") as seen:
        prepared = cluster.submit("pipelines.preprocess", *SMALL[:3])
        assert prepared.status == 0, prepared.stderr
        done = cluster.submit("harness.loso", *SMALL, "name=three")
    assert done.status == 0, done.stderr
    everywhere = {host.name for host in cluster.hosts}
    assert seen.hosts == {"decoding": everywhere, "training": everywhere}
    assert "on the Ray cluster at" in done.stderr
    assert "6 CPUs" in done.stderr
    check_same(cluster.runs / "three", undisturbed)
    assert children_in_mlflow(cluster, "three") == SPLITS


def test_three_faults_in_one_study_change_nothing(cluster: Cluster, undisturbed: Path) -> None:
    """A decode child, a trial and all of Ray on a worker are killed, each at its moment."""
    kinds = {
        "a decode child": killer(cluster.hosts.all, ("sandbox_child",)),
        "a trial": killer(cluster.hosts.all, (), "ray::ImplicitFunc"),
        "a raylet": (
            killer(cluster.hosts.all, (), "ray::ImplicitFunc")[0],
            killer(cluster.workers, ("raylet/raylet",))[1],
        ),
    }
    rows = []
    with ExitStack() as faults:
        struck = [
            faults.enter_context(Fault(strike, there, 90 + number, 4.0))
            for number, (there, strike) in enumerate(kinds.values())
        ]
        done = cluster.submit("harness.loso", *arguments("faults"))
    for what, fault in zip(kinds, struck, strict=True):
        assert fault.victim, f"{what} was never there to be struck"
        rows.append(Struck("three hosts", what, fault.seed, fault.victim, fault.after_s))
    if done.status != 0:
        _, again = run_to_the_end(cluster, "faults")
        rows = [replace(row, ended=f"after the same command, {again} more") for row in rows]
    check_same(cluster.runs / "faults", undisturbed)
    assert children_in_mlflow(cluster, "faults") == SPLITS
    for row in rows:
        row.same = True
        row.keep()
