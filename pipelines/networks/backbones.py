"""Trunks: one image -> one feature vector (VGG19's fc7 in the paper)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from pipelines.errors import UsageError, require, require_one_of

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass
class ModelConfig:
    """The networks of stage 1."""

    backbone: str = "small"
    """Trunk of both networks: `small` or `vgg19` (the paper's)."""
    weights: str = "none"
    """`none` (from scratch), `imagenet` (torchvision's own) or the path of a state dict."""
    lstm_hidden: int = 128
    """Size of the LSTM over the 20 frames of a segment (4096 in the paper)."""
    dropout: float = 0.5
    """Before the softmax of each stage-1 network."""

    def __post_init__(self) -> None:
        require_one_of("model.backbone", self.backbone, BACKBONES)
        require(self.lstm_hidden >= 1, f"model.lstm_hidden ({self.lstm_hidden}) must be at least 1")
        require(
            0.0 <= self.dropout < 1.0, f"model.dropout ({self.dropout}) must be in [0, 1): try 0.5"
        )
        require(
            self.weights != "imagenet" or self.backbone != "small",
            "model.weights (imagenet) does not exist for model.backbone (small): use "
            "model.weights=none, or model=vgg19",
        )
        require(
            self.weights in ("none", "imagenet") or Path(self.weights).expanduser().is_file(),
            f"model.weights ({self.weights}) is not a file: give none, imagenet or the path of a "
            "torchvision state dict",
        )


class Backbone(nn.Module):
    """A trunk with what is needed to feed it.

    Images come as uint8 or float [n, 3, height, width] in 0-255, RGB; features leave as
    [n, feature_size].
    """

    feature_size: int
    pooled_size: int
    """Side of the feature map that the classifier sees, whatever the size of the image."""
    face_size: int | None = None
    """Crops are shrunk to this side on reading; None takes them as stored (227)."""
    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer(
            "deviation", torch.tensor(deviation).view(1, 3, 1, 1), persistent=False
        )

    def normalised(self, images: Tensor) -> Tensor:
        """Return images / 255, less the mean, over the deviation."""
        images = images.to(self.mean.dtype, memory_format=torch.channels_last)
        return (images / 255.0 - self.mean) / self.deviation


class SmallBackbone(Backbone):
    """A VGG-style network of four blocks for the demo and the tests, trained from scratch.

    Group instead of batch normalisation: a feature never depends on which other clips shared its
    batch, so a prediction does not either.
    """

    feature_size = 128
    pooled_size = 3
    face_size = 48

    def __init__(self, weights: str = "none") -> None:
        super().__init__(mean=(0.5, 0.5, 0.5), deviation=(0.25, 0.25, 0.25))
        # The first block strides instead of pooling, the others pool before they normalise: half
        # the time of VGG's own order.
        blocks: list[nn.Module] = [
            nn.Conv2d(3, 16, kernel_size=5, stride=2, padding=2),
            nn.GroupNorm(4, 16),
            nn.ReLU(inplace=True),
        ]
        channels = 16
        for width in (32, 48, 64):
            blocks += [
                nn.Conv2d(channels, width, kernel_size=3, padding=1),
                nn.MaxPool2d(2),
                nn.GroupNorm(4, width),
                nn.ReLU(inplace=True),
            ]
            channels = width
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Sequential(
            nn.Linear(channels * self.pooled_size**2, self.feature_size), nn.ReLU(inplace=True)
        )
        if weights != "none":
            _load_weights(self, weights)

    def forward(self, images: Tensor) -> Tensor:
        """Return features [n, 128] of images [n, 3, h, w]."""
        pooled = adaptive_average(self.features(self.normalised(images)), self.pooled_size)
        features: Tensor = self.classifier(pooled.flatten(1))
        return features


class Vgg19Backbone(Backbone):
    """torchvision's VGG19 up to fc7 after its ReLU, classifier[:5] (sections 3.2 and 3.3).

    227x227 crops and 64x64 audio images both enter as they are, through the adaptive pooling.
    """

    feature_size = 4096
    pooled_size = 7

    def __init__(self, weights: str) -> None:
        imagenet = weights != "none"
        super().__init__(
            mean=IMAGENET_MEAN if imagenet else (0.5, 0.5, 0.5),
            deviation=IMAGENET_DEVIATION if imagenet else (0.25, 0.25, 0.25),
        )
        from torchvision.models import vgg19

        network = vgg19(weights=None)
        if imagenet:
            _load_weights(network, weights)
        self.features = network.features
        self.classifier = network.classifier[:5]

    def forward(self, images: Tensor) -> Tensor:
        """Return fc7 [n, 4096] of images [n, 3, h, w]."""
        pooled = adaptive_average(self.features(self.normalised(images)), self.pooled_size)
        features: Tensor = self.classifier(pooled.flatten(1))
        return features


def _load_weights(network: nn.Module, weights: str) -> None:
    """Load torchvision's ImageNet weights, or a state dict from a path.

    Raises:
        UsageError: they can't be had, or belong to another network.
    """
    if weights == "imagenet":
        state = _downloaded_vgg19()
    else:
        try:
            state = torch.load(Path(weights).expanduser(), map_location="cpu", weights_only=True)
        except Exception as error:
            raise UsageError(
                f"model.weights ({weights}) is not a state dict that torch can load with "
                f"weights_only=True: {type(error).__name__}"
            ) from error
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        first = str(error).splitlines()[0].rstrip(":")
        raise UsageError(
            f"model.weights ({weights}) holds no weights of this network: give the state dict of "
            f"torchvision's own ({first})"
        ) from error


def _downloaded_vgg19() -> dict[str, Tensor]:
    from torchvision.models import VGG19_Weights

    weights = VGG19_Weights.IMAGENET1K_V1
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except Exception as error:
        raise UsageError(
            f"model.weights (imagenet) could not be downloaded ({type(error).__name__}: {error}): "
            f"allow this machine to reach {weights.url}, or download that file elsewhere and give "
            "model.weights=/path/to/it"
        ) from error
    return state


BACKBONES: dict[str, type[SmallBackbone] | type[Vgg19Backbone]] = {
    "small": SmallBackbone,
    "vgg19": Vgg19Backbone,
}


def build_backbone(config: ModelConfig) -> Backbone:
    """Build the trunk that the configuration names, its weights loaded.

    Raises:
        UsageError: the weights cannot be had, with both ways to get them.
    """
    # Channels last is how the CPU's and the GPU's convolutions are fastest.
    return BACKBONES[config.backbone](config.weights).to(memory_format=torch.channels_last)


def adaptive_average(maps: Tensor, side: int) -> Tensor:
    """Return feature maps [n, c, h, w] averaged to [n, c, side, side], as AdaptiveAvgPool2d does.

    On a GPU torch's own pooling has no deterministic gradient: there it is two matrix products.
    """
    if maps.shape[-2:] == (side, side):
        return maps
    if not maps.is_cuda:
        return adaptive_avg_pool2d(maps, side)
    return average_by_matrices(maps, side)


def average_by_matrices(maps: Tensor, side: int) -> Tensor:
    """Return the same averages as products with a matrix of shares on either side."""
    rows, columns = (_shares(size, side).to(maps) for size in maps.shape[-2:])
    averaged: Tensor = rows @ maps @ columns.T
    return averaged


def _shares(size: int, side: int) -> Tensor:
    """Return [side, size]: row i is the mean from floor(i size/side) to ceil((i+1) size/side)."""
    shares = torch.zeros(side, size, dtype=torch.float64)
    for index in range(side):
        first, last = index * size // side, -(-(index + 1) * size // side)
        shares[index, first:last] = 1.0 / (last - first)
    return shares


def shrink_crops(crops: Tensor, side: int | None) -> Tensor:
    """Return uint8 crops [n, 3, side, side], averaged over areas; as they are where side is None.

    Done once on reading, not in every pass: the small trunk never needs the stored 227 pixels.
    """
    if side is None or crops.shape[-1] == side:
        return crops
    shrunk = interpolate(crops.float(), size=(side, side), mode="area")
    return shrunk.round_().clamp_(0, 255).to(torch.uint8)
