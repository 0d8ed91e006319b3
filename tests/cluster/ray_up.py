"""A cluster that `ray up conf/cluster/onprem.yaml` starts on hosts, and a laptop outside of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from conftest import Result, clean_environment
from hosts import Host, Hosts

ROOT = Path(__file__).parent.parent.parent
ONPREM = ROOT / "conf" / "cluster" / "onprem.yaml"
JOB_SERVER = "http://127.0.0.1:8265"
UP_S, NODES_S, DOWN_S, JOB_S = 300, 240, 180, 600
ALONE_S = 120.0
"""Ray on a host ends when it has missed its head for a minute."""
SETTLED_S = 3.0
"""Ray's head starts Ray on a host by several commands, with less between them."""
NODES = (
    "import ray, socket\n"
    "def answers(node):\n"
    "    try: socket.create_connection((node['NodeManagerAddress'], node['NodeManagerPort']), 1)\n"
    "    except OSError: return False\n"
    "    return True\n"
    "ray.init(address='auto', log_to_driver=False)\n"
    "there = [node for node in ray.nodes() if node['Alive']]\n"
    "print('NODES', *[n['NodeManagerAddress'] if answers(n) else 'silent' for n in there])"
)
"""A host whose plug was pulled is there for Ray until it has missed some heartbeats."""
SIZE = "--num-cpus=2 --object-store-memory=200000000"
"""Of a host: all of them are this one machine, and each would take all of it for its own."""


@dataclass
class Cluster:
    """A running cluster, and the folder on the laptop from which it is used."""

    hosts: Hosts
    laptop: Path
    file: Path

    @property
    def head(self) -> Host:
        return self.hosts.all[0]

    @property
    def workers(self) -> tuple[Host, ...]:
        return self.hosts.all[1:]

    @property
    def runs(self) -> Path:
        """The studies' folders, as this machine sees what the hosts share."""
        return self.hosts.shared / "runs"

    @property
    def data(self) -> Path:
        return self.hosts.shared / "data"

    @property
    def environment(self) -> dict[str, str]:
        """What the laptop's user has set."""
        return clean_environment(
            HOME=str(self.laptop),
            PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            RAY_AUTH_MODE="token",
            RAY_UP_enable_autoscaler_v2="0",
            RAY_USAGE_STATS_ENABLED="0",
        )

    def ray(self, *command: str, limit_s: float) -> str:
        """Run a command of Ray's on the laptop, in the project's folder."""
        done = subprocess.run(
            ["ray", *command],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit_s,
            check=False,
        )
        assert done.returncode == 0, f"ray {' '.join(command)}: {done.stdout}"
        return done.stdout

    def submitted(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a command on the laptop, which submits itself as a job."""
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=self.laptop,
            env={**self.environment, "RAY_ADDRESS": JOB_SERVER},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def submit(self, module: str, *arguments: str) -> Result:
        return ended(self.submitted(module, *arguments))

    @contextmanager
    def tunnel(self, port: int) -> Iterator[int]:
        """Bring a port of the head's loopback to the laptop; yield its number there."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            here = int(listener.getsockname()[1])
        with _forwarded(self.head, here, port):
            yield here

    def nodes(self) -> list[str]:
        """Return the addresses of the hosts that Ray has now."""
        told = self.head.run(f'python -c "{NODES}"')
        (line,) = [line for line in told.splitlines() if line.startswith("NODES")]
        return sorted(line.split()[1:])

    def wait_for_nodes(self, hosts: tuple[Host, ...], limit_s: float = NODES_S) -> None:
        deadline = time.monotonic() + limit_s
        while (there := self.nodes()) != sorted(host.address for host in hosts):
            assert time.monotonic() < deadline, f"Ray has {there} after {limit_s} s"
            time.sleep(1.0)

    def wait_until_settled(self) -> None:
        """Wait until Ray's head is done with starting Ray on its hosts.

        It never tries one again that is lost while it is at that.
        """
        deadline = time.monotonic() + NODES_S
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < SETTLED_S:
            if any(self.head.processes("ssh ", host.address) for host in self.workers):
                quiet_since = time.monotonic()
            assert time.monotonic() < deadline, "Ray's head is not done with its hosts"
            time.sleep(0.2)

    def join(self, host: Host, before: str = "", options: str = "") -> None:
        """Start Ray on a host by hand, with something before the command or after it."""
        host.run(f"{before} ray start --address={self.head.address}:6379 {SIZE} {options}")


def ended(process: subprocess.Popen[str], limit_s: int = JOB_S) -> Result:
    """Wait for a command that was submitted."""
    out, err = process.communicate(timeout=limit_s)
    return Result(process.returncode, out, err)


@contextmanager
def ray_up(hosts: Hosts, laptop: Path) -> Iterator[Cluster]:
    """Start a cluster on hosts by the file that users have, and end it."""
    (laptop / ".ray").mkdir(parents=True)
    file = laptop / "cluster.yaml"
    file.write_text(yaml.safe_dump(adapted(hosts)))
    cluster = Cluster(hosts, laptop, file)
    cluster.ray("get-auth-token", "--generate", limit_s=60)
    cluster.ray("up", "--yes", "--no-config-cache", str(file), limit_s=UP_S)
    cluster.wait_for_nodes(hosts.all)
    try:
        with _forwarded(cluster.head, 8265, 8265):
            yield cluster
    finally:
        cluster.ray("down", "--yes", str(file), limit_s=DOWN_S)
        _wait_for_the_end(hosts)


@contextmanager
def _forwarded(host: Host, here: int, there: int) -> Iterator[None]:
    """Bring a port of a host's loopback to a port of the laptop's."""
    ssh = subprocess.Popen([*host.ssh, "-N", "-L", f"{here}:127.0.0.1:{there}"])
    try:
        _wait_for_port(here)
        yield
    finally:
        # Told to end just before it waits for its next word, it goes on waiting.
        ssh.kill()
        ssh.wait()


def _wait_for_the_end(hosts: Hosts) -> None:
    """Wait until Ray is gone from all hosts: `ray down` ends the head's, which the others miss."""
    deadline = time.monotonic() + ALONE_S
    while left := [name for name, some in hosts.processes("raylet/raylet").items() if some]:
        assert time.monotonic() < deadline, f"ray down left Ray on {left}"
        assert "head" not in left
        time.sleep(1.0)


def adapted(hosts: Hosts) -> dict[str, Any]:
    """Return the file for machines that one has, with these in it.

    The project's packages are not installed on each: the hosts see the same disk.
    """
    config: dict[str, Any] = yaml.safe_load(ONPREM.read_text())
    head, *workers = hosts
    config["provider"] |= {"head_ip": head.address, "worker_ips": [h.address for h in workers]}
    config["min_workers"] = config["max_workers"] = len(workers)
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.key)}
    config["setup_commands"].insert(
        0,
        f"mkdir -p ~/harness/.venv && ln -sfn {sys.prefix}/{{bin,lib,pyvenv.cfg}} ~/harness/.venv/ "
        "&& touch ~/harness/.venv/.installed",
    )
    for group in ("head_start_ray_commands", "worker_start_ray_commands"):
        config[group] = [
            command.replace(":6379", f":6379 {SIZE}").replace("=6379", f"=6379 {SIZE}")
            if "ray start" in command
            else command
            for command in config[group]
        ]
    return config


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 30.0
    while True:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        assert time.monotonic() < deadline, f"nothing listens on port {port}"
        time.sleep(0.2)
