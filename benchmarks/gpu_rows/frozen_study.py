"""A frozen study from pixels to predictions, against a loop with the trunk in every pass (C1)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import plain_features, plain_study
from benchmarks.alternation import alternate
from benchmarks.gpu_rows.clips import CLASSES, Corpus, images, make_clips, wall_of
from benchmarks.gpu_rows.machine import Machine, deterministic, exact_float32
from pipelines.networks.backbone import (
    AUDIO_IMAGE,
    STORED_FACE,
    Backbone,
    ModelConfig,
    build_backbone,
)
from pipelines.networks.frozen import FrozenTrunk
from pipelines.networks.fusion import FusionConfig
from pipelines.precision import compute_type
from pipelines.split_task import SplitTask, seed_for
from pipelines.training import SplitTraining
from pipelines.training_config import TrainingConfig

TOLERANCE, AGREEING = 1e-3, 0.95
"""Of probabilities in float32; the share of segments with one most probable class in bfloat16."""
POOLED_SIDES = {"vgg19": 7, "small": 3}
"""Of the maps that go into a trunk's fully connected layers."""


def run(machine: Machine) -> dict[str, Any]:
    """Compare predictions in float32, then time ours in bfloat16 against two rivals."""
    study = FrozenStudy(machine)
    with exact_float32():
        difference = float((study.ours("float32") - (truth := study.rival())).abs().max())
    narrow = study.ours("bfloat16")
    agreeing = float((narrow.argmax(1) == truth.argmax(1)).double().mean())
    study.rival(keep_vectors=True)
    return {
        "a": "each unique frame through the trunk once, in bfloat16; then both stages on features, "
        "our LSTM in bfloat16, fused Adam",
        "b": "plain loop over splits, the frozen trunk in every forward pass of both stages, "
        "float32 without TF32, nn.LSTM, default Adam",
        "work": study.work,
        **compared(machine, study, exact_float32, keep_vectors=False),
        "rival_that_keeps_vectors_tf32": {
            "b": "the same, but stage 1's vectors are kept for stage 2, and cuDNN may use TF32, as "
            "torch has it",
            **compared(machine, study, nullcontext, keep_vectors=True),
        },
        "equal": difference <= TOLERANCE and agreeing >= AGREEING,
        "tolerance": {"probabilities in float32": TOLERANCE, "agreeing in bfloat16": AGREEING},
        "difference_float32": float(f"{difference:.2g}"),
        "agreeing_bfloat16": round(agreeing, 4),
    }


def compared(
    machine: Machine,
    study: FrozenStudy,
    arithmetic: Callable[[], AbstractContextManager[None]],
    *,
    keep_vectors: bool,
) -> dict[str, Any]:
    """Time ours in bfloat16 against the rival; both have been run before."""

    def rival() -> None:
        with arithmetic():
            study.rival(keep_vectors=keep_vectors)

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
        small, device = machine.small, machine.device
        side = 32 if small else STORED_FACE
        self.corpus = Corpus(subjects=4, clips=8)
        if small:
            self.corpus = Corpus(subjects=3, clips=6, segments=2)
        self.model = ModelConfig(
            backbone="small" if small else "vgg19", lstm_hidden=16 if small else 4096, dropout=0.0
        )
        self.fusion = FusionConfig(dropout=0.0)
        epochs = 1 if small else 5
        self.training = TrainingConfig(
            trunk="frozen",
            audio_epochs=epochs,
            visual_epochs=epochs,
            fusion_epochs=epochs,
            patience=epochs,
            head_rate=1e-4,
            class_weights=False,
        )
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
        self.feature_size = backbone.feature_size
        self.plain_trunk = plain(backbone, POOLED_SIDES[self.model.backbone]).to(device)
        self.trunks = {
            precision: FrozenTrunk(
                copy.deepcopy(backbone),
                layer="features",
                compute=compute_type(precision),
                device=device,
            )
            for precision in ("float32", "bfloat16")
        }

    def ours(self, precision: str) -> Tensor:
        """Return class probabilities of all test segments, split by split."""
        trunk, device = self.trunks[precision], self.machine.device
        stored = torch.float32 if precision == "float32" else torch.float16
        clips = {
            clip_id: replace(
                clip,
                frames=trunk(clip.frames).to(device, stored),
                audio=trunk(clip.audio).to(device, stored),
            )
            for clip_id, clip in self.pixels.items()
        }
        rows = []
        with deterministic():
            for task in self.corpus.tasks():
                result = SplitTraining(
                    task,
                    wall_of(task, clips),
                    model=self.model,
                    fusion=self.fusion,
                    training=replace(self.training, precision=precision),
                    device=device,
                ).run()
                rows += [segment.probabilities for segment in result.segments]
        return torch.tensor(rows, dtype=torch.float64)

    def rival(self, *, keep_vectors: bool = False) -> Tensor:
        """Return the same by the plain loop."""
        clips = {
            clip_id: plain_features.Clip(clip.frames, clip.audio, clip.frame_indices)
            for clip_id, clip in self.pixels.items()
        }
        settings = plain_study.Settings(
            classes=len(CLASSES),
            feature_size=self.feature_size,
            lstm_hidden=self.model.lstm_hidden,
            attention_size=self.fusion.attention_size,
            segments=self.corpus.segments,
            epochs=self.training.visual_epochs,
            clips_per_batch=self.training.clips_per_batch,
            segments_per_batch=self.training.segments_per_batch,
            rate=self.training.head_rate,
            keep_vectors=keep_vectors,
            device=str(self.machine.device),
        )
        features = plain_features.TrunkInForwardPass(self.plain_trunk, clips)
        splits = [plain_split(task) for task in self.corpus.tasks()]
        answers = plain_study.run_study(features, splits, settings)
        rows = [
            row
            for split in splits
            for clip_id in split.test
            for row in answers[split.split_id][clip_id]
        ]
        return torch.tensor(rows, dtype=torch.float64)


def plain(backbone: Backbone, pooled_side: int) -> nn.Module:
    """Return a trunk as one puts it together from torchvision's parts, with the same weights."""
    normalised = plain_features.Normalised(
        backbone.mean.flatten().tolist(), backbone.deviation.flatten().tolist()
    )
    layers = [backbone.get_submodule(name) for name in ("features", "classifier")]
    convolutions, connected = (copy.deepcopy(layer) for layer in layers)
    pooling = nn.AdaptiveAvgPool2d(pooled_side)
    trunk = nn.Sequential(normalised, convolutions, pooling, nn.Flatten(), connected)
    return trunk.to(memory_format=torch.contiguous_format).eval()


def plain_split(task: SplitTask) -> plain_study.Split:
    """Return a split with the seeds from which ours starts."""
    names = ("audio", "visual", "fusion")
    return plain_study.Split(
        split_id=task.split_id,
        train=list(task.train),
        validation=list(task.validation),
        test=list(task.test),
        seeds={
            **{name: seed_for(task.seed, name) for name in names},
            **{f"order of {name}": seed_for(task.seed, name, "fit") for name in names},
        },
    )
