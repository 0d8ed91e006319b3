"""`python growing.py MOST MODULE ARGUMENTS`: a command on a cluster that grows as it is wanted.

To be run in a PID namespace of its own: what ends such a cluster ends every Ray that it sees. It
prints, as JSON, how the command ended, what it said, and how many processes of a kind there were
at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

import psutil  # type: ignore[import-untyped]
from ray.cluster_utils import AutoscalingCluster

KINDS = ("sandbox_child", "ImplicitFunc")
"""Words of the command lines of a decoder and of a trial."""


class Growing(AutoscalingCluster):
    """Ray's own cluster of processes that its autoscaler starts; its file is not in the package.

    It begins without a CPU, and takes up to `most` nodes of one each.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        super().__init__(
            head_resources={"CPU": 0},
            worker_node_types={
                "small": {
                    "resources": {"CPU": 1, "object_store_memory": 150 * 2**20},
                    "node_config": {},
                    "min_workers": 0,
                    "max_workers": most,
                }
            },
            idle_timeout_minutes=5,
        )

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
            "max_workers": self.most,
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


def main() -> None:
    """Start the cluster, run the command on it, and tell what was seen."""
    most, module, *arguments = sys.argv[1:]
    growing = Growing(int(most))
    growing.start()
    at_once = dict.fromkeys(KINDS, 0)
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            commands = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
            for kind in KINDS:
                at_once[kind] = max(at_once[kind], sum(kind in command for command in commands))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments, "cluster.address=127.0.0.1:6379"],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        over.set()
        looking.join()
        growing.shutdown()  # type: ignore[no-untyped-call]
    told = {"status": done.returncode, "stderr": done.stderr, "at_once": at_once}
    print(json.dumps(told), file=sys.stderr)


if __name__ == "__main__":
    main()
