"""All settings of a study: the pipeline's, and how it is judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.protocols import ProtocolConfig
from harness.tracking import TrackingConfig
from pipelines.config import PipelineConfig, register_schema, settings_of, to_plain
from pipelines.errors import require
from pipelines.faces import weights_digest
from pipelines.model_files import ModelSettings
from pipelines.networks.own import source_digest
from pipelines.rivals.config import LEAST_COEFFICIENTS, RIVALS_VERSION
from pipelines.storage import content_digest, digest_of
from pipelines.training import TRAINING_VERSION
from pipelines.training_config import TWO_STAGES
from pipelines.trunk_recipe import TrunkRecipe


@dataclass
class StudyConfig(PipelineConfig):
    """What `python -m harness.loso` and its sisters are told."""

    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    test_corpus: Any = None
    """Of harness.cross: the corpus that is tested on, as `corpus` is the one trained on."""

    @property
    def predicts(self) -> str:
        """Return what has one prediction: each `segment`, or the `clip` as a whole."""
        if self.rival.is_set:
            return "clip" if self.rival.per_clip else "segment"
        return self.fusion.predicts if self.model.fuses else "segment"

    @property
    def two_stages(self) -> bool:
        """Whether something is trained for itself on what the networks of stage 1 make of clips."""
        in_two = self.training.stages == TWO_STAGES
        return self.model.fuses and in_two and not self.rival.classical

    @property
    def standardises(self) -> bool:
        """Whether audio images are brought to one scale that is fitted on the training clips."""
        return self.training.rescaling == "standardised" and not self.rival.classical

    @property
    def kind(self) -> str:
        """What names the study's folder, beside its corpus."""
        return self.protocol.kind

    @property
    def tags(self) -> dict[str, str]:
        """What else its runs are found by in MLflow."""
        return {}

    @property
    def further_settings(self) -> dict[str, Any]:
        """Settings that change results and are of one command only."""
        return {}


register_schema("study_schema", StudyConfig)

WITHOUT_EFFECT = {
    # The content of the file counts, asked for or not.
    "model": ("weights_sha256", "keep"),
    "training": ("cache_mb", "checkpoint_seconds"),
}
"""Settings of these groups that change no result."""


def check_rival(config: StudyConfig) -> None:
    """Refuse what a study with a rival in place of our networks can't do.

    Raises:
        UsageError: naming the setting.
    """
    rival = config.rival
    if not rival.is_set:
        return
    require(
        not config.model.keep,
        f"model.keep (true) is for our networks: nothing of rival.kind={rival.kind} is kept for "
        "use; leave model.keep out",
    )
    require(
        not rival.hears
        or (config.mfcc.features == "mfcc" and config.mfcc.coefficients >= LEAST_COEFFICIENTS),
        f"rival.kind ({rival.kind}) takes functionals of the first {LEAST_COEFFICIENTS} MFCC: "
        f"leave mfcc.features at mfcc and mfcc.coefficients at {LEAST_COEFFICIENTS} or more",
    )
    require(
        rival.classical or config.training.stages == TWO_STAGES,
        f"training.stages ({config.training.stages}) leaves no second stage in whose place "
        f"rival.kind ({rival.kind}) could stand: set training.stages={TWO_STAGES}",
    )
    require(
        rival.classical or config.model.fuses,
        f"rival.kind ({rival.kind}) stands in the place of the fusion of both modalities, and "
        f"model.modalities is {config.model.modalities}: set model.modalities=both",
    )


def refuse_rival(config: StudyConfig, command: str) -> None:
    """Refuse a rival in a command that is for our networks alone.

    Raises:
        UsageError: there is one.
    """
    require(
        not config.rival.is_set,
        f"rival.kind ({config.rival.kind}) is for studies: {command} works with our networks "
        "alone; use python -m harness.loso, kfold or cross, or leave rival.kind out",
    )


def model_settings(config: PipelineConfig, trunk: TrunkRecipe | None) -> ModelSettings:
    """Return what is kept with trained networks, so that they can predict clips of any corpus.

    Args:
        config: of their study, resolved.
        trunk: makes the part of the trunk that no split trains, where there is one.
    """
    return ModelSettings(
        model=config.model,
        fusion=config.fusion,
        training=config.training,
        features=config.features,
        vad=config.vad,
        mfcc=config.mfcc,
        faces=config.faces,
        segments=config.segments,
        preprocess=config.preprocess,
        detector=weights_digest(config.faces),
        trunk=trunk,
    )


def config_digest(config: StudyConfig) -> str:
    """Return a digest of the settings that change results, and of no others."""
    training = to_plain(config.training)
    for name in WITHOUT_EFFECT["training"]:
        del training[name]
    protocol = to_plain(config.protocol)
    if config.protocol.plan is not None:
        protocol["plan"] = content_digest(Path(config.protocol.plan))
    model = to_plain(config.model)
    weights = Path(config.model.weights).expanduser()
    if weights.is_file():
        model["weights"] = content_digest(weights)
    for name in WITHOUT_EFFECT["model"]:
        del model[name]
    model["source"] = source_digest(config.model.backbone)
    value: dict[str, Any] = {
        "shards": settings_of(config),
        "model": model,
        "fusion": to_plain(config.fusion),
        "training": training,
        # A trunk that is trained as a whole leaves no features to store.
        "features": {} if config.training.trunk == "full" else to_plain(config.features),
        "extract_threads": 0 if config.training.trunk == "full" else config.cluster.extract_cpus,
        "protocol": protocol,
        "seed": config.seed,
        "arithmetic_version": TRAINING_VERSION,
        # Another torch gives other bits: its splits must not stand beside those of this one.
        "torch": version("torch"),
        "trial_threads": config.cluster.trial_cpus,
        "trial_on_gpu": config.cluster.trial_gpus > 0,
        **config.further_settings,
    }
    if config.rival.is_set:
        # Others keep the digests that they had before there were rivals.
        libraries = {name: version(name) for name in ("scikit-learn", "scipy", "cca-zoo")}
        value["rival"] = [to_plain(config.rival), RIVALS_VERSION, libraries]
    return digest_of(value)
