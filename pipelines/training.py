"""Two-stage training of one split, in plain torch (section 5: "we train our models in two phases").

Stage 1 trains the audio network and the visual network, each with its own softmax. Stage 2 trains
the attention fusion on their frozen features. After every epoch the networks are scored on the
inner validation subject; the epoch with the lowest validation loss is kept. Test clips are opened
when nothing is left to choose, and their labels never arrive here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from pipelines.augmentation import augmented, draw_segments
from pipelines.errors import require, require_one_of
from pipelines.fitting import Batch, Fit, fit
from pipelines.inputs import ClipTensors, Wall
from pipelines.mfcc import RESCALINGS
from pipelines.networks.backbone import ModelConfig
from pipelines.networks.fusion import FusionConfig, FusionNetwork
from pipelines.networks.recognisers import AudioNetwork, VisualNetwork
from pipelines.split_task import Row, SegmentPrediction, SplitResult, SplitTask, seed_for
from pipelines.standardise import Standardiser, fit_standardiser

TRAINING_VERSION = 1
"""Raised whenever the same clips and settings would give other predictions than before."""
STAGE_1_PHASES = ("stage1_fit", "stage1_choose")
STAGE_2_PHASES = ("stage2_fit", "stage2_choose")
_Item = TypeVar("_Item")
TRUNK_CHUNK = 64
"""Images a frozen trunk takes at once: bounds memory, and never changes with the batch."""


@dataclass
class TrainingConfig:
    """How the two stages are trained."""

    trunk: str = "full"
    """`full` trains trunk and head; `frozen` only what stands on the trunk."""
    rescaling: str = "row"
    """Range 0-255 of the audio image: min-max by coefficient `row` or by whole `channel` of the
    segment, or `standardised` by mean and deviation of each row over the training clips."""
    audio_epochs: int = 20
    visual_epochs: int = 8
    fusion_epochs: int = 40
    patience: int = 5
    """Epochs without a lower validation loss after which a network stops."""
    clips_per_batch: int = 4
    """Stage 1 goes by clips, so that each unique frame passes the trunk once."""
    segments_per_clip: int | None = None
    """Segments that an epoch of stage 1 draws of each clip; unset: all."""
    segments_per_batch: int = 32
    schedule: str = "constant"
    """Of the learning rates: `constant`, or `cosine` falling to zero over the epochs."""
    trunk_rate: float = 1e-4
    head_rate: float = 1e-3
    augment: bool = False
    """Mirror, shift and tint faces and mask audio images while a whole network is trained."""
    class_weights: bool = True
    """Weigh each class by the inverse of its share of the training segments."""
    cache_mb: int = 2048
    """Memory for clips held by a trial's process."""

    def __post_init__(self) -> None:
        require_one_of("training.trunk", self.trunk, ("full", "frozen"))
        require_one_of("training.schedule", self.schedule, ("constant", "cosine"))
        require_one_of("training.rescaling", self.rescaling, RESCALINGS)
        for name in (
            "audio_epochs",
            "visual_epochs",
            "fusion_epochs",
            "patience",
            "clips_per_batch",
            "segments_per_batch",
            "cache_mb",
        ):
            value = getattr(self, name)
            require(value >= 1, f"training.{name} ({value}) must be at least 1")
        drawn = self.segments_per_clip
        require(
            drawn is None or drawn >= 1,
            f"training.segments_per_clip ({drawn}) must be at least 1, or null for all",
        )
        for name in ("trunk_rate", "head_rate"):
            value = getattr(self, name)
            require(
                0 < value < math.inf, f"training.{name} ({value}) must be greater than 0 and finite"
            )


