"""No process of a command listens to anyone but this machine."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from conftest import SMALL, SmallStudy, clean_environment, copy_of


def listening(process: psutil.Process) -> Iterator[tuple[str, str]]:
    """Yield the program and the address of each listening socket of a process and its children."""
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):
            for socket in each.net_connections(kind="inet"):
                if socket.status == psutil.CONN_LISTEN:
                    yield each.name(), socket.laddr.ip


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def test_a_study_listens_on_loopback_alone(small_study: SmallStudy, tmp_path: Path) -> None:
    cwd = copy_of(small_study, tmp_path, runs=False)
    study = subprocess.Popen(
        [sys.executable, "-m", "harness.loso", *SMALL, "name=small"],
        cwd=cwd,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen: set[tuple[str, str]] = set()
    while study.poll() is None:
        with suppress(psutil.Error):
            seen |= set(listening(psutil.Process(study.pid)))
        time.sleep(0.2)
    assert study.stderr is not None
    assert study.returncode == 0, study.stderr.read()
    # Ray's own are among them, or the test looked at nothing.
    assert {"gcs_server", "raylet"} <= {program for program, _ in seen}
    assert not {(program, address) for program, address in seen if not is_loopback(address)}
