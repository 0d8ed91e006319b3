"""The clips of one split as its training reads them: through the wall, labelled, standardised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pipelines.inputs import FIT_PHASES, ClipTensors, Wall
from pipelines.networks.frozen import FrozenTrunk
from pipelines.split_task import STANDARDISER, SplitTask
from pipelines.standardise import Standardiser, fit_standardiser


class SplitClips:
    """Reads for one split. Labels of test clips are not here: they never arrive in a trial."""

    def __init__(
        self,
        task: SplitTask,
        wall: Wall,
        *,
        standardised: bool,
        frozen_audio: FrozenTrunk | None,
        device: torch.device,
    ) -> None:
        """Fit the standardiser on the training clips, where there is to be one.

        Args:
            task: which clips.
            wall: the only way to them.
            standardised: audio images arrive unscaled.
            frozen_audio: makes features of standardised audio images. They depend on the split's
                training clips, so they are in no store, and are forgotten with the split.
            device: where labels are compared.
        """
        self.wall, self.device = wall, device
        self.classes = task.classes
        self.label_of = dict(task.train + task.validation)
        self.train = [clip_id for clip_id, _ in task.train]
        self.validation = [clip_id for clip_id, _ in task.validation]
        self._frozen_audio = frozen_audio
        self._features: dict[tuple[str, tuple[int, ...]], Tensor] = {}
        self.standardiser: Standardiser | None = None
        if standardised:
            clips = (wall.read(FIT_PHASES[0], clip_id) for clip_id in self.train)
            self.standardiser = fit_standardiser(clips)

    @property
    def fitted(self) -> dict[str, list[str]]:
        """What was fitted besides the networks -> the clips that it was fitted on."""
        if self.standardiser is None:
            return {}
        return {STANDARDISER: list(self.standardiser.fitted_on)}

    def read(self, phase: str, clip_id: str) -> ClipTensors:
        """Return a clip through the wall, its audio images in 0-255 or as features."""
        clip = self.wall.read(phase, clip_id)
        if self.standardiser is None:
            return clip
        clip = self.standardiser(clip)
        if self._frozen_audio is None:
            return clip
        key = (clip_id, clip.numbers)
        if key not in self._features:
            self._features[key] = self._frozen_audio(clip.audio).to(self.device)
        return replace(clip, audio=self._features[key])

    def segment_labels(self, clips: Sequence[ClipTensors]) -> Tensor:
        """Return one label a segment, [segments]."""
        labels = [self.label_of[clip.clip_id] for clip in clips for _ in range(clip.segments)]
        return torch.tensor(labels, device=self.device)

    def clip_labels(self, clips: Sequence[ClipTensors]) -> Tensor:
        """Return one label a clip, [clips]."""
        return torch.tensor([self.label_of[clip.clip_id] for clip in clips], device=self.device)

    def class_weights(self) -> Tensor:
        """Return the inverse share of each class among training segments, mean 1 over present."""
        counts = torch.zeros(len(self.classes), dtype=torch.float64)
        for clip_id in self.train:
            clip = self.wall.read(FIT_PHASES[0], clip_id)
            counts[self.label_of[clip_id]] += clip.segments
        weights = torch.where(counts > 0, 1.0 / counts.clamp(min=1), 0.0)
        return (weights * (counts > 0).sum() / weights.sum()).float().to(self.device)

    def unlearned(self) -> list[str]:
        """Return a line for each class that no training clip shows."""
        present = {self.label_of[clip_id] for clip_id in self.train}
        return [
            f"no training clip of class {label}: it was never learned"
            for index, label in enumerate(self.classes)
            if index not in present
        ]

    def gaps(self) -> list[str]:
        """Return what a reader of the split's figures must know of its clips."""
        told = self.unlearned()
        if not self.validation:
            told.append("no inner validation subject: every network keeps its last epoch")
        return told
