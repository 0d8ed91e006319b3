"""Stage 1: the audio and the visual network, each trained with its own softmax (section 5).

Each unique frame of a clip, and each audio image, passes a trunk once per pass; the segments, which
share two frames of three with their neighbours, gather. What of the trunk is frozen has been passed
before: then a clip comes as features and `trunk` is what is left to train, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from pipelines.augmentation import augmented, draw_segments
from pipelines.fitting import Batch, Fit, Fitted, fit
from pipelines.inputs import CHOOSE_PHASES, FIT_PHASES, ClipTensors
from pipelines.networks.backbone import ModelConfig
from pipelines.networks.fusion import SegmentVectors
from pipelines.networks.pooling import resize_audio
from pipelines.networks.recognisers import AudioNetwork, VisualNetwork
from pipelines.precision import compute_type, mixed
from pipelines.split_clips import SplitClips
from pipelines.split_task import seed_for, slices
from pipelines.training_config import TrainingConfig

AUDIO, VISUAL = "audio", "visual"


class Stage1:
    """The networks of stage 1 of one split."""

    def __init__(
        self,
        clips: SplitClips,
        *,
        seed: int,
        model: ModelConfig,
        training: TrainingConfig,
        device: torch.device,
    ) -> None:
        self.clips, self.seed = clips, seed
        self.model, self.training, self.device = model, training, device
        classes = len(clips.classes)
        self.networks: dict[str, AudioNetwork | VisualNetwork] = {}
        for name, build in ((AUDIO, AudioNetwork), (VISUAL, VisualNetwork)):
            if name in model.used_modalities:
                torch.manual_seed(seed_for(seed, name))
                network = build(model, classes, trained=training.trunk)
                self.networks[name] = network.to(device)
        if VISUAL in self.networks:
            self.visual.temporal.compute = compute_type(training.precision)
        # What a network varies for itself draws from generators of its own.
        self.variation = {
            name: torch.Generator().manual_seed(seed_for(seed, name, "augment"))
            for name in self.networks
        }

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

    # From clips to segments

    def scores(self, name: str, clips: Sequence[ClipTensors]) -> Tensor:
        """Return class scores [segments, classes] before the softmax, by one of the networks."""
        return self.networks[name].scores(self._vectors(name, clips))

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

    @torch.no_grad()
    def segment_vectors(self, clips: Sequence[ClipTensors], *, states: bool) -> SegmentVectors:
        """Return what the frozen networks make of all segments of some clips."""
        numbers = [number for number, clip in enumerate(clips) for _ in range(clip.segments)]
        return SegmentVectors(
            audio=self._vectors(AUDIO, clips).float(),
            visual=self._vectors(VISUAL, clips, states=states).float(),
            clip=torch.tensor(numbers, device=self.device),
        )
