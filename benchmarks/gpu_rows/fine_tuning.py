"""One step of full fine-tuning: each unique frame of a clip once, or the frames of each segment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.alternation import alternate
from benchmarks.gpu_rows.clips import CLASSES, Corpus, images, label_of
from benchmarks.gpu_rows.machine import Machine, deterministic, exact_float32, relative_difference
from pipelines.networks.backbone import STORED_FACE, ModelConfig
from pipelines.networks.recognisers import VisualNetwork
from pipelines.precision import compute_type, mixed

CLIPS, RATE = 4, 1e-4
TOLERANCE = 1e-3
"""Of the gradients in float32, relative by norm over all parameters."""


def run(machine: Machine) -> dict[str, Any]:
    """Compare the gradients of one step in float32, then time steps in bfloat16."""
    exact = Steps(machine, "float32", clips=1)
    with exact_float32(), deterministic():
        error = relative_difference(exact.gradients(unique=True), exact.gradients(unique=False))
    del exact
    machine.clear()
    precision = "bfloat16" if machine.device.type == "cuda" else "float32"
    steps = Steps(machine, precision, CLIPS)
    with deterministic():
        figures = alternate(
            machine.settled(lambda: steps.step(unique=True)),
            machine.settled(lambda: steps.step(unique=False)),
            repeats=machine.repeats,
        )
    frames, shown = len(steps.frames), steps.indices.numel()
    return {
        "a": f"{frames} unique frames pass the trunk, segments gather",
        "b": f"the {shown} frames of all segments pass the trunk",
        "work": f"zero_grad, forward, backward and fused Adam of {steps.config.backbone} and an "
        f"LSTM of {steps.config.lstm_hidden} on {CLIPS} clips, {precision}; frames alone would "
        f"give {shown / frames:.2f}",
        **figures,
        "equal": error <= TOLERANCE,
        "tolerance": TOLERANCE,
        "difference": float(f"{error:.2g}"),
    }


class Steps:
    """A visual network and a batch of clips for it."""

    def __init__(self, machine: Machine, precision: str, clips: int) -> None:
        corpus = Corpus(subjects=1, clips=clips, segments=2 if machine.small else 7)
        side = 32 if machine.small else STORED_FACE
        backbone = "small" if machine.small else "vgg19"
        self.config = ModelConfig(
            backbone=backbone, lstm_hidden=16 if machine.small else 512, dropout=0.0
        )
        self.machine, self.precision = machine, precision
        torch.manual_seed(0)
        self.network = VisualNetwork(self.config, len(CLASSES), trained="full").to(machine.device)
        self.network.temporal.compute = compute_type(precision)
        for module in self.network.modules():
            # Frames that are seen twice would be dropped out in two ways.
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        self.adam = torch.optim.Adam(self.network.parameters(), lr=RATE, fused=True)
        each = [images(clip_id, corpus.frames, side) for clip_id in corpus.clip_ids]
        self.frames = torch.cat(each).to(machine.device)
        indices = [corpus.frame_indices + corpus.frames * clip for clip in range(clips)]
        self.indices = torch.cat(indices).to(machine.device)
        labels = [label_of(clip_id) for clip_id in corpus.clip_ids for _ in range(corpus.segments)]
        self.labels = torch.tensor(labels, device=machine.device)

    def step(self, *, unique: bool) -> None:
        """Learn from the batch once."""
        self._backward(unique)
        self.adam.step()

    def gradients(self, *, unique: bool) -> Tensor:
        """Return all gradients in one vector, on the CPU."""
        self._backward(unique)
        grads = [p.grad.flatten() for p in self.network.parameters() if p.grad is not None]
        return torch.cat(grads).cpu()

    def _backward(self, unique: bool) -> None:
        self.adam.zero_grad(set_to_none=True)
        frames, indices = self.frames, self.indices
        if not unique:
            frames = frames[indices.flatten()]
            indices = torch.arange(len(frames), device=frames.device).view_as(indices)
        with mixed(self.machine.device, self.precision):
            of_frames = self.network.trunk(frames)
        scores = self.network.scores(self.network.temporal(of_frames, indices))
        cross_entropy(scores, self.labels).backward()  # type: ignore[no-untyped-call]
