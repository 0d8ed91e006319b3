"""The network of stage 2: sizes, order of its parts, and settings that are refused."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from pipelines.errors import UsageError
from pipelines.networks.attention import COMBINATIONS
from pipelines.networks.fusion import Fused, FusionConfig, FusionNetwork, SegmentVectors

CLIP = torch.tensor([0, 0, 1, 2, 2, 2, 2])
ALL = list(COMBINATIONS)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vectors(attend_over: str, audio_size: int, visual_size: int) -> SegmentVectors:
    steps = (20,) if attend_over == "timesteps" else ()
    return SegmentVectors(
        random(len(CLIP), audio_size), random(len(CLIP), *steps, visual_size, seed=1), CLIP
    )


def network(audio_size: int, visual_size: int, **settings: object) -> FusionNetwork:
    config = FusionConfig(attention_size=5, **settings)  # type: ignore[arg-type]
    return FusionNetwork(audio_size, visual_size, 3, config).double().eval()


def affine(layer: nn.Module, values: Tensor) -> npt.NDArray[np.float64]:
    assert isinstance(layer, nn.Linear)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return np.asarray(values.detach().numpy() @ weight.T + bias, dtype=np.float64)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("attend_over", ALL)
@pytest.mark.parametrize(
    ("audio_size", "visual_size", "asked", "common"),
    [(6, 4, 0, 4), (4, 6, 0, 4), (5, 5, 2, 2), (5, 3, 8, 8)],
)
def test_both_modalities_are_brought_to_the_common_size(
    attend_over: str, audio_size: int, visual_size: int, asked: int, common: int
) -> None:
    made = network(audio_size, visual_size, attend_over=attend_over, common_size=asked)
    given = vectors(attend_over, audio_size, visual_size)
    audio = torch.from_numpy(affine(made.audio_projection, given.audio))
    visual = torch.from_numpy(affine(made.visual_projection, given.visual))
    assert audio.shape[-1] == visual.shape[-1] == common
    q, attention = made.combination(audio, visual, CLIP)
    fused = made(given)
    np.testing.assert_allclose(
        fused.scores.detach().numpy(), affine(made.output, q), rtol=0, atol=1e-10
    )
    assert list(fused.attention) == list(attention)
    for name, weights in attention.items():
        torch.testing.assert_close(fused.attention[name], weights, rtol=0, atol=1e-10)


@pytest.mark.parametrize("attend_over", ALL)
@pytest.mark.parametrize("widths", [[6], [7, 4]])
def test_hidden_layers_are_those_of_a_plain_sequence(attend_over: str, widths: list[int]) -> None:
    made = network(5, 5, attend_over=attend_over, hidden=widths, dropout=0.4)
    given = vectors(attend_over, 5, 5)
    size = made.combination.fused_size
    layers: list[nn.Module] = [nn.Dropout(0.4)]
    for width in widths:
        layers += [nn.Linear(size, width), nn.ReLU(), nn.Dropout(0.4)]
        size = width
    plain = nn.Sequential(*layers, nn.Linear(size, 3)).double()
    held = [*made.hidden.parameters(), *made.output.parameters()]
    for parameter, value in zip(plain.parameters(), held, strict=True):
        parameter.data.copy_(value)
    for training in (False, True):
        made.train(training)
        plain.train(training)
        torch.manual_seed(5)
        ours = made(given)
        torch.manual_seed(5)
        audio, visual = made.dropout(given.audio), made.dropout(given.visual)
        q, attention = made.combination(audio, visual, CLIP)
        torch.testing.assert_close(ours.scores, plain(q), rtol=0, atol=1e-12)
        assert list(ours.attention) == list(attention)


@pytest.mark.parametrize("attend_over", ALL)
def test_without_hidden_layers_the_output_is_drawn_next_and_nothing_else_is_held(
    attend_over: str,
) -> None:
    torch.manual_seed(3)
    made = FusionNetwork(5, 5, 3, FusionConfig(attend_over=attend_over, attention_size=4))
    torch.manual_seed(3)
    combination = COMBINATIONS[attend_over](5, 4)
    output = nn.Linear(combination.fused_size, 3)
    held = {
        **{f"combination.{name}": value for name, value in combination.state_dict().items()},
        **{f"output.{name}": value for name, value in output.state_dict().items()},
    }
    assert made.state_dict().keys() == held.keys()
    assert all(torch.equal(value, held[name]) for name, value in made.state_dict().items())


@pytest.mark.parametrize("attend_over", ALL)
def test_equal_sizes_are_not_projected(attend_over: str) -> None:
    made, given = network(5, 5, attend_over=attend_over), vectors(attend_over, 5, 5)
    q, _ = made.combination(given.audio, given.visual, CLIP)
    np.testing.assert_allclose(
        made(given).scores.detach().numpy(), affine(made.output, q), rtol=0, atol=1e-10
    )
    assert not {name for name, _ in made.named_parameters() if "projection" in name}


@pytest.mark.parametrize("attend_over", ALL)
def test_there_is_one_row_of_scores_a_segment_or_one_a_clip(attend_over: str) -> None:
    made = network(5, 4, attend_over=attend_over)
    rows = len(made(vectors(attend_over, 5, 4)).scores)
    per_clip = attend_over == "segments"
    assert rows == (3 if per_clip else len(CLIP))
    assert made.per_clip == per_clip
    assert FusionConfig(attend_over=attend_over).predicts == ("clip" if per_clip else "segment")


def test_weights_are_told_segment_by_segment() -> None:
    scores = torch.zeros(2, 3)
    pair = {"audio": torch.tensor([0.25, 0.5]), "visual": torch.tensor([0.75, 0.5])}
    assert Fused(scores, pair).attention_of_segments() == [
        {"audio": 0.25, "visual": 0.75},
        {"audio": 0.5, "visual": 0.5},
    ]
    steps = {"timesteps": torch.tensor([[0.25, 0.75], [1.0, 0.0]])}
    assert Fused(scores, steps).attention_of_segments() == [
        {"timesteps": (0.25, 0.75)},
        {"timesteps": (1.0, 0.0)},
    ]
    of_one_clip = {"segments": torch.tensor([0.5, 0.25, 0.25])}
    assert Fused(scores[:1], of_one_clip).attention_of_segments() == [
        {"segments": 0.5},
        {"segments": 0.25},
        {"segments": 0.25},
    ]
    assert Fused(scores, {}).attention_of_segments() == [{}, {}]


@pytest.mark.parametrize("attend_over", ALL)
def test_dropout_acts_in_training_only(attend_over: str) -> None:
    made, given = network(16, 16, attend_over=attend_over), vectors(attend_over, 16, 16)
    assert torch.equal(made(given).scores, made(given).scores)
    made.train()
    assert not torch.equal(made(given).scores, made(given).scores)


@pytest.mark.parametrize("attend_over", ALL)
def test_single_precision_gives_the_same_to_a_millionth(attend_over: str) -> None:
    made, given = network(6, 4, attend_over=attend_over), vectors(attend_over, 6, 4)
    double = made(given)
    single = made.float()(SegmentVectors(given.audio.float(), given.visual.float(), CLIP))
    assert single.scores.dtype == torch.float32
    torch.testing.assert_close(single.scores.double(), double.scores, rtol=0, atol=2e-6)
    for name, weights in double.attention.items():
        torch.testing.assert_close(single.attention[name].double(), weights, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"attend_over": "time"},
            r"fusion\.attend_over \(time\) must be one of: modalities, timesteps, features, "
            r"segments, concat",
        ),
        ({"attention_size": 0}, r"fusion\.attention_size \(0\) must be at least 1"),
        ({"common_size": -1}, r"fusion\.common_size \(-1\) must be 0 or more"),
        (
            {"hidden": [64, 0]},
            r"fusion\.hidden \(\[64, 0\]\) must be widths of layers, each at least 1",
        ),
        ({"dropout": 1.0}, r"fusion\.dropout \(1\.0\) must be in"),
    ],
)
def test_fusion_settings_out_of_range_are_refused_by_name(
    settings: dict[str, str | float | list[int]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        FusionConfig(**settings)  # type: ignore[arg-type]
