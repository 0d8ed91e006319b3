"""The part of a trunk that no split trains: images -> features, the same for every split."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipelines.networks.backbone import Backbone

LAYERS = {"frozen": "features", "fc": "pooled"}
"""Mode of the trunk -> what its frozen part ends with: the feature (fc7), or the pooled maps of the
last convolutions (pool5), from which the fully connected layers are fine-tuned."""
CHUNK = 16
"""Images a frozen trunk takes at once: bounds memory, and never changes with what else there is."""


class ConnectedHalf(nn.Module):
    """The fully connected layers of a trunk, which `training.trunk=fc` fine-tunes."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.feature_size = backbone.feature_size
        backbone.features = nn.Identity()  # the convolutions belong to the frozen part
        self.backbone = backbone

    def forward(self, pooled: Tensor) -> Tensor:
        """Return features [n, feature_size] of pooled maps [n, pooled_size]."""
        return self.backbone.connected(pooled)


class FrozenTrunk:
    """Images through the frozen part of a trunk, each clip by itself in chunks of fixed size.

    A feature depends on nothing but its clip's images: not on which clips came before or beside.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        layer: str,
        compute: torch.dtype | None,
        device: torch.device,
    ) -> None:
        self._layer, self._device = layer, device
        dtype = compute or torch.float32
        backbone = backbone.to(memory_format=torch.channels_last)
        self._trunk = backbone.to(device, dtype).eval()
        self._trunk.requires_grad_(False)

    def _half(self, images: Tensor) -> Tensor:
        images = images.to(self._device)
        whole = self._layer == "features"
        features: Tensor = self._trunk(images) if whole else self._trunk.convolutional(images)
        return features

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 features [n, size] on the CPU of images [n, 3, h, w] in 0-255.

        Raises:
            MemoryError: a chunk does not fit on the device. Smaller ones would give other bits,
                which other studies would then find in the store.
        """
        try:
            chunks = torch.split(images, CHUNK)
            return torch.cat([self._half(chunk).float().cpu() for chunk in chunks])
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                f"{CHUNK} images of {images.shape[2]}x{images.shape[3]} at once do not fit on "
                f"{self._device} with the frozen trunk: let fewer processes share the GPU (raise "
                "cluster.trial_gpus), or choose a smaller model"
            ) from error
