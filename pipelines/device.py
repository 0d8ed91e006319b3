"""The device that computes, with all that fixes its results to the bit."""

from __future__ import annotations

import os

import torch


def exact_device(threads: int, *, on_gpu: bool) -> torch.device:
    """Return where this process computes: the same input then gives the same bits every time.

    Large tensors get huge pages from then on, where Linux lends them: a step of the LSTM writes
    gigabytes of memory that is new to the process, and pages of 4 KiB cost it a fifth of its time.

    Args:
        threads: of this process; the order of its sums depends on them.
        on_gpu: ask for a GPU, if there is one.
    """
    # Both are read once, before the first large tensor and when cuBLAS starts.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Nothing is read before it is written; filling it first would take a tenth of an LSTM's step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device("cuda" if on_gpu and torch.cuda.is_available() else "cpu")
