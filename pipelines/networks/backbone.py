"""Trunks: one image -> one feature vector; which one is used is set by name or by reference."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.errors import UnavailableError, require, require_one_of
from pipelines.networks.own import OWN_FORM, built, is_own, load_class
from pipelines.networks.weights import require_sha256

BACKBONES = {
    "vgg19": "pipelines.networks.torchvision_trunks:Vgg19Backbone",
    "vgg16": "pipelines.networks.torchvision_trunks:Vgg16Backbone",
    "vgg11": "pipelines.networks.torchvision_trunks:Vgg11Backbone",
    "alexnet": "pipelines.networks.torchvision_trunks:AlexNetBackbone",
    "resnet18": "pipelines.networks.torchvision_trunks:ResNet18Backbone",
    "small": "pipelines.networks.small:SmallBackbone",
}
"""Names are short for references, such as a researcher gives to a network of their own."""
TEMPORAL = ("lstm", "lstm_mean", "mean", "last")
MODALITIES = ("both", "audio", "visual")
LATER = "later"
"""In place of `model.weights`, and no choice of the user's: a trunk as for weights of a file, which
somebody puts into it afterwards."""
STORED_FACE = 227
"""Side of the crops in the shards, in pixels."""
AUDIO_IMAGE = 64
"""Side of an audio image as the paper has it, in pixels."""


class Backbone(nn.Module):
    """What every trunk is; docs/own_network.md says how to write one.

    Images come as uint8 or floating point [n, 3, height, width] in 0-255, RGB, of any size;
    features leave as [n, feature_size]. A feature never depends on what else is in the batch.

    Where `pooled_size` is set, the trunk consists of two halves, and `forward` is one after the
    other: the outputs of the convolutional half can then be kept while the other is fine-tuned.
    All parameters of the first half are in `self.features`.
    """

    feature_size: int
    pooled_size: int | None = None
    """Length of the vector between the two halves; None: it can't be split."""
    face_size: int | None = None
    """Crops are shrunk to this side on reading; None takes them as stored (227)."""
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
        deviation: tuple[float, float, float] = (0.25, 0.25, 0.25),
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer(
            "deviation", torch.tensor(deviation).view(1, 3, 1, 1), persistent=False
        )

    def normalised(self, images: Tensor) -> Tensor:
        """Return images / 255, less the mean, over the deviation, in the module's own dtype."""
        images = images.to(self.mean.dtype, memory_format=torch.channels_last)
        return (images / 255.0 - self.mean) / self.deviation

    def convolutional(self, images: Tensor) -> Tensor:
        """Return pooled maps [n, pooled_size] of images [n, 3, h, w]."""
        raise NotImplementedError(f"{type(self).__name__} can't be split")

    def connected(self, pooled: Tensor) -> Tensor:
        """Return features [n, feature_size] of pooled maps [n, pooled_size]."""
        raise NotImplementedError(f"{type(self).__name__} can't be split")

    def forward(self, images: Tensor) -> Tensor:
        """Return features [n, feature_size] of images [n, 3, h, w]."""
        return self.connected(self.convolutional(images))


