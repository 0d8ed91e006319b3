"""C3: one training step of the LSTM over frames, against torch's own on gathered frames.

A step is zero_grad, forward, backward and Adam; features are frozen. A row runs in a process of its
own, because the memory's settings are read when one starts: `python -m benchmarks.lstm ROW`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.alternation import alternate
from pipelines.networks.lstm import lstm_over_frames
from pipelines.segments import frames_of_segment

CLIPS, SEGMENTS_A_CLIP, FRAMES_A_SECOND = 4, 7, 25
SEGMENT_S, SHIFT_S = 0.655, 0.3
FEATURE_SIZE, RATE = 4096, 1e-4
Kernel = Callable[[nn.LSTM, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Row:
    """One comparison; the rival computes in float32 always."""

    hidden: int = 4096
    compute: str = "bfloat16"
    rival_fused: bool = True
    """Adam of the rival; ours is fused."""
    threads: int = 2
    memory: str = "huge pages"
    """How both get memory, by name of `MEMORY`."""


MEMORY: dict[str, dict[str, str]] = {
    "huge pages": {"THP_MEM_ALLOC_ENABLE": "1"},
    "pages of 4 KiB": {},
    "kept by the process": {
        "MALLOC_MMAP_THRESHOLD_": str(2**32),
        "MALLOC_TRIM_THRESHOLD_": str(2**33),
    },
}
"""Environment of the process, the first as a trial has it. Every large tensor is new memory."""
ROWS = (
    Row(),
    Row(memory="pages of 4 KiB"),
    Row(memory="kept by the process"),
    Row(compute="float32"),
    Row(rival_fused=False),
    Row(threads=1),
    Row(hidden=512),
    Row(hidden=512, compute="float32"),
)
"""The first is C3 itself."""
TOLERANCES = {
    "float32": {"states": 1e-5, "gradients": 1e-5, "weights": 1e-5},
    "bfloat16": {"states": 0.02, "gradients": 0.02, "weights": 0.01},
}
"""Norm of the difference by norm of the rival's, after one step from the same weights."""


def run() -> dict[str, Any]:
    """Measure every row, the first of which is C3."""
    rows = [measured_alone(row) for row in ROWS]
    indices = frame_indices()
    return {
        **rows[0],
        "a": "one projection of each unique frame, one product for each weight gradient",
        "b": "nn.LSTM in float32 on the gathered frames",
        "work": f"one training step (zero_grad, forward, backward, Adam) of an LSTM over "
        f"{len(indices)} segments of {indices.shape[1]} frames, {int(indices.max()) + 1} of them "
        f"unique, {FEATURE_SIZE} frozen features each",
        "rows": rows,
    }


def measured_alone(row: Row) -> dict[str, Any]:
    """Measure a row in a process of its own."""
    environment = {**os.environ, **MEMORY[row.memory]}
    command = [sys.executable, "-m", "benchmarks.lstm", json.dumps(asdict(row))]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def measure(row: Row) -> dict[str, Any]:
    """Compare one step of both, then time them alternately."""
    torch.set_num_threads(row.threads)
    compute = getattr(torch, row.compute)

    def ours(lstm: nn.LSTM, features: Tensor, indices: Tensor) -> Tensor:
        return lstm_over_frames(lstm, features, indices, compute)

    a, b = Step(ours, row.hidden, fused=True), Step(torch_lstm, row.hidden, fused=row.rival_fused)
    for step in (a, b):
        step()
    errors = differences(a.outcome(), b.outcome())
    tolerance = TOLERANCES[row.compute]
    return {
        **alternate(a, b),
        **asdict(row),
        "equal": all(errors[name] <= tolerance[name] for name in tolerance),
        "tolerance": tolerance,
        "errors": {name: float(f"{error:.2g}") for name, error in errors.items()},
    }


class Step:
    """A training step that goes on from where it was left."""

    def __init__(self, kernel: Kernel, hidden: int, fused: bool) -> None:
        torch.manual_seed(0)
        self.kernel = kernel
        self.indices = frame_indices()
        # As fc7 leaves its ReLU: half of the entries are zero.
        self.features = torch.randn(int(self.indices.max()) + 1, FEATURE_SIZE).relu()
        self.direction = torch.randn(len(self.indices), hidden)
        self.lstm = nn.LSTM(FEATURE_SIZE, hidden, batch_first=True)
        self.adam = torch.optim.Adam(self.lstm.parameters(), lr=RATE, fused=fused)

    def __call__(self) -> None:
        self.adam.zero_grad()
        self.last = self.kernel(self.lstm, self.features, self.indices)[:, -1]
        (self.last * self.direction).sum().backward()  # type: ignore[no-untyped-call]
        self.adam.step()

    def outcome(self) -> dict[str, list[Tensor]]:
        """Return what the last step computed, and the weights after it."""
        weights = list(self.lstm.parameters())
        return {
            "states": [self.last.detach()],
            "gradients": [weight.grad for weight in weights if weight.grad is not None],
            "weights": [weight.detach() for weight in weights],
        }


def torch_lstm(lstm: nn.LSTM, features: Tensor, indices: Tensor) -> Tensor:
    """Return all states by torch's own kernel."""
    states: Tensor = lstm(features[indices])[0]
    return states


def differences(one: dict[str, list[Tensor]], other: dict[str, list[Tensor]]) -> dict[str, float]:
    """Return the largest of the relative differences by norm, of each kind."""
    return {
        name: max(float((a - b).norm() / b.norm()) for a, b in zip(one[name], truth, strict=True))
        for name, truth in other.items()
    }


def frame_indices() -> Tensor:
    """Return [segments, 20] into the unique frames of all clips, as eNTERFACE's would be."""
    starts_s = np.arange(SEGMENTS_A_CLIP) * SHIFT_S
    times_s = np.arange(0, starts_s[-1] + SEGMENT_S, 1 / FRAMES_A_SECOND)
    clip = np.stack([frames_of_segment(times_s, start_s, SEGMENT_S) for start_s in starts_s])
    clips = np.concatenate([clip + number * len(times_s) for number in range(CLIPS)])
    unique = np.unique(clips, return_inverse=True)[1]
    return torch.from_numpy(unique.reshape(clips.shape).astype(np.int64))


if __name__ == "__main__":
    print(json.dumps(measure(Row(**json.loads(sys.argv[1])))))
