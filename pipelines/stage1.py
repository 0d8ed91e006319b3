"""Stage 1: the audio and the visual network, each trained with its own softmax (section 5)."""

from __future__ import annotations

from functools import partial

import torch

from pipelines.clip_training import ClipTraining
from pipelines.fitting import Fit, Fitted
from pipelines.networks.backbone import ModelConfig
from pipelines.segment_networks import SegmentNetworks
from pipelines.split_clips import SplitClips
from pipelines.split_task import seed_for
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
        by_clips = ClipTraining(
            clips=self.clips,
            training=self.training,
            variation=self.variation[name],
            scores=partial(self.scores, name),
            labels=self.clips.segment_labels,
            modality=name,
        )
        return by_clips.fit(network, settings, trunks=[network.trunk])