@dataclass
class ModelConfig:
    """The networks of stage 1."""

    backbone: str = "small"
    """Trunk of both networks: vgg19 (the paper's), vgg16, vgg11, alexnet, resnet18, small, or your
    own as package.module:Class."""
    weights: str = "none"
    """`none` (from scratch), `imagenet` (torchvision's own) or the path of a state dict."""
    weights_sha256: str = ""
    """What the file of the weights must have; empty: it is not checked."""
    audio_size: int = 0
    """Audio images are resized to this side before the trunk; 0 takes them as they are (64)."""
    temporal: str = "lstm"
    """From 20 frames to a vector: `lstm` (its last state), `lstm_mean` (the mean of its states),
    `mean` of the frames, or the `last` frame."""
    lstm_hidden: int = 128
    """Size of the LSTM over the 20 frames of a segment (4096 in the paper)."""
    modalities: str = "both"
    """`both`, `audio` or `visual`."""
    dropout: float = 0.5
    """Before the softmax of each stage-1 network."""
    keep: bool = False
    """Keep the trained weights of each split, for harness.predict; no result depends on it."""

    def __post_init__(self) -> None:
        if is_own(self.backbone):
            load_class(self.backbone, Backbone)
        else:
            require_one_of("model.backbone", self.backbone, [*BACKBONES, OWN_FORM])
        self._check_weights()
        require(
            self.audio_size == 0 or self.audio_size >= AUDIO_IMAGE,
            f"model.audio_size ({self.audio_size}) must be 0 (as they are) or at least "
            f"{AUDIO_IMAGE}",
        )
        require_one_of("model.temporal", self.temporal, TEMPORAL)
        require(self.lstm_hidden >= 1, f"model.lstm_hidden ({self.lstm_hidden}) must be at least 1")
        require_one_of("model.modalities", self.modalities, MODALITIES)
        require(
            0.0 <= self.dropout < 1.0, f"model.dropout ({self.dropout}) must be in [0, 1): try 0.5"
        )

    @property
    def used_modalities(self) -> tuple[str, ...]:
        """Return `audio`, `visual` or both of them, in this order."""
        return ("audio", "visual") if self.modalities == "both" else (self.modalities,)

    @property
    def fuses(self) -> bool:
        """Whether there is a stage 2: with one modality there is nothing to fuse."""
        return len(self.used_modalities) > 1

    def _check_weights(self) -> None:
        from_file = self.weights not in ("none", "imagenet")
        if self.weights == "imagenet" and (self.backbone == "small" or is_own(self.backbone)):
            raise UnavailableError(
                f"model.weights (imagenet) does not exist for model.backbone ({self.backbone}): "
                "use model.weights=none, the path of a state dict, or model=vgg19"
            )
        if from_file and not Path(self.weights).expanduser().is_file():
            raise UnavailableError(
                f"model.weights ({self.weights}) is not a file: give none, imagenet or the path of "
                "a state dict"
            )
        require(
            not self.weights_sha256 or from_file,
            f"model.weights_sha256 ({self.weights_sha256}) is for a file: give its path as "
            f"model.weights (it is {self.weights}), or leave the digest out",
        )
        require(
            re.fullmatch(r"([0-9a-fA-F]{64})?", self.weights_sha256) is not None,
            f"model.weights_sha256 ({self.weights_sha256}) is no SHA-256: 64 hexadecimal digits, "
            "as sha256sum prints them",
        )


def to_be_filled(value: Mapping[str, Any]) -> ModelConfig:
    """Return the settings, given as plain values, of the same networks with nothing loaded yet.

    The file of the weights need not be there any more.
    """
    config = ModelConfig(**{**value, "weights": "none", "weights_sha256": ""})
    # Torchvision's networks are made otherwise for weights; only they are told of such.
    if value["weights"] != "none" and config.backbone != "small" and not is_own(config.backbone):
        config.weights = LATER
    return config


def backbone_class(name: str) -> type[Backbone]:
    """Return the class of a trunk by its name or its reference, `package.module:Class`.

    Raises:
        UsageError: there is no such class, or it is no `Backbone`.
    """
    chosen = load_class(BACKBONES.get(name, name), Backbone)
    size = getattr(chosen, "feature_size", None)
    require(
        isinstance(size, int) and size >= 1,
        f"model.backbone ({name}) has feature_size {size}: set it to the length of the vector that "
        "forward returns for an image, on the class",
    )
    return chosen


def build_backbone(config: ModelConfig) -> Backbone:
    """Build the trunk that the configuration names, its weights loaded.

    Raises:
        UsageError: the weights cannot be had, are not those that were meant or belong to another
            network; a network of one's own does not do what a trunk must.
    """
    if config.weights_sha256:
        require_sha256(config.weights, config.weights_sha256)
    chosen = backbone_class(config.backbone)
    if is_own(config.backbone):
        # What it will be shown: audio images, and faces.
        sides = (config.audio_size or AUDIO_IMAGE, chosen.face_size or STORED_FACE)
        backbone = built(config.backbone, chosen, config.weights, sides)
    else:
        backbone = chosen(weights=config.weights)  # type: ignore[call-arg]
    # Channels last is how the CPU's and the GPU's convolutions are fastest.
    return backbone.to(memory_format=torch.channels_last)
