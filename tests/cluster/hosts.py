"""Hosts that are namespaces of this machine: each with processes, a network and a disk of its own.

They hang on one bridge, see one shared folder at /mnt/emotion, and let in by ssh whoever has the
key. To be used inside the namespace that `run.sh` makes: there nothing outlives the tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

HERE = Path(__file__).parent
BRIDGE, NETWORK = "hosts0", "10.97.0"
SHARED_AT = "/mnt/emotion"
START_S = 30.0
SSHD = """\
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PermitRootLogin yes
PasswordAuthentication no
StrictModes no
UsePAM no
PidFile none
AcceptEnv *
MaxStartups 100
MaxSessions 100
"""


def sh(*command: str) -> str:
    """Run a command of the machine; what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
    return done.stdout


def network_card(address: str) -> str:
    """Return the number of the network card of who has an address.

    It has to be the same after every boot, as that of a machine is: the others remember it for half
    a minute, for which a host with a new one would hear nothing from them.
    """
    return ":".join(f"{octet:02x}" for octet in (0x02, 0x00, *ip_address(address).packed))


@dataclass(frozen=True)
class Process:
    """A process of a host, by its number outside."""

    pid: int
    command: str

    @property
    def maps(self) -> str:
        """What it has mapped into its memory; empty where it has ended."""
        try:
            return Path(f"/proc/{self.pid}/maps").read_text()
        except OSError:
            return ""

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass
class Host:
    """One host, which can be lost and come back with what was on its disk."""

    name: str
    address: str
    folder: Path
    shared: Path
    key: Path
    seen: Sequence[str]
    _first: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Boot it, and wait until ssh answers."""
        number = self.address.rpartition(".")[2]
        ours, theirs = f"h{number}", f"t{number}"
        with (self.folder / "boot.log").open("ab") as log:
            self._first = subprocess.Popen(
                [
                    *("unshare", "--pid", "--fork", "--mount-proc", "--mount", "--net", "--uts"),
                    *("--kill-child", "bash", str(HERE / "fake_host.sh")),
                    *(self.name, str(self.folder), str(self.shared), *self.seen),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
                # What the laptop's user has set is nothing to the host.
                env={"PATH": os.environ["PATH"], "HOME": "/root", "LANG": "C.UTF-8"},
            )
        inside = str(self.first)
        card = ("address", network_card(self.address))
        sh("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, *card)
        sh("ip", "link", "set", ours, "master", BRIDGE, "up")
        sh("ip", "link", "set", theirs, "netns", inside)
        within = ("nsenter", "--target", inside, "--net")
        sh(*within, "ip", "link", "set", theirs, "name", "eth0")
        sh(*within, "ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        sh(*within, "ip", "link", "set", "eth0", "up")
        # Without a way out Ray takes the loopback for the host's address.
        sh(*within, "ip", "route", "add", "default", "via", f"{NETWORK}.1")
        deadline = time.monotonic() + START_S
        while True:
            with suppress(OSError):
                socket.create_connection((self.address, 22), 1.0).close()
                return
            assert time.monotonic() < deadline, (self.folder / "boot.log").read_text()
            time.sleep(0.1)

    @property
    def first(self) -> int:
        """Number outside of the host's first process; it exists a moment after the start."""
        assert self._first is not None, f"{self.name} does not run"
        children = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children")
        deadline = time.monotonic() + START_S
        while not (found := children.read_text().split()):
            assert time.monotonic() < deadline, f"{self.name} does not boot"
            time.sleep(0.02)
        return int(found[0])

    @property
    def runs(self) -> bool:
        return self._first is not None

    def lose(self) -> None:
        """Pull its plug: every process of it is gone at once, and its network."""
        if self._first is None:
            return
        os.kill(self.first, signal.SIGKILL)
        self._first.wait()
        self._first = None
        # The pair of interfaces goes with the namespace, a moment later.
        link = f"h{self.address.rpartition('.')[2]}"
        with suppress(AssertionError):
            sh("ip", "link", "delete", link)

    def run(self, command: str, timeout_s: float = 120.0) -> str:
        """Run a command over ssh, as its user would; return what it printed on stdout."""
        done = subprocess.run(
            [*self.ssh, f"bash --login -i -c {_quoted(command)}"],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"{self.name}: {command}: {done.stderr}"
        return done.stdout

    @property
    def ssh(self) -> list[str]:
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        told = [part for option in options for part in ("-o", option)]
        return ["ssh", "-i", str(self.key), *told, f"root@{self.address}"]

    def processes(self, *words: str) -> list[Process]:
        """Return its processes whose command line has all of these words."""
        if self._first is None:
            return []
        mine = Path(f"/proc/{self.first}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            # Those that end while they are looked at.
            with suppress(OSError):
                if (entry / "ns" / "pid").readlink() != mine:
                    continue
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if all(word in command for word in words):
                    found.append(Process(int(entry.name), command.strip()))
        return found


@dataclass(frozen=True)
class Hosts:
    """The hosts, the folder that they share, and the key that opens them."""

    folder: Path
    key: Path
    shared: Path
    all: tuple[Host, ...]

    def __iter__(self) -> Iterator[Host]:
        return iter(self.all)

    def processes(self, *words: str) -> dict[str, list[Process]]:
        """Return the processes with these words, by host."""
        return {host.name: host.processes(*words) for host in self.all}


@contextmanager
def made_hosts(folder: Path, names: Sequence[str]) -> Iterator[Hosts]:
    """Make hosts, all of them booted, and take them away again.

    Args:
        folder: for their disks and the key; on no path that a host covers (/root, /tmp, /mnt).
        names: of the hosts.
    """
    folder.mkdir(parents=True)
    key = folder / "key"
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    shared = folder / "shared"
    shared.mkdir()
    sh("ip", "link", "set", "lo", "up")
    laptop = f"{NETWORK}.1"
    sh("ip", "link", "add", BRIDGE, "address", network_card(laptop), "type", "bridge")
    sh("ip", "address", "add", f"{laptop}/24", "dev", BRIDGE)
    sh("ip", "link", "set", BRIDGE, "up")
    # Python, what is installed, and this checkout, where the installed project's code lies: what a
    # host would have on a disk of its own.
    places = (sys.base_prefix, sys.prefix, HERE.parent.parent)
    seen = sorted({os.path.realpath(place) for place in places})
    hosts = Hosts(
        folder,
        key,
        shared,
        tuple(
            Host(name, f"{NETWORK}.{11 + number}", folder / name, shared, key, seen)
            for number, name in enumerate(names)
        ),
    )
    try:
        for host in hosts:
            _furnish(host)
            host.start()
        yield hosts
    finally:
        for host in hosts:
            host.lose()
        sh("ip", "link", "delete", BRIDGE)


def _furnish(host: Host) -> None:
    for place in ("root", "tmp"):
        (host.folder / place).mkdir(parents=True)
    for file in Path("/etc/skel").iterdir():
        shutil.copy(file, host.folder / "root" / file.name)
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host.folder / "host_key"))
    shutil.copy(f"{host.key}.pub", host.folder / "authorized_keys")
    (host.folder / "sshd_config").write_text(SSHD.format(folder=host.folder))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
