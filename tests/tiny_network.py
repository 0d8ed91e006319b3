"""Trunks of a researcher's own, small enough for tests: of two halves, and one that counts."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from pipelines.networks.backbone import Backbone


class TinyBackbone(Backbone):
    """Eight coarse patches of each colour, then two layers as VGG's fc6 and fc7 are."""

    feature_size = 12
    pooled_size = 3 * 16
    face_size = 24

    def __init__(self, weights: str = "none") -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Tanh())
        self.classifier = nn.Sequential(
            nn.Linear(self.pooled_size, 16), nn.ReLU(), nn.Linear(16, self.feature_size), nn.ReLU()
        )

    def convolutional(self, images: Tensor) -> Tensor:
        maps = self.features(self.normalised(images))
        return torch.nn.functional.adaptive_avg_pool2d(maps, 4).flatten(1)

    def connected(self, pooled: Tensor) -> Tensor:
        features: Tensor = self.classifier(pooled)
        return features


class CountingBackbone(TinyBackbone):
    """Writes down how many images of which side pass, into the folder of COUNT_IMAGES_IN."""

    def convolutional(self, images: Tensor) -> Tensor:
        folder = os.environ.get("COUNT_IMAGES_IN")
        if folder:
            with (Path(folder) / f"{os.getpid()}.txt").open("a") as file:
                file.write(f"{images.shape[-1]} {len(images)}\n")
        return super().convolutional(images)


class HungryBackbone(TinyBackbone):
    """Takes HUNGRY_MB of memory for as long as the process of a trial lives."""

    def __init__(self, weights: str = "none") -> None:
        super().__init__(weights)
        in_trial = b"ImplicitFunc" in Path("/proc/self/cmdline").read_bytes()
        if in_trial and not _eaten:
            _eaten.append(b"\1" * (int(os.environ["HUNGRY_MB"]) * 2**20))


_eaten: list[bytes] = []
