"""The hosts and the cluster of all tests on hosts; skipped by name where none can be made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hosts import Hosts, made_hosts

if TYPE_CHECKING:
    from ray_up import Cluster

NAMES = ("head", "first", "second")
BY_ITSELF_S = 90.0


@pytest.fixture(scope="session")
def hosts() -> Iterator[Hosts]:
    scratch = os.environ.get("HOSTS_SCRATCH")
    if scratch is None:
        pytest.skip(os.environ.get("NO_HOSTS", "hosts are made by `make test-cluster` alone"))
    with made_hosts(Path(scratch) / "hosts", NAMES) as made:
        yield made


@pytest.fixture(scope="session")
def cluster(hosts: Hosts) -> Iterator[Cluster]:
    from ray_up import ray_up  # which needs conftest, and that this file

    with ray_up(hosts, hosts.folder.parent / "laptop") as started:
        yield started


@pytest.fixture
def whole(cluster: Cluster) -> Cluster:
    """Return the cluster with all its hosts, whatever the test before left of it."""
    for host in cluster.hosts:
        if not host.runs:
            host.start()
    try:
        cluster.wait_for_nodes(cluster.hosts.all, limit_s=BY_ITSELF_S)
    except AssertionError:
        # Whether a host comes back by itself is for the test that lost it to say.
        there = cluster.nodes()
        for host in cluster.workers:
            if host.address not in there:
                cluster.join(host)
        cluster.wait_for_nodes(cluster.hosts.all)
    cluster.wait_until_settled()
    return cluster


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the study that nothing happened to, on this machine alone."""
    from cluster_study import undisturbed_study

    return undisturbed_study(tmp_path_factory.mktemp("undisturbed"))
