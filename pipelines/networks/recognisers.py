"""The two networks of stage 1, each with its own softmax (sections 3.2 and 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from pipelines.networks.backbone import ModelConfig, backbone_class, build_backbone
from pipelines.networks.frozen import ConnectedHalf
from pipelines.networks.temporal import build_temporal


class Recogniser(nn.Module):
    """What both have: a trunk, and class scores of the segments' vectors."""

    def __init__(self, trunk: nn.Module, feature_size: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.trunk = trunk
        self.feature_size = feature_size
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(feature_size, classes)

    def scores(self, features: Tensor) -> Tensor:
        """Return class scores [segments, classes] of segment features, in any number format."""
        scores: Tensor = self.output(self.dropout(features.to(self.output.weight.dtype)))
        return scores


class AudioNetwork(Recogniser):
    """MFCC image -> trunk -> class scores: a segment's vector is the trunk's feature itself."""

    def __init__(self, config: ModelConfig, classes: int, *, trained: str = "full") -> None:
        size = backbone_class(config.backbone).feature_size
        super().__init__(trained_part(config, trained), size, classes, config.dropout)


class VisualNetwork(Recogniser):
    """Face crops -> trunk, each unique frame once -> LSTM over 20 frames -> class scores."""

    def __init__(self, config: ModelConfig, classes: int, *, trained: str = "full") -> None:
        trunk = trained_part(config, trained)
        size = backbone_class(config.backbone).feature_size
        temporal = build_temporal(config.temporal, size, config.lstm_hidden)
        super().__init__(trunk, temporal.feature_size, classes, config.dropout)
        self.temporal = temporal


def trained_part(config: ModelConfig, trained: str) -> nn.Module:
    """Return what of a trunk a split trains: `full`, its fully connected half (`fc`) or nothing."""
    if trained == "frozen":
        return nn.Identity()
    backbone = build_backbone(config)
    return ConnectedHalf(backbone) if trained == "fc" else backbone
