"""One training step of an LSTM 4096 -> 4096 over 28 segments, by each kernel there is.

The rival is what one writes first: nn.LSTM in float32 (no TF32) on the gathered frames, with Adam
as it comes. Every kernel has its row, so that the fastest can be made the default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.alternation import alternate
from benchmarks.gpu_rows.clips import Corpus
from benchmarks.gpu_rows.machine import (
    Machine,
    deterministic,
    exact_float32,
    relative_difference,
)
from pipelines.networks.lstm import cudnn_over_frames, lstm_over_frames

CLIPS, RATE, WARM_UP = 4, 1e-4, 3
Kernel = Callable[[nn.LSTM, Tensor, Tensor, torch.dtype], Tensor]
TOLERANCES = {
    torch.float32: {"states": 1e-3, "weights": 1e-3},
    torch.bfloat16: {"states": 0.05, "weights": 0.02},
}
"""Relative to the rival by norm, after as many steps from the same weights."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way to compute a step."""

    kernel: Kernel
    compute: torch.dtype
    fused: bool = True
    """Of Adam."""
    graph: bool = False
    """The whole step is captured as a CUDA graph and replayed."""
    tf32: bool = False
    deterministic: bool = True


RIVAL = Form(kernel=cudnn_over_frames, compute=torch.float32, fused=False, deterministic=False)
FORMS = {
    "ours, bfloat16": Form(kernel=lstm_over_frames, compute=torch.bfloat16),
    "ours, bfloat16, graph": Form(kernel=lstm_over_frames, compute=torch.bfloat16, graph=True),
    "ours, float32": Form(kernel=lstm_over_frames, compute=torch.float32),
    "ours, float32, graph": Form(kernel=lstm_over_frames, compute=torch.float32, graph=True),
    "cuDNN, bfloat16": Form(kernel=cudnn_over_frames, compute=torch.bfloat16),
    "cuDNN, bfloat16, graph": Form(kernel=cudnn_over_frames, compute=torch.bfloat16, graph=True),
    "cuDNN, float32": Form(kernel=cudnn_over_frames, compute=torch.float32),
    "cuDNN, TF32": Form(kernel=cudnn_over_frames, compute=torch.float32, tf32=True),
}


def run(machine: Machine) -> dict[str, Any]:
    """Measure every form against the rival; one that can't run says why."""
    size = 64 if machine.small else 4096
    steps = 2 if machine.small else 10
    rows = {name: _measured(machine, form, size, steps) for name, form in FORMS.items()}
    return {
        "a": "one step of the form: zero_grad, forward, backward, fused Adam",
        "b": "nn.LSTM, float32 without TF32, default Adam, not deterministic",
        "work": f"{steps} steps of an LSTM {size} -> {size}, {7 * CLIPS} segments of 20 frozen "
        "frames",
        "forms": rows,
    }


def _measured(machine: Machine, form: Form, size: int, steps: int) -> dict[str, Any]:
    if form.graph and machine.device.type != "cuda":
        return {"left_out": "CUDA graphs want a GPU"}
    try:
        ours, rival = Steps(machine, form, size), Steps(machine, RIVAL, size)
        tolerance = TOLERANCES[form.compute]
        errors = {
            name: relative_difference(ours.outcome()[name], truth)
            for name, truth in rival.outcome().items()
        }
        figures = alternate(
            machine.settled(lambda: ours.run(steps)),
            machine.settled(lambda: rival.run(steps)),
            repeats=machine.repeats,
        )
    except Exception as error:  # a form that this device or version refuses
        return {"error": f"{type(error).__name__}: {error}"[:500]}
    finally:
        machine.clear()
    return {
        **figures,
        "milliseconds_a_step": round(1e3 * figures["seconds_a_median"] / steps, 3),
        "milliseconds_a_step_of_the_rival": round(1e3 * figures["seconds_b_median"] / steps, 3),
        "equal": all(errors[name] <= tolerance[name] for name in errors),
        "tolerance": tolerance,
        "differences": {name: float(f"{error:.2g}") for name, error in errors.items()},
    }


class Steps:
    """Training steps in one form; when it is made it has taken `WARM_UP` + 1 of them."""

    def __init__(self, machine: Machine, form: Form, size: int) -> None:
        self.form = form
        indices = Corpus(subjects=1, clips=1).frame_indices
        frames = int(indices.max()) + 1
        every = torch.cat([indices + frames * clip for clip in range(CLIPS)])
        torch.manual_seed(0)
        features, direction = (
            torch.randn(frames * CLIPS, size).relu(),
            torch.randn(len(every), size),
        )
        self.lstm = nn.LSTM(size, size, batch_first=True).to(machine.device)
        self.indices, self.direction = every.to(machine.device), direction.to(machine.device)
        # As the feature store keeps them; the rival has them in its own type, converted before.
        self.features = features.half().to(machine.device)
        if form is RIVAL:
            self.features = self.features.float()
        self.adam = torch.optim.Adam(
            self.lstm.parameters(), lr=RATE, fused=form.fused or None, capturable=form.graph
        )
        self.graph: torch.cuda.CUDAGraph | None = None
        with self._arithmetic():
            self._warm_up(machine)

    def run(self, steps: int) -> None:
        """Take some more steps."""
        with self._arithmetic():
            for _ in range(steps):
                self._step()

    def outcome(self) -> dict[str, Tensor]:
        """Return what the last step computed, and the weights after it."""
        weights = torch.cat([weight.detach().flatten() for weight in self.lstm.parameters()])
        return {"states": self.last.detach().clone(), "weights": weights}

    def _warm_up(self, machine: Machine) -> None:
        if not self.form.graph:
            for _ in range(WARM_UP + 1):
                self._step()
            return
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        self.adam.zero_grad(set_to_none=True)
        with torch.cuda.graph(self.graph):
            self._compute()
        self._step()
        machine.settle()

    def _step(self) -> None:
        if self.graph is not None:
            self.graph.replay()
            return
        self.adam.zero_grad(set_to_none=True)
        self._compute()

    def _compute(self) -> None:
        states = self.form.kernel(self.lstm, self.features, self.indices, self.form.compute)
        self.last = states[:, -1]
        (self.last * self.direction).sum().backward()  # type: ignore[no-untyped-call]
        self.adam.step()

    @contextmanager
    def _arithmetic(self) -> Iterator[None]:
        with (
            nullcontext() if self.form.tf32 else exact_float32(),
            deterministic() if self.form.deterministic else nullcontext(),
        ):
            yield
