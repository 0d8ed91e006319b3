"""Every reading of the attention is equations 5-7, worked here by loops in float64."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from pipelines.networks.attention import COMBINATIONS, AttentionScore, Combination

Matrix = npt.NDArray[np.float64]
SIZE, ROWS, STEPS = 3, 4, 20
LENGTHS = (1, 3, 7)
CLIP = torch.tensor([0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2])
WITH_ATTENTION = ("modalities", "timesteps", "features", "segments")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def array(tensor: Tensor) -> Matrix:
    return np.asarray(tensor.detach().numpy(), dtype=np.float64)


def combination(attend_over: str, size: int = SIZE) -> Combination:
    torch.manual_seed(0)
    made = COMBINATIONS[attend_over](size, ROWS).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made


def inputs(attend_over: str, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    shape = (len(CLIP), STEPS, SIZE) if attend_over == "timesteps" else (len(CLIP), SIZE)
    return 2 * random(len(CLIP), SIZE, seed=seed), 2 * random(*shape, seed=seed + 1), CLIP


def equation_5(hidden: nn.Module, c: Matrix) -> list[float]:
    assert isinstance(hidden, nn.Linear)
    weight, bias = array(hidden.weight), array(hidden.bias)
    return [
        math.tanh(sum(weight[row, i] * c[i] for i in range(len(c))) + bias[row])
        for row in range(len(bias))
    ]


def equation_6(scores: list[float]) -> list[float]:
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def equations_5_to_7(score: nn.Module, vectors: list[Matrix]) -> tuple[Matrix, list[float]]:
    """q and beta of the vectors among which one attention chooses."""
    assert isinstance(score, AttentionScore)
    context = array(score.context)
    scores = []
    for c in vectors:
        h = equation_5(score.hidden, c)
        scores.append(sum(h[row] * context[row] for row in range(len(h))))
    beta = equation_6(scores)
    q = np.zeros(len(vectors[0]))
    for weight, c in zip(beta, vectors, strict=True):
        q += weight * c
    return q, beta


def score_of(made: Combination) -> nn.Module:
    return made.get_submodule("score")


def test_the_score_is_signed() -> None:
    made = COMBINATIONS["modalities"](1, 1).double()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    one = torch.ones(1, 1, dtype=torch.float64)
    beta = made(one, -one, torch.tensor([0]))[1]
    # With the absolute value of equation 6's bars both would be 0.5.
    expected = math.exp(math.tanh(1.0)) / (math.exp(math.tanh(1.0)) + math.exp(-math.tanh(1.0)))
    assert beta["audio"].item() == pytest.approx(expected, abs=1e-12)


def test_modalities_are_weighed_against_each_other() -> None:
    made, (audio, visual, clip) = combination("modalities"), inputs("modalities")
    q, beta = made(audio, visual, clip)
    assert made.fused_size == SIZE
    assert list(beta) == ["audio", "visual"]
    for s in range(len(clip)):
        true_q, true_beta = equations_5_to_7(score_of(made), [array(audio[s]), array(visual[s])])
        np.testing.assert_allclose(array(q[s]), true_q, rtol=0, atol=1e-10)
        told = [beta["audio"][s].item(), beta["visual"][s].item()]
        np.testing.assert_allclose(told, true_beta, rtol=0, atol=1e-10)


def test_time_steps_of_a_segment_are_weighed_beside_its_audio_vector() -> None:
    made, (audio, visual, clip) = combination("timesteps"), inputs("timesteps")
    q, beta = made(audio, visual, clip)
    assert q.shape == (len(clip), made.fused_size) == (len(clip), 2 * SIZE)
    assert {name: weights.shape for name, weights in beta.items()} == {
        "timesteps": (len(clip), STEPS)
    }
    for s in range(len(clip)):
        vectors = [np.append(array(audio[s]), array(visual[s, t])) for t in range(STEPS)]
        true_q, true_beta = equations_5_to_7(score_of(made), vectors)
        np.testing.assert_allclose(array(q[s]), true_q, rtol=0, atol=1e-10)
        np.testing.assert_allclose(array(beta["timesteps"][s]), true_beta, rtol=0, atol=1e-10)


def test_features_are_weighed_entry_by_entry() -> None:
    made, (audio, visual, clip) = combination("features"), inputs("features")
    q, beta = made(audio, visual, clip)
    contexts = array(made.get_parameter("context"))
    assert contexts.shape == (2 * SIZE, ROWS)
    assert list(beta) == ["audio", "visual"]
    for s in range(len(clip)):
        c = np.append(array(audio[s]), array(visual[s]))
        h = equation_5(made.get_submodule("hidden"), c)
        scores = [sum(h[row] * contexts[i, row] for row in range(ROWS)) for i in range(2 * SIZE)]
        true_beta = equation_6(scores)
        true_q = [2 * SIZE * true_beta[i] * c[i] for i in range(2 * SIZE)]
        np.testing.assert_allclose(array(q[s]), true_q, rtol=0, atol=1e-10)
        assert beta["audio"][s].item() == pytest.approx(sum(true_beta[:SIZE]), abs=1e-10)
        assert beta["visual"][s].item() == pytest.approx(sum(true_beta[SIZE:]), abs=1e-10)


@pytest.mark.parametrize("size", [2, 512])
def test_equal_weights_leave_features_as_they_are_whatever_their_number(size: int) -> None:
    made = combination("features", size)
    with torch.no_grad():
        made.get_parameter("context").zero_()
    audio, visual = random(5, size), random(5, size, seed=1)
    q, _ = made(audio, visual, torch.arange(5))
    torch.testing.assert_close(q, torch.cat([audio, visual], dim=1))


def test_segments_are_weighed_within_their_clip_and_give_one_vector_a_clip() -> None:
    made, (audio, visual, clip) = combination("segments"), inputs("segments")
    q, beta = made(audio, visual, clip)
    assert made.per_clip
    assert q.shape == (len(LENGTHS), made.fused_size) == (3, 2 * SIZE)
    assert {name: weights.shape for name, weights in beta.items()} == {"segments": (len(clip),)}
    start = 0
    for row, length in enumerate(LENGTHS):
        of_clip = range(start, start + length)
        vectors = [np.append(array(audio[s]), array(visual[s])) for s in of_clip]
        true_q, true_beta = equations_5_to_7(score_of(made), vectors)
        np.testing.assert_allclose(array(q[row]), true_q, rtol=0, atol=1e-10)
        told = array(beta["segments"][start : start + length])
        np.testing.assert_allclose(told, true_beta, rtol=0, atol=1e-10)
        start += length


def test_concatenation_puts_audio_before_visual_and_has_no_weights() -> None:
    audio, visual, clip = inputs("concat")
    q, beta = combination("concat")(audio, visual, clip)
    assert torch.equal(q, torch.cat([audio, visual], dim=1))
    assert beta == {}


def sums(attend_over: str, beta: dict[str, Tensor]) -> Tensor:
    """Sums of beta over all that it chooses among."""
    if attend_over == "timesteps":
        return beta["timesteps"].sum(1)
    if attend_over == "segments":
        return torch.stack([part.sum() for part in torch.split(beta["segments"], list(LENGTHS))])
    return beta["audio"] + beta["visual"]


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("attend_over", WITH_ATTENTION)
def test_beta_is_non_negative_and_sums_to_one_however_large_the_scores(
    attend_over: str, scale: float
) -> None:
    made = combination(attend_over)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("context"):
                parameter.mul_(scale)
    audio, visual, clip = inputs(attend_over)
    q, beta = made(audio.requires_grad_(), visual, clip)
    assert all(weights.min().item() >= 0 for weights in beta.values())
    assert all(weights.std().item() > 0.05 for weights in beta.values())
    torch.testing.assert_close(
        sums(attend_over, beta), torch.ones_like(sums(attend_over, beta)), rtol=0, atol=1e-12
    )
    q.sum().backward()
    assert torch.isfinite(q).all()
    assert audio.grad is not None
    assert torch.isfinite(audio.grad).all()


@pytest.mark.parametrize("chosen", [[0], [1], [2], [0, 2], [2, 1]])
def test_a_clip_is_the_same_whatever_clips_stand_beside_it(chosen: list[int]) -> None:
    made, (audio, visual, clip) = combination("segments"), inputs("segments")
    q, beta = made(audio, visual, clip)
    rows = torch.cat([torch.nonzero(clip == number).flatten() for number in chosen])
    lengths = torch.tensor([LENGTHS[number] for number in chosen])
    renumbered = torch.repeat_interleave(torch.arange(len(chosen)), lengths)
    other_q, other_beta = made(audio[rows], visual[rows], renumbered)
    torch.testing.assert_close(other_q, q[chosen], rtol=0, atol=1e-12)
    torch.testing.assert_close(other_beta["segments"], beta["segments"][rows], rtol=0, atol=1e-12)


def test_numbers_of_clips_may_have_gaps() -> None:
    made, (audio, visual, clip) = combination("segments"), inputs("segments")
    gapped = made(audio, visual, torch.tensor([4, 9, 10])[clip])
    plain = made(audio, visual, clip)
    assert torch.equal(gapped[0], plain[0])
    assert torch.equal(gapped[1]["segments"], plain[1]["segments"])


def test_the_order_of_segments_within_a_clip_is_of_no_account() -> None:
    made, (audio, visual, clip) = combination("segments"), inputs("segments")
    rows = torch.tensor([0, 3, 2, 1, 10, 4, 9, 5, 8, 6, 7])
    torch.testing.assert_close(
        made(audio[rows], visual[rows], clip)[0], made(audio, visual, clip)[0], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("attend_over", list(COMBINATIONS))
def test_gradients_are_those_of_finite_differences(attend_over: str) -> None:
    made = combination(attend_over)
    audio, visual, _ = inputs(attend_over)
    clip = torch.tensor([0, 1, 1])
    names = [name for name, _ in made.named_parameters()]
    values = [parameter.detach().requires_grad_() for parameter in made.parameters()]

    def combined(audio: Tensor, visual: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        held = dict(zip(names, parameters, strict=True))
        q, beta = torch.func.functional_call(made, held, (audio, visual, clip))
        return (q, *beta.values())

    visual = visual[:3, :4] if attend_over == "timesteps" else visual[:3]
    points = (audio[:3].requires_grad_(), visual.requires_grad_(), *values)
    assert torch.autograd.gradcheck(combined, points)
