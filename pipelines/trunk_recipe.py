"""How a frozen trunk is made, so that every process makes the same one."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch

from pipelines.device import exact_device
from pipelines.networks.backbone import Backbone, ModelConfig, build_backbone
from pipelines.networks.frozen import FrozenTrunk
from pipelines.networks.own import source_digest
from pipelines.networks.weights import weights_digest
from pipelines.precision import compute_type
from pipelines.split_task import seed_for


@dataclass(frozen=True, kw_only=True)
class TrunkRecipe:
    """All that makes a frozen trunk, so that every actor builds the same one."""

    model: ModelConfig
    seed: int
    """Of a trunk without weights."""
    layer: str
    precision: str
    """Resolved: float32 or bfloat16."""
    threads: int
    on_gpu: bool

    def backbone(self) -> tuple[Backbone, str]:
        """Return the trunk, from pixels to features, and the digest of its weights.

        Raises:
            UsageError: the weights can't be had.
        """
        torch.manual_seed(seed_for(self.seed, "trunk"))
        backbone = build_backbone(self.model)
        return backbone, weights_digest(backbone)

    def build(self) -> tuple[FrozenTrunk, str]:
        """Return its frozen part, ready to compute, and the digest of its weights.

        Raises:
            UsageError: the weights can't be had.
        """
        device = exact_device(self.threads, on_gpu=self.on_gpu)
        backbone, digest = self.backbone()
        trunk = FrozenTrunk(
            backbone, layer=self.layer, compute=compute_type(self.precision), device=device
        )
        return trunk, digest

    def settings(self, digest: str) -> dict[str, Any]:
        """Return all that decides a feature but the clip and the way its images are prepared."""
        return {
            "backbone": self.model.backbone,
            "source": source_digest(self.model.backbone),
            "weights": digest,
            "layer": self.layer,
            "precision": self.precision,
            "threads": self.threads,
            "on_gpu": self.on_gpu,
            "torch": version("torch"),
        }
