"""Stage 1: the audio and the visual network, each trained with its own softmax (section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from pipelines.augmentation import augmented, draw_segments
from pipelines.fitting import Batch, Fit, Fitted, fit
from pipelines.inputs import CHOOSE_PHASES, FIT_PHASES, ClipTensors
from pipelines.networks.backbone import ModelConfig
from pipelines.segment_networks import SegmentNetworks
from pipelines.split_clips import SplitClips
from pipelines.split_task import seed_for, slices
from pipelines.training_config import TrainingConfig


class Stage1(SegmentNetworks):
    """The networks of stage 1 of one split, and their training."""

    def __init__(
        self,
        clips: SplitClips,
        *,
        seed: int,
        model: ModelConfig,
        training: TrainingConfig,
        device: torch.device,
    ) -> None:
        super().__init__(
            len(clips.classes), seed=seed, model=model, training=training, device=device
        )
        self.clips = clips
        # What a network varies for itself draws from generators of its own.
        self.variation = {
            name: torch.Generator().manual_seed(seed_for(seed, name, "augment"))
            for name in self.networks
        }

    def train(self, name: str, settings: Fit) -> Fitted:
        """Train one of the networks, and freeze it."""
        network = self.networks[name]
        fit_phase, choose_phase = FIT_PHASES[0], CHOOSE_PHASES[0]
        trunk = list(network.trunk.parameters())
        of_trunk = {id(parameter) for parameter in trunk}
        head = [p for p in network.parameters() if id(p) not in of_trunk]
        size = self.training.clips_per_batch
        train, validation = self.clips.train, self.clips.validation

        def batches(order: list[int]) -> Iterable[Batch]:
            for numbers in slices(order, size):
                clips = [self.clips.read(fit_phase, train[number]) for number in numbers]
                yield self._batch(name, [self._varied(name, clip) for clip in clips])

        def held_out() -> Iterable[Batch]:
            for clip_ids in slices(validation, size):
                yield self._batch(name, [self.clips.read(choose_phase, c) for c in clip_ids])

        fitted = fit(
            network,
            settings,
            rates=[(self.training.trunk_rate, trunk), (self.training.head_rate, head)],
            items=len(train),
            batches=batches,
            validation=held_out,
        )
        network.requires_grad_(False)
        return fitted

    def _batch(self, name: str, clips: Sequence[ClipTensors]) -> Batch:
        scores: Callable[[Sequence[ClipTensors]], Tensor] = partial(self.scores, name)
        return Batch(clips, scores, self.clips.segment_labels)

    def _varied(self, name: str, clip: ClipTensors) -> ClipTensors:
        # What the network does not see costs nothing, and draws no numbers.
        clip = clip.only(name)
        drawn = self.training.segments_per_clip
        if drawn is not None:
            clip = draw_segments(clip, drawn, self.variation[name])
        # Features of frozen layers are computed once: what they see does not vary.
        if self.training.augment and self.training.trunk == "full":
            clip = augmented(clip, self.variation[name])
        return clip
