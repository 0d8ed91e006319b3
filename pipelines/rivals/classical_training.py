"""The classical floor of the field: descriptors of whole clips and a support vector machine."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from pipelines.inputs import CHOOSE_PHASES, FIT_PHASES, TEST_PHASE, ClipTensors, Wall
from pipelines.prediction import segment_predictions
from pipelines.rivals.appearance import (
    gradient_histograms,
    grey_faces,
    over_frames,
    pattern_histograms,
)
from pipelines.rivals.classifiers import Classifier, choose_classifier
from pipelines.rivals.config import FUNCTIONALS, LBP, RivalConfig
from pipelines.rivals.examples import Matrix, Rows
from pipelines.rivals.functionals import voice_functionals
from pipelines.split_clips import SplitClips
from pipelines.split_task import CLASSIFIER, SplitResult, SplitTask


class ClassicalTraining:
    """One split without a network, as `SplitTraining` is one with networks."""

    def __init__(
        self,
        task: SplitTask,
        wall: Wall,
        *,
        rival: RivalConfig,
        weighted: bool,
        frame_shift: int,
    ) -> None:
        """Read nothing yet.

        Args:
            task: the split: its clips, and the labels of those that it learns from.
            wall: the only way to its clips, which come as pixels and unscaled audio images.
            rival: one of the classical kinds.
            weighted: weigh each class by the inverse of its share of the training clips.
            frame_shift: frames of sound from the start of one segment to that of the next.
        """
        self.task, self.wall, self.rival = task, wall, rival
        self.weighted, self.frame_shift = weighted, frame_shift
        self.clips = SplitClips(
            task, wall, standardised=False, frozen_audio=None, device=torch.device("cpu")
        )
        self.networks: dict[str, nn.Module] = {}
        self.result = SplitResult(
            segments=[],
            curves=[],
            chosen_epochs={},
            reads={},
            parameters={},
            warnings=self.clips.unlearned(),
        )

    def run(self) -> SplitResult:
        """Describe the clips, choose and fit the machine, freeze, predict the test clips.

        Raises:
            FloatingPointError: a prediction is not finite.
        """
        start = time.perf_counter()
        with threadpool_limits(1):
            classifier = self._fit()
            trained = time.perf_counter()
            self.wall.freeze()
            for clip_id in self.task.test:
                clip = self.clips.read(TEST_PHASE, clip_id)
                values = np.concatenate(self.describe(clip))[None]
                self.result.segments += segment_predictions(clip, classifier.probabilities(values))
        result, kind = self.result, self.rival.kind
        result.seconds = {kind: trained - start, "test": time.perf_counter() - trained}
        result.fitted = {CLASSIFIER: classifier.fitted_on}
        result.parameters = {kind: classifier.parameters}
        result.chosen = classifier.chosen
        result.warnings += classifier.warnings(kind)
        result.reads = {phase: sorted(ids) for phase, ids in self.wall.reads.items()}
        return result

    def describe(self, clip: ClipTensors) -> list[Matrix]:
        """Return the descriptors of one clip, each set by itself."""
        sets = [voice_functionals(clip, self.frame_shift)] if self.rival.hears else []
        if self.rival.kind != FUNCTIONALS:
            of_faces = pattern_histograms if self.rival.kind == LBP else gradient_histograms
            sets.append(over_frames(of_faces(grey_faces(clip.frames))))
        return sets

    def _fit(self) -> Classifier:
        learned, blocks = self._rows(FIT_PHASES[0], self.clips.train)
        held_out, _ = self._rows(CHOOSE_PHASES[0], self.clips.validation)
        return choose_classifier(
            self.rival,
            learned,
            held_out if len(held_out) else None,
            classes=len(self.clips.classes),
            weighted=self.weighted,
            seed=self.task.seed,
            blocks=blocks,
        )

    def _rows(self, phase: str, clip_ids: Sequence[str]) -> tuple[Rows, list[int]]:
        """Return a row for each clip, and the sizes of its sets of descriptors."""
        described = [self.describe(self.clips.read(phase, clip_id)) for clip_id in clip_ids]
        labels = [self.clips.label_of[clip_id] for clip_id in clip_ids]
        rows = Rows(
            values=np.array([np.concatenate(sets) for sets in described]),
            labels=np.array(labels, dtype=np.int64),
            clip_ids=tuple(clip_ids),
        )
        return rows, [len(values) for values in described[0]] if described else []
