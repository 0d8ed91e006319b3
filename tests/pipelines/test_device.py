"""What a process is told before it computes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

ALLOCATES = """
import harness.trial, torch
from pipelines.device import exact_device
print(exact_device(1, on_gpu=False))
large = torch.ones(2**24)
lines = open("/proc/self/smaps_rollup").read().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("AnonHugePages")))
print(torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
"""


@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[never]" in HUGE_PAGES.read_text(),
    reason="no huge pages are lent on this system",
)
def test_large_tensors_of_a_trial_lie_in_huge_pages() -> None:
    told = subprocess.run(
        [sys.executable, "-c", ALLOCATES], stdout=subprocess.PIPE, text=True, check=True
    )
    device, kilobytes, exactness = told.stdout.splitlines()
    assert device == "cpu"
    assert int(kilobytes) >= 2**24 * 4 / 1024 * 0.9
    assert exactness == "1 True"
