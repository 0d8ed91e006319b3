"""From the features of a segment's frames to one visual vector (section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipelines.networks.lstm import NarrowWeights, lstm_over_frames, narrow_weights


class Temporal(nn.Module):
    """What stands between the features of frames and the vector of their segment.

    `features` are [n, size], each unique frame once, of any floating type; `frame_indices` are
    [segments, steps] into them, and the steps are 20.
    """

    feature_size: int
    """Of each state, and of the segment's vector."""
    compute: torch.dtype | None = None
    """Type of the matrix products; None: that of the parameters."""

    def states(self, features: Tensor, frame_indices: Tensor) -> Tensor:
        """Return what there is to attend over, [segments, steps, feature_size]."""
        raise NotImplementedError

    def forward(self, features: Tensor, frame_indices: Tensor) -> Tensor:
        """Return one vector for each segment, [segments, feature_size]."""
        raise NotImplementedError


class LstmOverFrames(Temporal):
    """The last hidden state of an LSTM over the frames (the paper's)."""

    def __init__(self, feature_size: int, hidden_size: int) -> None:
        super().__init__()
        # Its parameters alone are used: they are named and initialised as everybody's are.
        self.lstm = nn.LSTM(feature_size, hidden_size, batch_first=True)
        self.feature_size = hidden_size
        # An open forget gate at the start lets the first of 20 frames reach the last state.
        bias: Tensor = self.lstm.get_parameter("bias_hh_l0").data
        bias[hidden_size : 2 * hidden_size].fill_(1.0)
        self._narrow: NarrowWeights | None = None
        self._narrow_of: object = None

    def states(self, features: Tensor, frame_indices: Tensor) -> Tensor:
        narrow = self._frozen_weights()
        return lstm_over_frames(self.lstm, features, frame_indices, self.compute, narrow)

    def _frozen_weights(self) -> NarrowWeights | None:
        """Return narrow copies of weights that are trained no more, made when they first count."""
        weights = self.lstm.all_weights[0][:2]
        if self.compute in (None, weights[0].dtype) or weights[0].requires_grad:
            self._narrow = None
            return None
        # Whatever changes a weight after all (another state, another device) changes one of these.
        now = [(weight.data_ptr(), weight._version, weight.device) for weight in weights]
        if self._narrow is None or self._narrow_of != now:
            self._narrow, self._narrow_of = narrow_weights(self.lstm, self.compute), now
        return self._narrow

    def forward(self, features: Tensor, frame_indices: Tensor) -> Tensor:
        return self.states(features, frame_indices)[:, -1]


class LstmMean(LstmOverFrames):
    """The mean over time of the LSTM's hidden states."""

    def forward(self, features: Tensor, frame_indices: Tensor) -> Tensor:
        return self.states(features, frame_indices).mean(1)


class LastFrame(Temporal):
    """The features of the last frame: no arithmetic over time."""

    def __init__(self, feature_size: int) -> None:
        super().__init__()
        self.feature_size = feature_size

    def states(self, features: Tensor, frame_indices: Tensor) -> Tensor:
        # index_select, unlike [], sums gradients in one order whatever the number of threads.
        gathered = features.index_select(0, frame_indices.flatten())
        at_least_float32 = torch.promote_types(features.dtype, torch.float32)
        return gathered.to(at_least_float32).view(*frame_indices.shape, -1)

    def forward(self, features: Tensor, frame_indices: Tensor) -> Tensor:
        return self.states(features, frame_indices[:, -1:])[:, 0]


class MeanOverFrames(LastFrame):
    """The mean over time of the frames' features."""

    def forward(self, features: Tensor, frame_indices: Tensor) -> Tensor:
        return self.states(features, frame_indices).mean(1)


def build_temporal(kind: str, feature_size: int, hidden_size: int) -> Temporal:
    """Build what `model.temporal` names: `lstm`, `lstm_mean`, `mean` or `last`.

    Raises:
        ValueError: it names nothing.
    """
    match kind:
        case "lstm":
            return LstmOverFrames(feature_size, hidden_size)
        case "lstm_mean":
            return LstmMean(feature_size, hidden_size)
        case "mean":
            return MeanOverFrames(feature_size)
        case "last":
            return LastFrame(feature_size)
    raise ValueError(f"model.temporal ({kind}) is none of lstm, lstm_mean, mean and last")
