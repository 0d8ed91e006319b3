"""Hosts of a real Ray that go and come are told of, each once, while something runs on it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from pipelines import host_watch
from pipelines.host_watch import tell_changes
from pipelines.progress import Reporter
from pipelines.session import ClusterConfig, ray_session

SOON_S = 20.0
NEW = {"NodeID": "9", "NodeManagerAddress": "10.0.0.9", "Resources": {"CPU": 2.0}}


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, Any]]:
    """Yield a cluster of two nodes of this machine, and the one that is not its head."""
    # Of its own: in Ray's usual folder any other command here would find the cluster and join it.
    temporary = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # short, for Ray's sockets
    monkeypatch.setenv("RAY_TMPDIR", temporary)
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        yield cluster, cluster.add_node(**node)
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]
        shutil.rmtree(temporary, ignore_errors=True)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Told(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_one_that_is_told_to_end_and_one_that_comes_are_said(
    two_nodes: tuple[Cluster, Any],
) -> None:
    cluster, second = two_nodes
    left = Path(os.environ["RAY_TMPDIR"]) / "ray" / "ray_current_cluster"
    assert left.read_text() == cluster.address
    told = Told()
    address = "127.0.0.1" if cluster.address is None else cluster.address
    with ray_session(ClusterConfig(address=address), told) as place:
        assert place.cpus == 2
        # As a spot instance ends: its system ends Ray.
        cluster.remove_node(second, allow_graceful=True)
        wait_until(lambda: bool(told.warnings))
        cluster.add_node(num_cpus=3)
        wait_until(lambda: len(told.lines) > 1)
        time.sleep(2.5)
    (gone,) = told.warnings
    assert re.fullmatch(
        r"host [\d.]+ is gone \(received SIGTERM\): what it was doing is tried again elsewhere; "
        r"the cluster has 1 CPUs, 0 GPUs now",
        gone,
    )
    where, came = told.lines
    assert where.startswith(f"running on the Ray cluster at {address}: 2 CPUs")
    assert re.fullmatch(r"host [\d.]+ has come: the cluster has 4 CPUs, 0 GPUs now", came)


def test_one_that_was_idle_and_is_given_back_is_no_loss() -> None:
    lost: list[str] = []
    changed: list[str] = []

    def node(name: str, **told: Any) -> dict[str, Any]:
        return {
            "NodeID": name,
            "NodeManagerAddress": f"10.0.0.{name}",
            "Alive": True,
            "Resources": {"CPU": 4.0, "GPU": 0.5},
            **told,
        }

    known = {"1", "2", "3", "4"}
    # By the newer autoscaler, and by the older one; and one whose plug was pulled.
    newer = node("2", Alive=False, DeathReason=4, DeathReasonMessage="idle for long")
    older = node("3", Alive=False, DeathReason=1, DeathReasonMessage="Terminated by autoscaler.")
    pulled = node("4", Alive=False, DeathReason=2, DeathReasonMessage="")
    for _ in range(2):
        tell_changes(known, [node("1"), newer, older, pulled], lost.append, changed.append)
    now = "the cluster has 4 CPUs, 0.5 GPUs now"
    assert changed == [f"host 10.0.0.{n} was given back by the autoscaler: {now}" for n in (2, 3)]
    assert lost == [f"host 10.0.0.4 is gone: what it was doing is tried again elsewhere; {now}"]
    assert known == {"1"}


def test_a_head_that_does_not_answer_once_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [[], ConnectionError("busy"), [{**NEW, "Alive": True}]]

    def nodes() -> Any:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(host_watch, "_nodes", nodes)
    monkeypatch.setattr(host_watch, "LOOK_EVERY_S", 0.01)
    said: list[str] = []
    with host_watch.hosts_watched(lost=said.append, changed=said.append):
        wait_until(lambda: bool(said))
    assert said == ["host 10.0.0.9 has come: the cluster has 2 CPUs, 0 GPUs now"]
