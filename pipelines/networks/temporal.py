"""From the features of a segment's frames to one visual vector (section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn


class LstmOverFrames(nn.Module):
    """The last hidden state of an LSTM over the 20 frames of a segment."""

    def __init__(self, feature_size: int, hidden_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(feature_size, hidden_size, batch_first=True)
        self.feature_size = hidden_size
        # An open forget gate at the start lets the first of 20 frames reach the last state.
        bias: Tensor = self.lstm.get_parameter("bias_hh_l0").data
        bias[hidden_size : 2 * hidden_size].fill_(1.0)

    def forward(self, features: Tensor, frame_indices: Tensor) -> Tensor:
        """Gather unique frames into segments and run over them.

        Args:
            features: [n, feature_size], each unique frame once.
            frame_indices: [segments, 20] into `features`.

        Returns:
            [segments, hidden_size].
        """
        _, (hidden, _) = self.lstm(features.to(self.lstm.weight_hh_l0.dtype)[frame_indices])
        last: Tensor = hidden[0]
        return last


def build_temporal(kind: str, feature_size: int, hidden_size: int) -> LstmOverFrames:
    return LstmOverFrames(feature_size, hidden_size)
