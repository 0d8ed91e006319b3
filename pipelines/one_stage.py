"""One stage in place of two: trunks, LSTM and fusion learn together, by the fusion's loss alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipelines.clip_training import ClipTraining
from pipelines.fitting import Fit, Fitted
from pipelines.inputs import ClipTensors
from pipelines.networks.fusion import Fused, FusionConfig, FusionNetwork
from pipelines.segment_networks import SegmentNetworks, build_fusion
from pipelines.split_clips import SplitClips
from pipelines.split_task import seed_for

JOINT = "joint"


class JointNetwork(nn.Module):
    """Clips -> class scores: all that the fusion's gradient gets to.

    The softmaxes of stage 1, and the dropout before them, are no part of it.
    """

    def __init__(self, networks: SegmentNetworks, fusion: FusionNetwork) -> None:
        super().__init__()
        self.audio_trunk = networks.audio.trunk
        self.visual_trunk = networks.visual.trunk
        self.temporal = networks.visual.temporal
        self.fusion = fusion
        self._networks = networks

    def forward(self, clips: Sequence[ClipTensors]) -> Fused:
        """Fuse the segments of some clips."""
        vectors = self._networks.segment_vectors(clips, states=self.fusion.of_states)
        fused: Fused = self.fusion(vectors)
        return fused


class OneStage:
    """The joint network of one split, and its training."""

    def __init__(
        self, clips: SplitClips, networks: SegmentNetworks, *, seed: int, fusion: FusionConfig
    ) -> None:
        """Join the networks, which nothing has trained: two stages would start from the same."""
        self.clips, self.training = clips, networks.training
        self.network = JointNetwork(
            networks, build_fusion(networks, len(clips.classes), fusion, seed=seed)
        )
        self.variation = torch.Generator().manual_seed(seed_for(seed, JOINT, "augment"))

    def train(self, settings: Fit) -> Fitted:
        """Train the joint network, and freeze it."""
        network = self.network
        by_clips = ClipTraining(
            clips=self.clips,
            training=self.training,
            variation=self.variation,
            scores=self._scores,
            labels=self.clips.clip_labels if network.fusion.per_clip else self.clips.segment_labels,
        )
        return by_clips.fit(network, settings, trunks=[network.audio_trunk, network.visual_trunk])

    def _scores(self, clips: Sequence[ClipTensors]) -> Tensor:
        fused: Fused = self.network(clips)
        return fused.scores
