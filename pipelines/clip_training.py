"""Training by clips, so that each unique frame passes a trunk once: its batches and its rates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipelines.augmentation import augmented, draw_segments
from pipelines.fitting import Batch, Fit, Fitted, fit
from pipelines.inputs import CHOOSE_PHASES, FIT_PHASES, ClipTensors
from pipelines.split_clips import SplitClips
from pipelines.split_task import slices
from pipelines.training_config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class ClipTraining:
    """How a network learns from the clips of a split."""

    clips: SplitClips
    training: TrainingConfig
    variation: torch.Generator
    """Draws the segments of an epoch, and how they are varied."""
    scores: Callable[[Sequence[ClipTensors]], Tensor]
    """Clips -> class scores before the softmax [rows, classes]: a row a segment, or a clip."""
    labels: Callable[[Sequence[ClipTensors]], Tensor]
    """Clips -> [rows]."""
    modality: str | None = None
    """The one that the network sees; None: both."""

    def fit(self, network: nn.Module, settings: Fit, *, trunks: Sequence[nn.Module]) -> Fitted:
        """Train a network, its trunks at a rate of their own, and freeze it."""
        trunk = [parameter for part in trunks for parameter in part.parameters()]
        of_trunk = {id(parameter) for parameter in trunk}
        head = [p for p in network.parameters() if id(p) not in of_trunk]
        fitted = fit(
            network,
            settings,
            rates=[(self.training.trunk_rate, trunk), (self.training.head_rate, head)],
            items=len(self.clips.train),
            batches=self._batches,
            validation=self._held_out,
        )
        network.requires_grad_(False)
        return fitted

    def _batches(self, order: Sequence[int]) -> Iterable[Batch]:
        phase, train = FIT_PHASES[0], self.clips.train
        for numbers in slices(order, self.training.clips_per_batch):
            clips = [self.clips.read(phase, train[number]) for number in numbers]
            yield self._batch([self._varied(clip) for clip in clips])

    def _held_out(self) -> Iterable[Batch]:
        for clip_ids in slices(self.clips.validation, self.training.clips_per_batch):
            yield self._batch([self.clips.read(CHOOSE_PHASES[0], c) for c in clip_ids])

    def _batch(self, clips: Sequence[ClipTensors]) -> Batch:
        return Batch(clips, self.scores, self.labels)

    def _varied(self, clip: ClipTensors) -> ClipTensors:
        if self.modality is not None:
            # What the network does not see costs nothing, and draws no numbers.
            clip = clip.only(self.modality)
        drawn = self.training.segments_per_clip
        if drawn is not None:
            clip = draw_segments(clip, drawn, self.variation)
        # Features of frozen layers are computed once: what they see does not vary.
        if self.training.augment and self.training.trunk == "full":
            clip = augmented(clip, self.variation)
        return clip
