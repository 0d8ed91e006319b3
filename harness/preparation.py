"""A configuration made ready for training: its corpus as shards, and features of a frozen trunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.config import StudyConfig, model_settings
from harness.corpora import StudyCorpora, StudyData
from harness.plan import Split
from harness.scheduling import Job
from harness.trial import Rung
from pipelines.clip_reading import ClipPlaces
from pipelines.config import settings_of, to_plain
from pipelines.errors import require
from pipelines.extract import FeaturePlan, extract_features
from pipelines.networks.backbone import backbone_class, build_backbone
from pipelines.networks.frozen import LAYERS
from pipelines.progress import Reporter
from pipelines.rivals.config import FACE_SIZE
from pipelines.session import Place
from pipelines.storage import digest_of
from pipelines.trunk_recipe import TrunkRecipe

ON_THE_TRUNK = ("temporal", "lstm_hidden", "dropout")
"""Settings of `model` that stand on the trunk: it is the same whatever they are."""


def feature_plan(config: StudyConfig) -> FeaturePlan | None:
    """Return which features the configuration needs; None where the whole trunk is trained.

    Raises:
        UsageError: the trunk's weights can't be had: said now, not in each trial.
    """
    if config.rival.classical:
        return None
    if config.training.trunk in LAYERS:
        return FeaturePlan(config)
    build_backbone(config.model)
    return None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A configuration with the shards and the features that it is trained on."""

    config: StudyConfig
    data: StudyData
    features: FeaturePlan | None

    @property
    def places(self) -> ClipPlaces:
        """Where trials read the clips: as pixels, or as features of frozen layers."""
        model = self.config.model
        if self.config.rival.classical:
            return ClipPlaces(
                shards=str(self.data.shards.folder.root),
                modalities=self.config.rival.inputs,
                face_size=FACE_SIZE,
                rescaling="standardised",  # by nobody: the classical kinds take them unscaled
            )
        places = ClipPlaces(
            shards=str(self.data.shards.folder.root),
            modalities=model.used_modalities,
            face_size=backbone_class(model.backbone).face_size,
            rescaling=self.config.training.rescaling,
        )
        return self.features.placed(places) if self.features else places

    @property
    def frozen_audio(self) -> TrunkRecipe | None:
        """What makes features of audio images that each split standardises by its own clips."""
        standardised = self.config.training.rescaling == "standardised"
        if self.features is None or not standardised:
            return None
        return self.features.recipe

    def job(
        self,
        name: str,
        splits: Sequence[Split],
        *,
        folder: Path,
        digest: str,
        settings: Mapping[str, Any],
        rungs: Mapping[str, tuple[Rung, ...]] | None = None,
        shared: Mapping[str, Path] | None = None,
        keep: bool = False,
    ) -> Job:
        """Return what trains these splits so, and keeps their networks if asked to; see `Job`."""
        trunk = None if self.features is None else self.features.recipe
        return Job(
            name=name,
            splits=tuple(self._with_usable_clips(split) for split in splits),
            config=self.config,
            shards=self.data.shards,
            places=self.places,
            frozen_audio=self.frozen_audio,
            folder=folder,
            digest=digest,
            settings=settings,
            rungs=rungs or {},
            shared=shared or {},
            keeps=model_settings(self.config, trunk) if keep else None,
        )

    def _with_usable_clips(self, split: Split) -> Split:
        """Leave out clips that this configuration's preprocessing lost: another one planned."""
        usable = self.data.segments.keys()
        if usable >= {*split.train, *split.validation, *split.test}:
            return split

        def left(clip_ids: Sequence[str]) -> tuple[str, ...]:
            return tuple(clip_id for clip_id in clip_ids if clip_id in usable)

        require(
            bool(left(split.train)),
            f"split {split.split_id}: none of its training clips can be used under these settings "
            f"of preprocessing ({settings_of(self.config)})",
        )
        return replace(
            split,
            train=left(split.train),
            validation=left(split.validation),
            test=left(split.test),
        )


@dataclass
class Preparations:
    """Makes configurations ready; what several of them share is made once."""

    place: Place
    reporter: Reporter
    _data: dict[str, StudyData] = field(default_factory=dict)
    _features: dict[str, FeaturePlan | None] = field(default_factory=dict)
    _made: set[tuple[str, str]] = field(default_factory=set)

    def told_to(self, reporter: Reporter) -> Preparations:
        """Return the same, so that another reporter is told how far they are."""
        return replace(self, reporter=reporter)

    def know(self, prepared: Prepared) -> None:
        """Remember what is there."""
        self._data[_shards_of(prepared.config)] = prepared.data
        self._features[_features_of(prepared.config)] = prepared.features

    def of(self, config: StudyConfig, reporter: Reporter | None = None) -> Prepared:
        """Return the configuration with its shards and features, made where they are not there.

        Raises:
            UsageError: they can't be made under these settings.
        """
        reporter = reporter or self.reporter
        of_shards, of_features = _shards_of(config), _features_of(config)
        if of_shards not in self._data:
            corpora = StudyCorpora(config)
            corpora.require_ready()
            self._data[of_shards] = corpora.prepare(self.place, reporter)
        if of_features not in self._features:
            self._features[of_features] = feature_plan(config)
        data, features = self._data[of_shards], self._features[of_features]
        if features is not None and (of_shards, of_features) not in self._made:
            extract_features(features, data.shards, config, self.place, reporter)
        self._made.add((of_shards, of_features))
        return Prepared(config=config, data=data, features=features)


def _shards_of(config: StudyConfig) -> str:
    return digest_of(settings_of(config))


def _features_of(config: StudyConfig) -> str:
    model = {k: v for k, v in to_plain(config.model).items() if k not in ON_THE_TRUNK}
    training = config.training
    trunk = [training.trunk, training.precision, training.rescaling, config.rival.classical]
    return digest_of([model, trunk, config.seed, to_plain(config.features)])