class SplitTraining:
    """One split, from its clips behind the wall to predictions of its test segments."""

    def __init__(
        self,
        task: SplitTask,
        wall: Wall,
        *,
        model: ModelConfig,
        fusion: FusionConfig,
        training: TrainingConfig,
        device: torch.device,
        on_epoch: Callable[[Row], None] = lambda row: None,
    ) -> None:
        self.task = task
        self.wall = wall
        self.config = training
        self.device = device
        self.on_epoch = on_epoch
        self.labels = dict(task.train + task.validation)
        self.train = [clip_id for clip_id, _ in task.train]
        self.validation = [clip_id for clip_id, _ in task.validation]
        classes = len(task.classes)
        torch.manual_seed(seed_for(task.seed, "audio"))
        self.audio = AudioNetwork(model, classes).to(device)
        torch.manual_seed(seed_for(task.seed, "visual"))
        self.visual = VisualNetwork(model, classes).to(device)
        torch.manual_seed(seed_for(task.seed, "fusion"))
        self.fusion = FusionNetwork(
            self.audio.feature_size, self.visual.feature_size, classes, fusion
        ).to(device)
        if training.trunk == "frozen":
            for trunk in (self.audio.trunk, self.visual.trunk):
                trunk.requires_grad_(False)
        self._trunk_features: dict[tuple[str, str], Tensor] = {}
        self.standardiser: Standardiser | None = None
        if training.rescaling == "standardised":
            fitting = (wall.read(STAGE_1_PHASES[0], clip_id) for clip_id in self.train)
            self.standardiser = fit_standardiser(fitting)
        self.class_weights = self._weigh_classes()
        self.result = SplitResult(
            segments=[],
            curves=[],
            chosen_epochs={},
            reads={},
            fitted=self._fitted(),
            parameters={
                name: sum(parameter.numel() for parameter in network.parameters())
                for name, network in self._networks()
            },
        )
        self._warn_of_gaps()

    def run(self) -> SplitResult:
        """Train both stages, freeze, predict the test segments."""
        for name, epochs in (
            ("audio", self.config.audio_epochs),
            ("visual", self.config.visual_epochs),
        ):
            with self._timed(name):
                self._train_recogniser(name, epochs)
        with self._timed("fusion"):
            self._train_fusion()
        self.wall.freeze()
        with self._timed("test"):
            for clip_id in self.task.test:
                self.result.segments += self._predict(clip_id)
        self.result.reads = {phase: sorted(ids) for phase, ids in self.wall.reads.items()}
        return self.result

    # Stage 1

    def _train_recogniser(self, name: str, epochs: int) -> None:
        network: AudioNetwork | VisualNetwork = self.audio if name == "audio" else self.visual
        fit_phase, choose_phase = STAGE_1_PHASES
        # A frozen trunk's features are kept, so what it sees must not vary.
        varied = self.config.trunk == "full"
        augment = self.config.augment and varied
        drawn = self.config.segments_per_clip if varied else None
        variation = torch.Generator().manual_seed(seed_for(self.task.seed, name, "augment"))

        def scores(clips: Sequence[ClipTensors]) -> Tensor:
            return network.scores(self._segment_features(name, clips))

        def batch(phase: str, clip_ids: Sequence[str]) -> Batch:
            clips = [self._read(phase, clip_id) for clip_id in clip_ids]
            if drawn is not None and phase == fit_phase:
                clips = [draw_segments(clip, drawn, variation) for clip in clips]
            if augment and phase == fit_phase:
                clips = [augmented(clip, variation) for clip in clips]
            return Batch(partial(scores, clips), self._segment_labels(clips))

        head = [p for key, p in network.named_parameters() if not key.startswith("trunk.")]
        trunk = [p for p in network.trunk.parameters() if p.requires_grad]
        size = self.config.clips_per_batch
        self._fit(
            name,
            network,
            epochs,
            rates=[(self.config.trunk_rate, trunk), (self.config.head_rate, head)],
            items=len(self.train),
            batches=lambda order: (
                batch(fit_phase, ids) for ids in _chunks([self.train[i] for i in order], size)
            ),
            validation=lambda: (batch(choose_phase, [clip_id]) for clip_id in self.validation),
        )

    def _segment_features(self, name: str, clips: Sequence[ClipTensors]) -> Tensor:
        """Return the segment vectors [segments, feature] of whole clips, by one of the networks."""
        trunk_features = self._trunk_pass(name, clips)
        if name == "audio":
            vectors: Tensor = self.audio.features(trunk_features)
            return vectors
        offsets = [0]
        for clip in clips[:-1]:
            offsets.append(offsets[-1] + len(clip.crops))
        indices = torch.cat(
            [clip.frame_indices + offset for clip, offset in zip(clips, offsets, strict=True)]
        )
        return self.visual.features(trunk_features, indices.to(self.device))

    def _trunk_pass(self, name: str, clips: Sequence[ClipTensors]) -> Tensor:
        """Each unique frame or audio image once through the trunk; once in all if frozen."""
        trunk = self.audio.trunk if name == "audio" else self.visual.trunk
        images = [clip.audio_images if name == "audio" else clip.crops for clip in clips]
        if self.config.trunk != "frozen":
            features: Tensor = trunk(torch.cat(images).to(self.device))
            return features
        for clip, of_clip in zip(clips, images, strict=True):
            if (name, clip.clip_id) not in self._trunk_features:
                trunk.eval()
                with torch.no_grad():
                    self._trunk_features[name, clip.clip_id] = torch.cat(
                        [
                            trunk(chunk.to(self.device))
                            for chunk in torch.split(of_clip, TRUNK_CHUNK)
                        ]
                    )
        return torch.cat([self._trunk_features[name, clip.clip_id] for clip in clips])

    # Stage 2

    def _train_fusion(self) -> None:
        fit_phase, choose_phase = STAGE_2_PHASES
        for network in (self.audio, self.visual):
            network.requires_grad_(False)
        training = self._frozen_features(fit_phase, self.train)
        held_out = self._frozen_features(choose_phase, self.validation) if self.validation else None

        def scores(features: _Features, rows: Sequence[int] | slice) -> Tensor:
            of_segments: Tensor = self.fusion(features.audio[rows], features.visual[rows])[0]
            return of_segments

        def batch(features: _Features, rows: Sequence[int] | slice) -> Batch:
            return Batch(partial(scores, features, rows), features.labels[rows])

        size = self.config.segments_per_batch
        self._fit(
            "fusion",
            self.fusion,
            self.config.fusion_epochs,
            rates=[(self.config.head_rate, list(self.fusion.parameters()))],
            items=len(training.labels),
            batches=lambda order: (batch(training, rows) for rows in _chunks(order, size)),
            validation=lambda: [batch(held_out, slice(None))] if held_out else [],
        )

    @torch.no_grad()
    def _frozen_features(self, phase: str, clip_ids: Sequence[str]) -> _Features:
        """Return what stage 1 makes of all segments of the clips."""
        self.audio.eval()
        self.visual.eval()
        clips = [self._read(phase, clip_id) for clip_id in clip_ids]
        audio = torch.cat([self._segment_features("audio", [clip]) for clip in clips])
        visual = torch.cat([self._segment_features("visual", [clip]) for clip in clips])
        return _Features(audio, visual, self._segment_labels(clips))

    # Test

    @torch.no_grad()
    def _predict(self, clip_id: str) -> list[SegmentPrediction]:
        for _, network in self._networks():
            network.eval()
        clip = self._read("test", clip_id)
        # One clip at a time: its prediction can't depend on which others are tested with it.
        scores, beta = self.fusion(
            self._segment_features("audio", [clip]), self._segment_features("visual", [clip])
        )
        probabilities = torch.softmax(scores.double(), dim=1).cpu()
        if not torch.isfinite(probabilities).all():
            raise FloatingPointError(f"non-finite probabilities for {clip_id}")
        weights = [[]] * clip.segments if beta is None else beta.double().cpu().tolist()
        return [
            SegmentPrediction(
                clip_id=clip_id,
                segment_index=index,
                probabilities=tuple(row),
                attention=dict(zip(("audio", "visual"), weights[index], strict=False)),
            )
            for index, row in enumerate(probabilities.tolist())
        ]

    # Both stages

    def _fit(
        self,
        name: str,
        network: nn.Module,
        epochs: int,
        *,
        rates: list[tuple[float, list[nn.Parameter]]],
        items: int,
        batches: Callable[[list[int]], Iterable[Batch]],
        validation: Callable[[], Iterable[Batch]],
    ) -> None:
        def on_epoch(row: Row) -> None:
            self.result.curves.append(row)
            self.on_epoch(row)

        self.result.chosen_epochs[name] = fit(
            network,
            Fit(
                name=name,
                epochs=epochs,
                schedule=self.config.schedule,
                patience=self.config.patience,
                seed=seed_for(self.task.seed, name, "fit"),
                class_weights=self.class_weights,
                on_epoch=on_epoch,
            ),
            rates=rates,
            items=items,
            batches=batches,
            validation=validation,
        )

    def _read(self, phase: str, clip_id: str) -> ClipTensors:
        """Return a clip through the wall, its audio images in 0-255."""
        clip = self.wall.read(phase, clip_id)
        return clip if self.standardiser is None else self.standardiser(clip)

    def _fitted(self) -> dict[str, list[str]]:
        """Return what was fitted besides the networks, with the clips that it was fitted on."""
        if self.standardiser is None:
            return {}
        return {"standardiser": list(self.standardiser.fitted_on)}

    def _segment_labels(self, clips: Sequence[ClipTensors]) -> Tensor:
        """Return one label a segment, [segments]."""
        labels = [self.labels[clip.clip_id] for clip in clips for _ in range(clip.segments)]
        return torch.tensor(labels, device=self.device)

    def _weigh_classes(self) -> Tensor | None:
        """Return the inverse share of each class among training segments, mean 1 over present."""
        if not self.config.class_weights:
            return None
        counts = torch.zeros(len(self.task.classes), dtype=torch.float64)
        for clip_id in self.train:
            counts[self.labels[clip_id]] += self.wall.read(STAGE_1_PHASES[0], clip_id).segments
        weights = torch.where(counts > 0, 1.0 / counts.clamp(min=1), 0.0)
        return (weights * (counts > 0).sum() / weights.sum()).float().to(self.device)

    def _warn_of_gaps(self) -> None:
        present = {self.labels[clip_id] for clip_id in self.train}
        for index, label in enumerate(self.task.classes):
            if index not in present:
                self.result.warnings.append(
                    f"no training clip of class {label}: it was never learned"
                )
        if not self.validation:
            self.result.warnings.append(
                "no inner validation subject: every network keeps its last epoch"
            )

    def _networks(self) -> tuple[tuple[str, nn.Module], ...]:
        return (("audio", self.audio), ("visual", self.visual), ("fusion", self.fusion))

    def _timed(self, name: str) -> _Timer:
        return _Timer(self.result.seconds, name)


@dataclass(frozen=True)
class _Features:
    """Segments as stage 2 sees them."""

    audio: Tensor
    visual: Tensor
    labels: Tensor


class _Timer:
    """Adds the seconds of a `with` block to a table."""

    def __init__(self, table: dict[str, float], name: str) -> None:
        self.table, self.name = table, name

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.table[self.name] = time.perf_counter() - self.start


def _chunks(items: Sequence[_Item], size: int) -> Iterator[list[_Item]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
