"""From clips to segments: what the networks of stage 1 make of the segments of a few clips.

Each unique frame of a clip, and each audio image, passes a trunk once per pass; the segments, which
share two frames of three with their neighbours, gather. What of the trunk is frozen has been passed
before: then a clip comes as features and `trunk` is what is left to train, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipelines.inputs import ClipTensors
from pipelines.networks.backbone import ModelConfig
from pipelines.networks.fusion import FusionConfig, FusionNetwork, SegmentVectors
from pipelines.networks.pooling import resize_audio
from pipelines.networks.recognisers import AudioNetwork, VisualNetwork
from pipelines.precision import at_least_single, compute_type, mixed
from pipelines.split_task import seed_for
from pipelines.training_config import TrainingConfig

AUDIO, VISUAL = "audio", "visual"


class SegmentNetworks:
    """The networks of stage 1, trained or yet to be."""

    def __init__(
        self,
        classes: int,
        *,
        seed: int,
        model: ModelConfig,
        training: TrainingConfig,
        device: torch.device,
    ) -> None:
        """Build them.

        Args:
            classes: how many.
            seed: of their first weights.
            model: which networks.
            training: says what of a trunk they hold, and the precision of their products.
            device: where they compute.
        """
        self.model, self.training, self.device = model, training, device
        self.networks: dict[str, AudioNetwork | VisualNetwork] = {}
        for name, build in ((AUDIO, AudioNetwork), (VISUAL, VisualNetwork)):
            if name in model.used_modalities:
                torch.manual_seed(seed_for(seed, name))
                network = build(model, classes, trained=training.trunk)
                self.networks[name] = network.to(device)
        if VISUAL in self.networks:
            self.visual.temporal.compute = compute_type(training.precision)

    @property
    def audio(self) -> AudioNetwork:
        """The audio network."""
        network = self.networks[AUDIO]
        assert isinstance(network, AudioNetwork)
        return network

    @property
    def visual(self) -> VisualNetwork:
        """The visual network."""
        network = self.networks[VISUAL]
        assert isinstance(network, VisualNetwork)
        return network

    def scores(self, name: str, clips: Sequence[ClipTensors]) -> Tensor:
        """Return class scores [segments, classes] before the softmax, by one of the networks."""
        return self.networks[name].scores(self._vectors(name, clips))

    def segment_vectors(self, clips: Sequence[ClipTensors], *, states: bool) -> SegmentVectors:
        """Return what both networks make of all segments of some clips, before their softmax."""
        numbers = [number for number, clip in enumerate(clips) for _ in range(clip.segments)]
        return SegmentVectors(
            audio=at_least_single(self._vectors(AUDIO, clips)),
            visual=at_least_single(self._vectors(VISUAL, clips, states=states)),
            clip=torch.tensor(numbers, device=self.device),
        )

    def _vectors(self, name: str, clips: Sequence[ClipTensors], *, states: bool = False) -> Tensor:
        """Return the segments' vectors [segments, feature]; with `states` those of all 20 steps."""
        inputs = self._trunk_inputs(name, clips)
        with mixed(self.device, self.training.precision):
            trunk_features: Tensor = self.networks[name].trunk(inputs)
        if name == AUDIO:
            return trunk_features
        offsets = [0]
        for clip in clips[:-1]:
            offsets.append(offsets[-1] + len(clip.frames))
        indices = torch.cat(
            [clip.frame_indices + offset for clip, offset in zip(clips, offsets, strict=True)]
        ).to(self.device)
        temporal = self.visual.temporal
        if states:
            return temporal.states(trunk_features, indices)
        vectors: Tensor = temporal(trunk_features, indices)
        return vectors

    def _trunk_inputs(self, name: str, clips: Sequence[ClipTensors]) -> Tensor:
        each = [clip.audio if name == AUDIO else clip.frames for clip in clips]
        inputs = torch.cat(each).to(self.device)
        if self.training.trunk == "fc":
            # Features are stored in half the precision of the weights.
            return inputs.to(next(self.networks[name].trunk.parameters()).dtype)
        if self.training.trunk == "full" and name == AUDIO:
            return resize_audio(inputs, self.model.audio_size)
        return inputs


def build_fusion(
    networks: SegmentNetworks, classes: int, config: FusionConfig, *, seed: int
) -> FusionNetwork:
    """Build the fusion of both networks' vectors, where these compute.

    Args:
        networks: with both modalities.
        classes: how many.
        config: which fusion.
        seed: of its first weights.
    """
    torch.manual_seed(seed_for(seed, "fusion"))
    return FusionNetwork(
        networks.audio.feature_size, networks.visual.feature_size, classes, config
    ).to(networks.device)
