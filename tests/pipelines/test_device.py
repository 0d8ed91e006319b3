"""What a process is told before it computes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipelines.device import exact_device
from pipelines.errors import UsageError

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

ALLOCATES = """
import {module}, torch
small = torch.ones(3)  # of a user's module, or of the first clip
large = torch.ones(2**24)
lines = open("/proc/self/smaps_rollup").read().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("AnonHugePages")))
"""


@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[never]" in HUGE_PAGES.read_text(),
    reason="no huge pages are lent on this system",
)
@pytest.mark.parametrize("module", ["harness.trial", "pipelines.extract"])
def test_large_tensors_of_what_ray_starts_lie_in_huge_pages(module: str) -> None:
    program = ALLOCATES.format(module=module)
    told = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )
    assert int(told.stdout) >= 2**24 * 4 / 1024 * 0.9


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_torch_cannot_use_is_no_reason_to_compute_elsewhere_unseen() -> None:
    with pytest.raises(UsageError, match=r"cluster\.trial_gpus asks for a GPU"):
        exact_device(1, on_gpu=True)
