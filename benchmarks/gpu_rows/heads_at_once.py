"""Softmax layers of all splits trained together, as one batched product, or one after another.

What a search over small heads could gain: a GPU that trains one of them is idle most of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.alternation import alternate
from benchmarks.gpu_rows.clips import CLASSES, Corpus, features, label_of
from benchmarks.gpu_rows.machine import Machine, deterministic, exact_float32, relative_difference

BATCH, RATE = 28, 1e-3
TOLERANCE = 1e-3
"""Of the trained weights, relative by norm."""


def run(machine: Machine) -> dict[str, Any]:
    """Train a head for each of 42 splits in both ways; the weights must agree."""
    corpus = Corpus(subjects=5, clips=30) if machine.small else Corpus(subjects=42, clips=1166)
    size, steps = (32, 8) if machine.small else (4096, 250)
    heads = Heads(machine, corpus, size, steps)
    with exact_float32(), deterministic():
        error = relative_difference(heads.at_once(), heads.one_by_one())
        figures = alternate(
            machine.settled(heads.at_once),
            machine.settled(heads.one_by_one),
            repeats=machine.repeats,
        )
    return {
        "a": "torch.bmm over the splits, one fused Adam",
        "b": "a Linear and a fused Adam for each split, one after another",
        "work": f"{corpus.subjects} splits, {steps} steps each of {BATCH} segments of {size} "
        f"features, {len(CLASSES)} classes, float32, resident features of "
        f"{len(corpus.clip_ids)} clips",
        **figures,
        "equal": error <= TOLERANCE,
        "tolerance": TOLERANCE,
        "difference": float(f"{error:.2g}"),
    }


class Heads:
    """The same batches for both ways."""

    def __init__(self, machine: Machine, corpus: Corpus, size: int, steps: int) -> None:
        self.device = machine.device
        each = [features(c, corpus.segments, size, machine.device) for c in corpus.clip_ids]
        self.features = torch.cat(each).float()
        of_clips = torch.tensor([label_of(clip_id) for clip_id in corpus.clip_ids])
        self.labels = of_clips.repeat_interleave(corpus.segments).to(machine.device)
        row_of = {clip_id: number for number, clip_id in enumerate(corpus.clip_ids)}
        self.batches = torch.stack(
            [
                _batches([row_of[c] for c in task.train_ids], corpus.segments, task.seed, steps)
                for task in corpus.tasks()
            ]
        ).to(machine.device)
        torch.manual_seed(0)
        self.start = torch.randn(corpus.subjects, len(CLASSES), size) / size**0.5

    def one_by_one(self) -> Tensor:
        """Return the trained weights [splits, classes, size]."""
        return torch.stack([self._one(split) for split in range(len(self.start))])

    def _one(self, split: int) -> Tensor:
        head = nn.Linear(self.start.shape[2], len(CLASSES), device=self.device)
        with torch.no_grad():
            head.weight.copy_(self.start[split])
            head.bias.zero_()
        adam = torch.optim.Adam(head.parameters(), lr=RATE, fused=True)
        for rows in self.batches[split]:
            adam.zero_grad(set_to_none=True)
            loss = cross_entropy(head(self.features[rows]), self.labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
        return head.weight.detach()

    def at_once(self) -> Tensor:
        """Return the same."""
        splits, classes, size = self.start.shape
        weights = nn.Parameter(self.start.to(self.device, copy=True))
        biases = nn.Parameter(torch.zeros(splits, 1, classes, device=self.device))
        adam = torch.optim.Adam([weights, biases], lr=RATE, fused=True)
        for rows in self.batches.unbind(1):
            adam.zero_grad(set_to_none=True)
            inputs = self.features[rows.flatten()].view(splits, BATCH, size)
            scores = torch.baddbmm(biases, inputs, weights.transpose(1, 2))
            # Summed over the splits, each of which has the mean over its own batch.
            loss = cross_entropy(scores.flatten(0, 1), self.labels[rows.flatten()], reduction="sum")
            (loss / BATCH).backward()  # type: ignore[no-untyped-call]
            adam.step()
        return weights.detach()


def _batches(clips: Sequence[int], segments: int, seed: int, steps: int) -> Tensor:
    """Return rows of segments [steps, BATCH], reshuffled when all have been seen."""
    rows = (torch.tensor(clips)[:, None] * segments + torch.arange(segments)).flatten()
    generator = torch.Generator().manual_seed(seed)
    drawn: list[Tensor] = []
    while sum(map(len, drawn)) < steps * BATCH:
        drawn.append(rows[torch.randperm(len(rows), generator=generator)])
    return torch.cat(drawn)[: steps * BATCH].view(steps, BATCH)
