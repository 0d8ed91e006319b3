"""The device that computes, with all that fixes its results to the bit."""

from __future__ import annotations

import os
import socket

import torch

from pipelines.errors import require

# Large tensors in huge pages, where Linux lends them: a step of the LSTM writes gigabytes of memory
# that is new to the process, and pages of 4 KiB cost it a fifth of its time. torch reads this once,
# at the first tensor of a process: so here, which is imported before any is made.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def exact_device(threads: int, *, on_gpu: bool) -> torch.device:
    """Return where this process computes: the same input then gives the same bits every time.

    Args:
        threads: of this process; the order of its sums depends on them.
        on_gpu: on the GPU that Ray gave this process, and nowhere else.

    Raises:
        UsageError: there is none that torch could use.
    """
    require(
        not on_gpu or torch.cuda.is_available(),
        "cluster.trial_gpus asks for a GPU, and torch finds none that it could use on "
        f"{socket.gethostname()}: see that its driver suits the installed torch, or set "
        "cluster.trial_gpus=0",
    )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Nothing is read before it is written; filling it first would take a tenth of an LSTM's step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device("cuda" if on_gpu else "cpu")
