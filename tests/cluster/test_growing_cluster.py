"""A cluster that begins with no CPU for work, and grows nodes as they are wanted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import SMALL, run_module
from hosts import Hosts
from ray.cluster_utils import AutoscalingCluster

pytestmark = pytest.mark.cluster

MOST = 3
"""Nodes of one CPU each."""


def test_preprocessing_and_trials_take_nodes_that_were_not_there(
    hosts: Hosts, undisturbed: Path, tmp_path: Path
) -> None:
    # Inside the namespace of the hosts: what ends such a cluster ends every Ray that it sees.
    growing = AutoscalingCluster(
        head_resources={"CPU": 0},
        worker_node_types={
            "small": {
                "resources": {"CPU": 1, "object_store_memory": 150 * 2**20},
                "node_config": {},
                "min_workers": 0,
                "max_workers": MOST,
            }
        },
        idle_timeout_minutes=5,
    )
    growing.start()
    try:
        address = f"{os.environ.get('RAY_HEAD', '127.0.0.1')}:6379"
        done = run_module(
            "harness.loso", *SMALL, "name=study", f"cluster.address={address}", cwd=tmp_path
        )
    finally:
        growing.shutdown()
    assert done.status == 0, done.stderr
    assert "0 CPUs" in done.stderr
    same = (tmp_path / "runs/study/predictions.parquet").read_bytes()
    assert same == (undisturbed / "predictions.parquet").read_bytes()
