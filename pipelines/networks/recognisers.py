"""The two networks of stage 1, each with its own softmax (sections 3.2 and 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from pipelines.networks.backbone import ModelConfig, backbone_class, build_backbone
from pipelines.networks.frozen import ConnectedHalf
from pipelines.networks.temporal import build_temporal


class AudioNetwork(nn.Module):
    """MFCC image -> trunk -> feature -> class scores."""

    def __init__(self, config: ModelConfig, classes: int, *, trained: str = "full") -> None:
        super().__init__()
        self.trunk = trained_part(config, trained)
        self.feature_size = backbone_class(config.backbone).feature_size
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(self.feature_size, classes)

    def features(self, trunk_features: Tensor) -> Tensor:
        """Return the segment's audio vector: the trunk's feature itself."""
        return trunk_features

    def scores(self, features: Tensor) -> Tensor:
        """Return class scores [segments, classes] of segment features, in any number format."""
        scores: Tensor = self.output(self.dropout(features.to(self.output.weight.dtype)))
        return scores


class VisualNetwork(nn.Module):
    """Face crops -> trunk, each unique frame once -> LSTM over 20 frames -> class scores."""

    def __init__(self, config: ModelConfig, classes: int, *, trained: str = "full") -> None:
        super().__init__()
        self.trunk = trained_part(config, trained)
        size = backbone_class(config.backbone).feature_size
        self.temporal = build_temporal(config.temporal, size, config.lstm_hidden)
        self.feature_size = self.temporal.feature_size
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(self.feature_size, classes)

    def features(self, trunk_features: Tensor, frame_indices: Tensor) -> Tensor:
        """Return segment vectors [segments, feature] of the unique frames' features."""
        vectors: Tensor = self.temporal(trunk_features, frame_indices)
        return vectors

    def scores(self, features: Tensor) -> Tensor:
        """Return class scores [segments, classes] of segment features, in any number format."""
        scores: Tensor = self.output(self.dropout(features.to(self.output.weight.dtype)))
        return scores


def trained_part(config: ModelConfig, trained: str) -> nn.Module:
    """Return what of a trunk a split trains: `full`, its fully connected half (`fc`) or nothing."""
    if trained == "frozen":
        return nn.Identity()
    backbone = build_backbone(config)
    return ConnectedHalf(backbone) if trained == "fc" else backbone
