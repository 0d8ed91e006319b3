"""What makes one vector of a segment's frames."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipelines.networks.temporal import LstmOverFrames, build_temporal

KINDS = ("lstm", "lstm_mean", "mean", "last")
FEATURES = torch.tensor([[1.0, 10.0], [2.0, 20.0], [6.0, 60.0]])
INDICES = torch.tensor([[0, 0, 1], [2, 1, 0]])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mean", [[4 / 3, 40 / 3], [3.0, 30.0]]),
        ("last", [[2.0, 20.0], [1.0, 10.0]]),
    ],
)
def test_without_an_lstm_the_frames_features_are_taken_as_they_are(
    kind: str, expected: list[list[float]]
) -> None:
    temporal = build_temporal(kind, 2, 99)
    assert temporal.feature_size == 2
    assert not list(temporal.parameters())
    torch.testing.assert_close(temporal(FEATURES, INDICES), torch.tensor(expected))
    assert torch.equal(temporal.states(FEATURES, INDICES), FEATURES[INDICES])


@pytest.mark.parametrize("kind", ["mean", "last"])
def test_frames_that_segments_share_sum_their_gradients(kind: str) -> None:
    features = FEATURES.clone().requires_grad_()
    build_temporal(kind, 2, 99)(features, INDICES).sum().backward()
    assert features.grad is not None
    # Frame 0 stands in segment 0 twice and in segment 1 once, as its last.
    expected = {"mean": [1.0, 2 / 3, 1 / 3], "last": [1.0, 1.0, 0.0]}[kind]
    torch.testing.assert_close(features.grad[:, 0], torch.tensor(expected))


@pytest.mark.parametrize("kind", ["lstm", "lstm_mean"])
def test_an_lstm_gives_its_last_state_or_the_mean_of_all(kind: str) -> None:
    temporal = build_temporal(kind, 2, 5)
    assert isinstance(temporal, LstmOverFrames)
    truth: Tensor = temporal.lstm(FEATURES[INDICES])[0]
    torch.testing.assert_close(temporal.states(FEATURES, INDICES), truth)
    expected = truth[:, -1] if kind == "lstm" else truth.mean(1)
    torch.testing.assert_close(temporal(FEATURES, INDICES), expected)
    assert temporal.feature_size == 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_features_give_float32_vectors(kind: str, stored: torch.dtype) -> None:
    temporal = build_temporal(kind, 2, 5)
    vectors = temporal(FEATURES.to(stored), INDICES)
    assert vectors.dtype == torch.float32
    assert vectors.shape == (2, temporal.feature_size)
    assert temporal.states(FEATURES.to(stored), INDICES).dtype == torch.float32


def test_products_are_made_in_the_type_that_is_asked_for() -> None:
    temporal = build_temporal("lstm", 2, 5)
    wide = temporal(FEATURES, INDICES)
    temporal.compute = torch.bfloat16
    narrow = temporal(FEATURES, INDICES)
    assert not torch.equal(wide, narrow)
    torch.testing.assert_close(wide, narrow, rtol=0, atol=0.02)
    assert {parameter.dtype for parameter in temporal.parameters()} == {torch.float32}


def test_weights_are_exchanged_with_torchs_own_lstm() -> None:
    temporal = LstmOverFrames(2, 5)
    own = nn.LSTM(2, 5, batch_first=True)
    own.load_state_dict(temporal.lstm.state_dict())
    expected = own(FEATURES[INDICES])[0][:, -1]
    torch.testing.assert_close(temporal(FEATURES, INDICES), expected)


def test_the_forget_gate_starts_open() -> None:
    lstm = LstmOverFrames(2, 3).lstm
    assert lstm.get_parameter("bias_hh_l0")[3:6].tolist() == [1.0] * 3


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.temporal \(median\)"):
        build_temporal("median", 2, 5)


@pytest.mark.parametrize("kind", ["lstm", "lstm_mean"])
def test_frozen_weights_are_narrowed_once_and_give_the_same_bits(kind: str) -> None:
    torch.manual_seed(0)
    temporal = build_temporal(kind, 24, 16)
    temporal.compute = torch.bfloat16
    features, indices = torch.randn(9, 24), torch.randint(0, 9, (4, 20))
    trained = temporal(features, indices).detach()
    temporal.requires_grad_(False)
    assert torch.equal(temporal(features, indices), trained)
    assert isinstance(temporal, LstmOverFrames)
    held = temporal._narrow
    assert held is not None
    assert torch.equal(temporal(features, indices), trained)
    assert temporal._narrow is held
    # Another state is noticed, and so is training that goes on.
    temporal.load_state_dict({k: v * 0.5 for k, v in temporal.state_dict().items()})
    changed = temporal(features, indices)
    assert not torch.equal(changed, trained)
    assert torch.equal(changed, temporal.requires_grad_(True)(features, indices).detach())
