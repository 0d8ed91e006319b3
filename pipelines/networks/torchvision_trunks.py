"""Networks of torchvision up to the feature that is taken from them: fc7 of VGG and AlexNet."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from pipelines.networks.backbone import LATER, Backbone
from pipelines.networks.pooling import adaptive_average
from pipelines.networks.weights import fill, imagenet_weights, read_weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class TorchvisionBackbone(Backbone):
    """A network that torchvision has by name, from scratch or with weights of torchvision's form.

    Weights bring ImageNet's normalisation with them. torchvision is imported when one is built.
    """

    architecture: str

    def __init__(self, weights: str) -> None:
        if weights == "none":
            super().__init__()
        else:
            super().__init__(IMAGENET_MEAN, IMAGENET_DEVIATION)

    def _whole(self, weights: str, **options: Any) -> Any:
        """Return torchvision's whole network; `options` are for one from scratch."""
        from torchvision.models import get_model, get_model_weights

        if weights == "none":
            return get_model(self.architecture, weights=None, **options)
        if weights == LATER:
            return get_model(self.architecture, weights=None)
        if weights == "imagenet":
            state = imagenet_weights(get_model_weights(self.architecture).IMAGENET1K_V1)
        else:
            state = read_weights(weights)
        # On this device nothing is allocated or initialised: the file's tensors take their places.
        with torch.device("meta"):
            network = get_model(self.architecture, weights=None)
        fill(network, state, weights)
        return network


class FullyConnectedBackbone(TorchvisionBackbone):
    """Convolutions, adaptive pooling and the layers up to fc7 after its ReLU (sections 3.2, 3.3).

    227x227 crops and 64x64 audio images both enter as they are, through the adaptive pooling.
    """

    feature_size = 4096
    pooled_side: int
    fc7_layers: int
    """Layers of torchvision's classifier up to the ReLU after the second fully connected one."""

    def __init__(self, weights: str) -> None:
        super().__init__(weights)
        network = self._whole(weights)
        self.features = network.features
        self.classifier = network.classifier[: self.fc7_layers]

    def convolutional(self, images: Tensor) -> Tensor:
        """Return pool5 [n, pooled_size] of images [n, 3, h, w]."""
        maps = self.features(self.normalised(images))
        return adaptive_average(maps, self.pooled_side).flatten(1)

    def connected(self, pooled: Tensor) -> Tensor:
        """Return fc7 [n, 4096] of pool5."""
        features: Tensor = self.classifier(pooled)
        return features


class VggBackbone(FullyConnectedBackbone):
    """fc7 of a VGG network: classifier[:5]."""

    pooled_side = 7
    pooled_size = 512 * 7 * 7
    fc7_layers = 5


class Vgg19Backbone(VggBackbone):
    """The paper's trunk."""

    architecture = "vgg19"


class Vgg16Backbone(VggBackbone):
    """Three convolutions fewer than VGG19."""

    architecture = "vgg16"


class Vgg11Backbone(VggBackbone):
    """Half of VGG19's convolutions."""

    architecture = "vgg11"


class AlexNetBackbone(FullyConnectedBackbone):
    """fc7 of AlexNet: classifier[:6], dropout standing in front. Takes 63x63 pixels and more."""

    architecture = "alexnet"
    pooled_side = 6
    pooled_size = 256 * 6 * 6
    fc7_layers = 6


class ResNet18Backbone(TorchvisionBackbone):
    """The 512 averages that ResNet-18 ends with.

    Batch normalisation would make a feature depend on the other images of its batch: that of
    loaded weights keeps its statistics, in training too; from scratch it is group normalisation.
    """

    architecture = "resnet18"
    feature_size = 512

    def __init__(self, weights: str) -> None:
        super().__init__(weights)
        self.network = self._whole(weights, norm_layer=partial(nn.GroupNorm, 32))
        self.network.fc = nn.Identity()
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set the mode, but for batch normalisation, which stays as in evaluation."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return averages [n, 512] of images [n, 3, h, w]."""
        features: Tensor = self.network(self.normalised(images))
        return features
