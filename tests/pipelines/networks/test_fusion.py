"""The fusion is equations 5-7 of the paper, and its weights follow the modality that tells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipelines.errors import UsageError
from pipelines.networks.fusion import Attention, FusionConfig, FusionNetwork

Matrix = npt.NDArray[np.float64]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def array(tensor: Tensor) -> Matrix:
    return np.asarray(tensor.detach().numpy(), dtype=np.float64)


def affine(layer: nn.Module, values: Matrix) -> Matrix:
    assert isinstance(layer, nn.Linear)
    return values @ array(layer.weight).T + array(layer.bias)


def equations_5_to_7(attention: Attention, vectors: Matrix) -> tuple[Matrix, Matrix]:
    """q and beta, segment by segment and vector by vector."""
    context = array(attention.context)
    q, beta = np.zeros((vectors.shape[0], vectors.shape[2])), np.zeros(vectors.shape[:2])
    for n, of_segment in enumerate(vectors):
        scores = [float(np.tanh(affine(attention.hidden, c)) @ context) for c in of_segment]
        total = sum(np.exp(score) for score in scores)
        for t, score in enumerate(scores):
            beta[n, t] = np.exp(score) / total
            q[n] += beta[n, t] * of_segment[t]
    return q, beta


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_attention_is_equations_5_to_7(steps: int) -> None:
    attention = Attention(6, 4).double()
    vectors = 2 * random(7, steps, 6)
    q, beta = attention(vectors)
    true_q, true_beta = equations_5_to_7(attention, array(vectors))
    np.testing.assert_allclose(array(beta), true_beta, rtol=0, atol=1e-10)
    np.testing.assert_allclose(array(q), true_q, rtol=0, atol=1e-10)


def test_the_score_is_signed() -> None:
    attention = Attention(1, 1).double()
    with torch.no_grad():
        attention.hidden.weight.fill_(1.0)
        attention.hidden.bias.fill_(0.0)
        attention.context.fill_(1.0)
    beta = attention(torch.tensor([[[1.0], [-1.0]]], dtype=torch.float64))[1][0]
    # With the absolute value of equation 6's bars both would be 0.5.
    expected = np.exp(np.tanh(1.0)) / (np.exp(np.tanh(1.0)) + np.exp(-np.tanh(1.0)))
    assert beta[0].item() == pytest.approx(expected, abs=1e-12)


def test_beta_is_non_negative_and_sums_to_one_over_the_modalities() -> None:
    network = FusionNetwork(8, 8, 3, FusionConfig(attention_size=5)).double()
    _, beta = network(100 * random(50, 8), 100 * random(50, 8, seed=1))
    assert beta.shape == (50, 2)
    assert beta.min().item() >= 0
    np.testing.assert_allclose(array(beta).sum(axis=1), 1.0, rtol=0, atol=1e-12)
    assert beta.std().item() > 0  # it is not the same for every segment


@pytest.mark.parametrize(("audio_size", "visual_size"), [(6, 4), (4, 6)])
def test_different_sizes_meet_in_the_smaller_one(audio_size: int, visual_size: int) -> None:
    network = FusionNetwork(audio_size, visual_size, 3, FusionConfig(attention_size=5)).double()
    network.eval()
    audio, visual = random(7, audio_size), random(7, visual_size, seed=1)
    scores, beta = network(audio, visual)
    vectors = np.stack(
        [
            affine(network.audio_projection, array(audio)),
            affine(network.visual_projection, array(visual)),
        ],
        axis=1,
    )
    assert vectors.shape == (7, 2, 4)
    assert network.attention is not None
    q, true_beta = equations_5_to_7(network.attention, vectors)
    np.testing.assert_allclose(array(beta), true_beta, rtol=0, atol=1e-10)
    np.testing.assert_allclose(array(scores), affine(network.output, q), rtol=0, atol=1e-10)


def test_equal_sizes_are_not_projected() -> None:
    network = FusionNetwork(5, 5, 3, FusionConfig(attention_size=2)).double().eval()
    audio, visual = random(4, 5), random(4, 5, seed=1)
    assert network.attention is not None
    q, _ = equations_5_to_7(network.attention, np.stack([array(audio), array(visual)], axis=1))
    scores, _ = network(audio, visual)
    np.testing.assert_allclose(array(scores), affine(network.output, q), rtol=0, atol=1e-10)
    names = {name for name, _ in network.named_parameters()}
    assert not {name for name in names if "projection" in name}


def test_a_common_size_that_is_asked_for_projects_equal_sizes_too() -> None:
    network = FusionNetwork(5, 5, 3, FusionConfig(common_size=2))
    for projection in (network.audio_projection, network.visual_projection):
        assert isinstance(projection, nn.Linear)
        assert (projection.in_features, projection.out_features) == (5, 2)
    assert network.output.in_features == 2


def test_concatenation_puts_audio_before_visual_and_has_no_weights() -> None:
    network = FusionNetwork(4, 4, 3, FusionConfig(attend_over="concat")).double().eval()
    audio, visual = random(6, 4), random(6, 4, seed=1)
    scores, beta = network(audio, visual)
    assert beta is None
    both = np.concatenate([array(audio), array(visual)], axis=1)
    np.testing.assert_allclose(array(scores), affine(network.output, both), rtol=0, atol=1e-10)


def test_dropout_acts_in_training_only() -> None:
    network = FusionNetwork(16, 16, 3, FusionConfig(dropout=0.5))
    audio, visual = random(4, 16).float(), random(4, 16, seed=1).float()
    assert not torch.equal(network(audio, visual)[0], network(audio, visual)[0])
    network.eval()
    assert torch.equal(network(audio, visual)[0], network(audio, visual)[0])


@pytest.mark.parametrize("salient", ["audio", "visual"])
def test_beta_follows_the_modality_that_carries_the_label(salient: str) -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 2, (256,), generator=generator)
    noise = torch.randn(2, 256, 8, generator=generator)
    telling = 0.5 * noise[0]
    telling[:, 0] += 2.0 * labels - 1.0
    pair = (telling, 3 * noise[1]) if salient == "audio" else (3 * noise[1], telling)
    # Each modality keeps a feature of its own, as the outputs of two networks do.
    audio, visual = pair[0].clone(), pair[1].clone()
    audio[:, 7], visual[:, 7] = 1.0, -1.0
    network = FusionNetwork(8, 8, 2, FusionConfig(attention_size=8, dropout=0.0))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(100):
        optimiser.zero_grad()
        cross_entropy(network(audio, visual)[0], labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    mean = network(audio, visual)[1].mean(0).tolist()
    assert mean[0 if salient == "audio" else 1] > 0.7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attend_over": "time"}, r"fusion\.attend_over \(time\) must be one of: modalities"),
        ({"attention_size": 0}, r"fusion\.attention_size \(0\) must be at least 1"),
        ({"common_size": -1}, r"fusion\.common_size \(-1\) must be 0 or more"),
        ({"dropout": 1.0}, r"fusion\.dropout \(1\.0\) must be in"),
    ],
)
def test_fusion_settings_out_of_range_are_refused_by_name(
    settings: dict[str, str | float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        FusionConfig(**settings)  # type: ignore[arg-type]
