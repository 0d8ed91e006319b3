"""The two networks of stage 1, each with its own softmax (sections 3.2 and 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from pipelines.networks.backbone import ModelConfig, build_backbone
from pipelines.networks.temporal import LstmOverFrames


class AudioNetwork(nn.Module):
    """MFCC image -> trunk -> feature -> class scores."""

    def __init__(self, config: ModelConfig, classes: int) -> None:
        super().__init__()
        self.trunk = build_backbone(config)
        self.feature_size = self.trunk.feature_size
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(self.feature_size, classes)

    def features(self, trunk_features: Tensor) -> Tensor:
        """Return the segment's audio vector: the trunk's feature itself."""
        return trunk_features

    def scores(self, features: Tensor) -> Tensor:
        """Return class scores [segments, classes] of segment features."""
        scores: Tensor = self.output(self.dropout(features))
        return scores


class VisualNetwork(nn.Module):
    """Face crops -> trunk, each unique frame once -> LSTM over 20 frames -> class scores."""

    def __init__(self, config: ModelConfig, classes: int) -> None:
        super().__init__()
        self.trunk = build_backbone(config)
        self.temporal = LstmOverFrames(self.trunk.feature_size, config.lstm_hidden)
        self.feature_size = self.temporal.feature_size
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(self.feature_size, classes)

    def features(self, trunk_features: Tensor, frame_indices: Tensor) -> Tensor:
        """Return segment vectors [segments, hidden] of the unique frames' features."""
        vectors: Tensor = self.temporal(trunk_features, frame_indices)
        return vectors

    def scores(self, features: Tensor) -> Tensor:
        """Return class scores [segments, classes] of segment features."""
        scores: Tensor = self.output(self.dropout(features))
        return scores
