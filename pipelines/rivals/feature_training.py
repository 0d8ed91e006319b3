"""A rival in the place of stage 2: on what the frozen networks of stage 1 make of clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from pipelines.inputs import CHOOSE_PHASES, FIT_PHASES, TEST_PHASE
from pipelines.networks.fusion import FusionConfig
from pipelines.prediction import segment_predictions
from pipelines.rivals.classifiers import Classifier, choose_classifier
from pipelines.rivals.config import RivalConfig
from pipelines.rivals.examples import UNKNOWN, Matrix, Segments
from pipelines.rivals.representations import Representation, fit_representation
from pipelines.split_task import CLASSIFIER, SegmentPrediction, slices
from pipelines.training import SplitTraining


@dataclass(frozen=True)
class FeatureRival:
    """A fitted rival."""

    representation: Representation
    classifier: Classifier

    @classmethod
    def fit(
        cls,
        rival: RivalConfig,
        train: Segments,
        held_out: Segments,
        *,
        classes: int,
        weighted: bool,
        seed: int,
    ) -> FeatureRival:
        """Fit on training segments, and choose by those of the inner validation subject.

        Args:
            rival: which one.
            train: segments that it learns from.
            held_out: segments that its classifier's strength is chosen by; there may be none.
            classes: how many there are.
            weighted: weigh each class by the inverse of its share of the training rows.
            seed: of the split.
        """
        with threadpool_limits(1):
            representation = fit_representation(rival, train, seed=seed)
            classifier = choose_classifier(
                rival,
                representation.rows(train),
                representation.rows(held_out) if len(held_out) else None,
                classes=classes,
                weighted=weighted,
                seed=seed,
            )
        return cls(representation, classifier)

    def probabilities(self, clip: Segments) -> Matrix:
        """Return class probabilities of one clip, [segments, classes] or [1, classes]."""
        with threadpool_limits(1):
            return self.classifier.probabilities(self.representation.rows(clip).values)

    @property
    def fitted(self) -> dict[str, list[str]]:
        """What was fitted -> ids of the clips that it was fitted on."""
        return {**self.representation.fitted, CLASSIFIER: self.classifier.fitted_on}


class FeatureRivalTraining(SplitTraining):
    """One split: stage 1 as ever, and a rival on top of it."""

    def __init__(self, *arguments: Any, rival: RivalConfig, **settings: Any) -> None:
        """Build the networks of stage 1; see `SplitTraining`."""
        super().__init__(*arguments, **settings)
        self.config_of_rival = rival
        self.rival: FeatureRival | None = None

    def _build_stage2(self, fusion: FusionConfig) -> None:
        """Build no network: the rival stands there."""

    def _train_stage2(self) -> None:
        kind = self.config_of_rival.kind
        with self._timed(kind):
            self.rival = FeatureRival.fit(
                self.config_of_rival,
                self._segments(FIT_PHASES[1], self.clips.train),
                self._segments(CHOOSE_PHASES[1], self.clips.validation),
                classes=len(self.clips.classes),
                weighted=self.config.class_weights,
                seed=self.task.seed,
            )
        classifier = self.rival.classifier
        self.result.fitted.update(self.rival.fitted)
        self.result.parameters[kind] = classifier.parameters
        self.result.chosen.update(classifier.chosen)
        self.result.warnings += [*self.rival.representation.warnings, *classifier.warnings(kind)]

    def _predict(self, clip_id: str) -> list[SegmentPrediction]:
        assert self.rival is not None
        clip = self.clips.read(TEST_PHASE, clip_id)
        probabilities = self.rival.probabilities(self._segments(TEST_PHASE, [clip_id]))
        return segment_predictions(clip, probabilities)

    @torch.no_grad()
    def _segments(self, phase: str, clip_ids: Sequence[str]) -> Segments:
        """Read clips, and return what stage 1 makes of their segments."""
        audio, visual, labels, of_clips = [], [], list[int](), list[str]()
        for some in slices(clip_ids, self.config.clips_per_batch):
            clips = [self.clips.read(phase, clip_id) for clip_id in some]
            vectors = self.stage1.segment_vectors(clips, states=False)
            audio.append(vectors.audio.double().cpu().numpy())
            visual.append(vectors.visual.double().cpu().numpy())
            for clip in clips:
                labels += [self.clips.label_of.get(clip.clip_id, UNKNOWN)] * clip.segments
                of_clips += [clip.clip_id] * clip.segments
        sizes = (self.stage1.audio.feature_size, self.stage1.visual.feature_size)
        return Segments(
            audio=np.concatenate([np.empty((0, sizes[0])), *audio]),
            visual=np.concatenate([np.empty((0, sizes[1])), *visual]),
            labels=np.array(labels, dtype=np.int64),
            clip_ids=tuple(of_clips),
        )
