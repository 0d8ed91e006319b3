"""A frozen study from pixels to predictions, against a loop with the trunk in every pass."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.alternation import alternate
from benchmarks.gpu_rows.clips import Corpus, images, make_clips, wall_of
from benchmarks.gpu_rows.machine import Machine, deterministic, exact_float32
from benchmarks.gpu_rows.plain_loop import PlainLoop
from pipelines.networks.backbone import AUDIO_IMAGE, STORED_FACE, ModelConfig, build_backbone
from pipelines.networks.frozen import FrozenTrunk
from pipelines.networks.fusion import FusionConfig
from pipelines.precision import compute_type
from pipelines.training import SplitTraining
from pipelines.training_config import TrainingConfig

TOLERANCE, AGREEING = 1e-3, 0.95
"""Of probabilities in float32; the share of segments with one most probable class in bfloat16."""


def run(machine: Machine) -> dict[str, Any]:
    """Compare predictions in float32, then time ours in bfloat16 against the rival in float32."""
    study = FrozenStudy(machine)
    study.rival(study.short)  # nobody's warm-up: the rival is too slow for a whole one
    with exact_float32():
        truth = study.rival(study.training)
        error = float((study.ours("float32") - truth).abs().max())
    narrow = study.ours("bfloat16")
    agreeing = float((narrow.argmax(1) == truth.argmax(1)).double().mean())
    exact = compared(machine, study, exact_float32)
    tf32 = compared(machine, study, nullcontext)
    return {
        "a": "each unique frame through the trunk once, in bfloat16; then stages 1 and 2 on "
        "features, our LSTM in bfloat16, fused Adam",
        "b": "the trunk in every forward pass on the frames of each segment, nn.LSTM, default "
        "Adam: float32 without TF32; with torch's own setting (TF32 in cuDNN) in rival_tf32",
        "work": study.work,
        **exact,
        "rival_tf32": tf32,
        "equal": error <= TOLERANCE and agreeing >= AGREEING,
        "tolerance": {"probabilities in float32": TOLERANCE, "agreeing in bfloat16": AGREEING},
        "difference_float32": float(f"{error:.2g}"),
        "agreeing_bfloat16": round(agreeing, 4),
    }


def compared(
    machine: Machine, study: FrozenStudy, arithmetic: Callable[[], AbstractContextManager[None]]
) -> dict[str, Any]:
    """Time ours in bfloat16 against the rival; both have been run before."""

    def rival() -> None:
        with arithmetic():
            study.rival(study.training)

    return alternate(
        machine.settled(lambda: study.ours("bfloat16")),
        machine.settled(rival),
        repeats=machine.repeats,
        warm=False,
    )


class FrozenStudy:
    """A small LOSO study, run both ways from pixels that are on the device."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        small = machine.small
        side = 32 if small else STORED_FACE
        self.corpus = (
            Corpus(subjects=3, clips=6, segments=2) if small else Corpus(subjects=4, clips=8)
        )
        self.model = ModelConfig(
            backbone="small" if small else "vgg19", lstm_hidden=16 if small else 4096, dropout=0.0
        )
        self.fusion = FusionConfig(dropout=0.0)
        epochs = 1 if small else 10
        self.training = TrainingConfig(
            trunk="frozen",
            audio_epochs=epochs,
            visual_epochs=epochs,
            fusion_epochs=epochs,
            patience=epochs,
            head_rate=1e-4,
        )
        self.short = replace(self.training, audio_epochs=1, visual_epochs=1, fusion_epochs=1)
        device = machine.device
        self.pixels = make_clips(
            self.corpus,
            lambda clip_id, count: images(clip_id, count, side).to(device),
            lambda clip_id, count: images(clip_id, count, AUDIO_IMAGE).to(device),
        )
        self.work = (
            f"{self.corpus.subjects} splits, {self.corpus.clips} clips, {self.corpus.segments} "
            f"segments, faces of {side} pixels, {self.model.backbone}, LSTM "
            f"{self.model.lstm_hidden}, {epochs} epochs of each network; the making of the "
            "networks counts on both sides, that of the trunk on neither"
        )
        torch.manual_seed(0)
        backbone = build_backbone(self.model).eval().requires_grad_(False)
        self.trunks = {
            precision: FrozenTrunk(
                copy.deepcopy(backbone),
                layer="features",
                compute=compute_type(precision),
                device=device,
            )
            for precision in ("float32", "bfloat16")
        }
        self.plain = backbone.to(device)

    def ours(self, precision: str) -> Tensor:
        """Return class probabilities of all test segments."""
        trunk, device = self.trunks[precision], self.machine.device
        clips = {
            clip_id: replace(
                clip,
                frames=trunk(clip.frames).half().to(device),
                audio=trunk(clip.audio).half().to(device),
            )
            for clip_id, clip in self.pixels.items()
        }
        training = replace(self.training, precision=precision)
        rows = []
        with deterministic():
            for task in self.corpus.tasks():
                result = SplitTraining(
                    task,
                    wall_of(task, clips),
                    model=self.model,
                    fusion=self.fusion,
                    training=training,
                    device=device,
                ).run()
                rows += [segment.probabilities for segment in result.segments]
        return torch.tensor(rows, dtype=torch.float64)

    def rival(self, training: TrainingConfig) -> Tensor:
        """Return the same by the plain loop."""
        loop = PlainLoop(
            trunk=self.plain,
            clips=self.pixels,
            model=self.model,
            fusion=self.fusion,
            training=training,
            device=self.machine.device,
        )
        return loop.study(self.corpus.tasks())
