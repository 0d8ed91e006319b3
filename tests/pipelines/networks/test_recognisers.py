"""Unique frames gathered into segments give what passing every segment by itself would give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipelines.networks.backbone import ModelConfig
from pipelines.networks.recognisers import AudioNetwork, VisualNetwork
from pipelines.networks.temporal import LstmOverFrames

FRAMES = 20


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def lstm_by_hand(lstm: nn.LSTM, frames: Tensor) -> Tensor:
    """The last hidden state [hidden] over frames [20, size], by the LSTM's own equations."""
    w_in, w_hidden = lstm.get_parameter("weight_ih_l0"), lstm.get_parameter("weight_hh_l0")
    bias = lstm.get_parameter("bias_ih_l0") + lstm.get_parameter("bias_hh_l0")
    hidden = frames.new_zeros(lstm.hidden_size)
    cell = frames.new_zeros(lstm.hidden_size)
    for frame in frames:
        # torch keeps the gates in the order input, forget, cell, output.
        into, forget, new, out = (w_in @ frame + w_hidden @ hidden + bias).chunk(4)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(new)
        hidden = torch.sigmoid(out) * torch.tanh(cell)
    return hidden


def overlapping_indices(segments: int, frames: int) -> Tensor:
    """Segments that share most of their frames, some repeated, as rule 3 leaves them."""
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, frames, (segments, FRAMES), generator=generator).sort(1).values


def gradients(result: Tensor, module: nn.Module, *others: Tensor) -> list[Tensor]:
    weights = torch.arange(1, result.numel() + 1, dtype=result.dtype).view_as(result)
    return list(torch.autograd.grad((result * weights).sum(), [*module.parameters(), *others]))


def assert_same(ours: list[Tensor], truth: list[Tensor]) -> None:
    for one, other in zip(ours, truth, strict=True):
        assert float(other.detach().abs().max()) > 1e-4
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_gathered_frames_give_what_each_segment_gives_by_itself() -> None:
    temporal = LstmOverFrames(6, 5).double()
    features = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    indices = overlapping_indices(4, 9)
    ours = temporal(features, indices)
    truth = torch.stack(
        [lstm_by_hand(temporal.lstm, torch.stack([features[i] for i in row])) for row in indices]
    )
    assert ours.shape == (4, 5)
    assert_same(
        [ours, *gradients(ours, temporal, features)], [truth, *gradients(truth, temporal, features)]
    )


def test_the_order_of_the_frames_matters() -> None:
    temporal = LstmOverFrames(6, 5)
    features = torch.randn(9, 6)
    indices = overlapping_indices(1, 9)
    assert not torch.allclose(temporal(features, indices), temporal(features, indices.flip(1)))


def test_the_first_frame_reaches_the_last_state_from_the_start() -> None:
    temporal = LstmOverFrames(6, 32).double()
    frames = torch.randn(FRAMES, 6, dtype=torch.float64, requires_grad=True)
    state = temporal(frames, torch.arange(FRAMES)[None])
    (slope,) = torch.autograd.grad(state.square().sum(), frames)
    # A forget gate half shut (bias 0) would leave about 2 ** -19 of it.
    assert float(slope[0].norm() / slope[-1].norm()) > 1e-4


def test_each_unique_frame_passes_the_trunk_once_and_nothing_else_changes() -> None:
    network = VisualNetwork(ModelConfig(lstm_hidden=5), 3).double().eval()
    crops = torch.randint(0, 256, (7, 3, 24, 24), dtype=torch.uint8)
    indices = overlapping_indices(3, 7)
    rows: list[int] = []
    hook = network.trunk.register_forward_hook(lambda m, images, out: rows.append(len(images[0])))
    ours = network.scores(network.temporal(network.trunk(crops), indices))
    assert rows == [7]
    hook.remove()
    temporal = network.temporal
    assert isinstance(temporal, LstmOverFrames)
    each = [
        lstm_by_hand(temporal.lstm, torch.cat([network.trunk(crops[i : i + 1]) for i in s]))
        for s in indices.tolist()
    ]
    truth = torch.stack(each) @ network.output.weight.T + network.output.bias
    assert_same([ours, *gradients(ours, network)], [truth, *gradients(truth, network)])


def test_the_audio_vector_is_the_trunks_own_feature() -> None:
    network = AudioNetwork(ModelConfig(), 3).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    features = network.trunk(images)
    assert network.feature_size == 128
    expected = features @ network.output.weight.T + network.output.bias
    torch.testing.assert_close(network.scores(features), expected)


def test_scores_are_dropped_out_in_training_only() -> None:
    network = AudioNetwork(ModelConfig(dropout=0.5), 3)
    features = torch.rand(4, 128)
    assert not torch.equal(network.scores(features), network.scores(features))
    network.eval()
    assert torch.equal(network.scores(features), network.scores(features))
