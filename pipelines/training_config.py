"""Settings of the training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipelines.errors import require, require_one_of
from pipelines.mfcc import RESCALINGS
from pipelines.precision import PRECISIONS

TRUNKS = ("full", "fc", "frozen")
TWO_STAGES, ONE_STAGE = "two", "one"
BEST, LAST = "best", "last"


@dataclass
class TrainingConfig:
    """How the networks are trained."""

    stages: str = TWO_STAGES
    """`two`: the audio and the visual network first, then the fusion on them frozen; `one`: all
    together, end to end, by the fusion's loss alone."""
    trunk: str = "full"
    """What of the trunks is trained: `full` all of it, `fc` the fully connected layers on
    features of the last convolutions, `frozen` nothing: only what stands on the trunk."""
    precision: str = "auto"
    """Of the large matrix products: `float32`, `bfloat16` on float32 master weights, or `auto`:
    bfloat16 where the hardware computes in it."""
    rescaling: str = "row"
    """Range 0-255 of the audio image: min-max by coefficient `row` or by whole `channel` of the
    segment, or `standardised` by mean and deviation of each row over the training clips."""
    audio_epochs: int = 20
    visual_epochs: int = 8
    fusion_epochs: int = 40
    joint_epochs: int = 20
    """Of all networks together, with `stages=one`."""
    patience: int = 5
    """Epochs without a lower validation loss after which a network stops."""
    keep: str = BEST
    """Epoch that a network is left in: the `best` by validation loss, or the `last` of all epochs,
    where nothing is chosen and patience does not count."""
    clips_per_batch: int = 4
    """Trunks go by clips, so that each unique frame passes them once: in stage 1, and with
    `stages=one`."""
    segments_per_clip: int | None = None
    """Segments that an epoch by clips draws of each; unset: all."""
    segments_per_batch: int = 32
    """Of stage 2."""
    schedule: str = "constant"
    """Of the learning rates: `constant`, or `cosine` falling to zero over the epochs."""
    trunk_rate: float = 1e-4
    head_rate: float = 1e-3
    augment: bool = False
    """Mirror, shift and tint faces and mask audio images while a whole network is trained."""
    class_weights: bool = True
    """Weigh each class by the inverse of its share of the training segments."""
    cache_mb: int = 2048
    """Memory for clips held by a trial's process."""
    checkpoint_seconds: float = 300.0
    """A killed trial goes on from a state that is at most this old and an epoch more."""

    def __post_init__(self) -> None:
        require_one_of("training.stages", self.stages, (TWO_STAGES, ONE_STAGE))
        require_one_of("training.trunk", self.trunk, TRUNKS)
        require_one_of("training.precision", self.precision, PRECISIONS)
        require_one_of("training.keep", self.keep, (BEST, LAST))
        require_one_of("training.schedule", self.schedule, ("constant", "cosine"))
        require_one_of("training.rescaling", self.rescaling, RESCALINGS)
        for name in (
            "audio_epochs",
            "visual_epochs",
            "fusion_epochs",
            "joint_epochs",
            "patience",
            "clips_per_batch",
            "segments_per_batch",
            "cache_mb",
        ):
            value = getattr(self, name)
            require(value >= 1, f"training.{name} ({value}) must be at least 1")
        drawn = self.segments_per_clip
        require(
            drawn is None or drawn >= 1,
            f"training.segments_per_clip ({drawn}) must be at least 1, or null for all",
        )
        for name in ("trunk_rate", "head_rate"):
            value = getattr(self, name)
            require(
                0 < value < math.inf, f"training.{name} ({value}) must be greater than 0 and finite"
            )
        require(
            self.checkpoint_seconds >= 0,
            f"training.checkpoint_seconds ({self.checkpoint_seconds}) must be 0 or more",
        )

    def check_modalities(self, modalities: str) -> None:
        """Refuse to train in one stage what has nothing to fuse.

        Args:
            modalities: of the networks, `model.modalities`.

        Raises:
            UsageError: so it is.
        """
        require(
            self.stages != ONE_STAGE or modalities == "both",
            f"training.stages ({self.stages}) trains by the loss of the fusion, and with "
            f"model.modalities ({modalities}) there is none: use training.stages={TWO_STAGES}, or "
            "model.modalities=both",
        )
