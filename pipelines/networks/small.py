"""The trunk of the demo and the tests."""

from __future__ import annotations

from torch import Tensor, nn

from pipelines.networks.backbone import Backbone
from pipelines.networks.pooling import adaptive_average
from pipelines.networks.weights import load_weights

POOLED_SIDE = 3


class SmallBackbone(Backbone):
    """A VGG-style network of four blocks, trained from scratch.

    Group instead of batch normalisation: a feature never depends on which other clips shared its
    batch, so a prediction does not either.
    """

    feature_size = 128
    pooled_size = 64 * POOLED_SIDE**2
    face_size = 48

    def __init__(self, weights: str = "none") -> None:
        super().__init__()
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
            nn.Linear(self.pooled_size, self.feature_size), nn.ReLU(inplace=True)
        )
        if weights != "none":
            load_weights(self, weights)

    def convolutional(self, images: Tensor) -> Tensor:
        """Return pooled maps [n, 576] of images [n, 3, h, w]."""
        return adaptive_average(self.features(self.normalised(images)), POOLED_SIDE).flatten(1)

    def connected(self, pooled: Tensor) -> Tensor:
        """Return features [n, 128] of pooled maps."""
        features: Tensor = self.classifier(pooled)
        return features
