"""A command with all processes that it starts, timed and weighed from outside (Linux)."""

from __future__ import annotations

import os
import subprocess
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_EVERY_S = 0.25
MARK = "BENCHMARK_MARK"
SETTLE_S = 15.0
"""For what a command has started to end after it."""


@dataclass(frozen=True)
class Measured:
    """What a command took."""

    status: int
    seconds: float
    peak_bytes: int
    """Largest sum over all its processes at one moment; shared pages count once (PSS)."""
    peak_processes: int
    left_behind: int
    """Processes that it started and that are still there a while after its end."""
    stdout: str
    stderr: str


def measure(command: Sequence[str], cwd: Path, limit_s: float | None = None) -> Measured:
    """Run a command and sample the memory of every process that inherits its environment.

    Raises:
        subprocess.TimeoutExpired: it took longer than `limit_s`, and was killed.
    """
    mark = uuid.uuid4().hex
    peak, most = 0, 0
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ended = threading.Event()

    def sample() -> None:
        nonlocal peak, most
        while not ended.wait(SAMPLE_EVERY_S):
            sizes = _sizes(f"{MARK}={mark}".encode())
            peak, most = max(peak, sum(sizes)), max(most, len(sizes))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        stdout, stderr = process.communicate(timeout=limit_s)
    finally:
        seconds = time.perf_counter() - start
        process.kill()
        ended.set()
        sampler.join()
    left = _left_behind(f"{MARK}={mark}".encode())
    return Measured(process.returncode, seconds, peak, most, left, stdout, stderr)


def _left_behind(mark: bytes) -> int:
    deadline = time.monotonic() + SETTLE_S
    while (left := len(_sizes(mark))) and time.monotonic() < deadline:
        time.sleep(SAMPLE_EVERY_S)
    return left


def _sizes(mark: bytes) -> list[int]:
    """Return the proportional set size in bytes of each process that carries the mark."""
    sizes = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # Daemons leave their parent but keep their environment.
            if mark not in (folder / "environ").read_bytes():
                continue
            for line in (folder / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    sizes.append(int(line.split()[1]) * 1024)
        except (OSError, ProcessLookupError):
            continue  # it ended while we looked
    return sizes
