"""A cluster that begins with no CPU for work, and grows nodes as they are wanted."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from cluster_study import check_same
from conftest import SMALL, run_module
from hosts import Hosts
from ray.cluster_utils import AutoscalingCluster

pytestmark = [pytest.mark.cluster, pytest.mark.long]

MOST = 3
"""Nodes of one CPU each."""
STUDY = (*SMALL, f"corpus.subjects={30 * (MOST - 1) // 6 + 1}", "training.audio_epochs=1")
"""Of so many clips (6 for each subject) that they are worth that many nodes from the start."""


class Growing(AutoscalingCluster):
    """Ray's own cluster of processes that its autoscaler starts; its file is not in the package."""

    def _generate_config(
        self,
        head_resources: dict[str, float],
        worker_node_types: dict[str, dict[str, Any]],
        autoscaler_v2: bool = False,
        **more: Any,
    ) -> dict[str, Any]:
        head = {"resources": head_resources, "node_config": {}, "max_workers": 0}
        commands = ("initialization", "setup", "head_setup", "worker_setup")
        starts = ("head_start_ray", "worker_start_ray")
        return {
            "cluster_name": "growing",
            "max_workers": MOST,
            "provider": {
                "type": "fake_multinode",
                "disable_node_updaters": True,
                "disable_launch_config_check": True,
            },
            "available_node_types": {**worker_node_types, "ray.head.default": head},
            "head_node_type": "ray.head.default",
            "upscaling_speed": 1.0,
            "auth": {},
            "docker": {},
            "file_mounts": {},
            "cluster_synced_files": [],
            "file_mounts_sync_continuously": False,
            "rsync_exclude": [],
            "rsync_filter": [],
            **{f"{name}_commands": [] for name in (*commands, *starts)},
            **more,
        }


def test_preprocessing_and_trials_take_nodes_that_were_not_there(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    # Inside the namespace of the hosts: what ends such a cluster ends every Ray that it sees.
    growing = Growing(
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
    at_once: dict[str, int] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            commands = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
            for kind in ("sandbox_child", "ImplicitFunc"):
                found = sum(kind in command for command in commands)
                at_once[kind] = max(at_once.get(kind, 0), found)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        done = run_module(
            "harness.loso", *STUDY, "name=grown", "cluster.address=127.0.0.1:6379", cwd=tmp_path
        )
    finally:
        over.set()
        looking.join()
        growing.shutdown()  # type: ignore[no-untyped-call]
    assert done.status == 0, done.stderr
    assert "0 CPUs" in done.stderr
    assert at_once == {"sandbox_child": MOST, "ImplicitFunc": MOST}
    here = run_module("harness.loso", *STUDY, "name=here", "paths.data=here", cwd=tmp_path)
    assert here.status == 0, here.stderr
    check_same(tmp_path / "runs" / "grown", tmp_path / "runs" / "here")
