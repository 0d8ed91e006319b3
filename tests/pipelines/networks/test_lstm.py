"""The LSTM over shared frames is torch's own over gathered ones, with less work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pipelines.networks.lstm import cudnn_over_frames, lstm_over_frames
from pipelines.networks.temporal import LstmMean

STEPS = 20
FRAMES = 16
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}
INDICES = {
    "overlapping": (torch.arange(5)[:, None] * 3 + torch.arange(STEPS)) // 2,
    "repeated": torch.arange(STEPS).div(7, rounding_mode="floor").expand(3, STEPS),
    "out of order": torch.randint(
        0, FRAMES, (4, STEPS), generator=torch.Generator().manual_seed(2)
    ),
    "one segment": torch.arange(STEPS)[None] // 2,
    "one frame": torch.zeros(2, STEPS, dtype=torch.int64),
    "one step": torch.tensor([[3], [0], [3]]),
    "int32": torch.tensor([[0, 1, 1], [2, 1, 0]], dtype=torch.int32),
}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def gathered(lstm: nn.LSTM, features: Tensor, indices: Tensor) -> Tensor:
    states: Tensor = lstm(features[indices.long()])[0]
    return states


def outcome(states: Tensor, *inputs: Tensor, last: bool = False) -> list[Tensor]:
    """States, and the gradients of a sum of them in which every entry has a weight of its own."""
    result = states[:, -1] if last else states
    weights = torch.randn(result.shape, generator=torch.Generator().manual_seed(1)).to(result)
    return [result.detach(), *torch.autograd.grad((result * weights).sum(), inputs)]


def error(one: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert one.shape == other.shape
    one, other = one.detach().double(), other.detach().double()
    return float((one - other).abs().max() / other.abs().max())


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the shapes of the factors of every matrix product."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.mm.default:
            self.shapes.append((tuple(args[0].shape), tuple(args[1].shape)))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("last", [False, True], ids=["all states", "last state"])
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("case", INDICES)
def test_states_and_all_gradients_are_those_of_torchs_lstm(
    case: str, dtype: torch.dtype, last: bool
) -> None:
    lstm = nn.LSTM(6, 5, batch_first=True).to(dtype)
    indices = INDICES[case]
    features = torch.randn(int(indices.max()) + 1, 6, dtype=dtype, requires_grad=True)
    inputs = [features, *lstm.parameters()]
    ours = outcome(lstm_over_frames(lstm, features, indices), *inputs, last=last)
    truth = outcome(gathered(lstm, features, indices), *inputs, last=last)
    # A single step starts from zero: there the recurrent weight truly has no gradient.
    compared = [(a, b) for a, b in zip(ours, truth, strict=True) if case != "one step" or b.any()]
    assert len(compared) == (5 if case == "one step" else 6)
    assert max(error(a, b) for a, b in compared) <= TOLERANCES[dtype]


def test_gradients_are_slopes() -> None:
    temporal = LstmMean(3, 2).double()
    features = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    indices = torch.tensor([[0, 1, 1, 3], [3, 2, 1, 0]])
    names, values = zip(*temporal.named_parameters(), strict=True)

    def mean_state(features: Tensor, *values: Tensor) -> Tensor:
        parameters = dict(zip(names, values, strict=True))
        result: Tensor = torch.func.functional_call(temporal, parameters, (features, indices))
        return result

    assert torch.autograd.gradcheck(mean_state, (features, *values))


def test_each_unique_frame_is_projected_once() -> None:
    lstm, segments = nn.LSTM(6, 5, batch_first=True), 5
    with Products() as products:
        lstm_over_frames(lstm, torch.randn(FRAMES, 6), INDICES["overlapping"])
    projection, *recurrent = products.shapes
    assert projection == ((20, 6), (6, FRAMES))
    assert recurrent == [((20, 5), (5, segments))] * (STEPS - 1)


@pytest.mark.parametrize(
    ("features_learn", "weights_learn", "products"),
    [(False, True, 2), (True, False, 1), (True, True, 3)],
)
def test_what_is_frozen_gets_no_gradient_and_costs_no_product(
    features_learn: bool, weights_learn: bool, products: int
) -> None:
    lstm = nn.LSTM(6, 5, batch_first=True).requires_grad_(weights_learn)
    features = torch.randn(FRAMES, 6, requires_grad=features_learn)
    states = lstm_over_frames(lstm, features, INDICES["overlapping"])
    with Products() as counted:
        states.sum().backward()  # type: ignore[no-untyped-call]
    assert len(counted.shapes) == STEPS - 1 + products
    assert (features.grad is not None) == features_learn
    assert [p.grad is not None for p in lstm.parameters()] == [weights_learn] * 4


def test_each_weight_gradient_is_one_product_over_all_steps() -> None:
    lstm, segments = nn.LSTM(6, 5, batch_first=True), 5
    states = lstm_over_frames(lstm, torch.randn(FRAMES, 6), INDICES["overlapping"])
    with Products() as counted:
        states.sum().backward()  # type: ignore[no-untyped-call]
    assert counted.shapes[-2:] == [
        ((20, STEPS * segments), (STEPS * segments, 5)),
        ((20, FRAMES), (FRAMES, 6)),
    ]


@pytest.mark.parametrize("hidden", [5, 300], ids=["in one block", "over several blocks"])
def test_bfloat16_products_stay_near_float32(hidden: int) -> None:
    lstm = nn.LSTM(40, hidden, batch_first=True)
    features = torch.randn(FRAMES, 40, requires_grad=True)
    inputs = [features, *lstm.parameters()]
    indices = INDICES["overlapping"]
    narrow = outcome(lstm_over_frames(lstm, features, indices, torch.bfloat16), *inputs)
    wide = outcome(gathered(lstm, features, indices), *inputs)
    assert {values.dtype for values in narrow} == {torch.float32}
    errors = [error(a, b) for a, b in zip(narrow, wide, strict=True)]
    # bfloat16 has 8 bits: a product is off by 0.4 % of its size, and 20 steps build on each other.
    assert max(errors) <= 0.02
    assert min(errors) > 1e-5  # it was computed in bfloat16


def test_parameters_and_cells_are_not_rounded_to_bfloat16() -> None:
    # Without input and recurrence all that is left is the cell, which sums 20 small steps.
    lstm = nn.LSTM(1, 1, batch_first=True)
    with torch.no_grad():
        for weight in lstm.all_weights[0][:2]:
            weight.zero_()
        lstm.get_parameter("bias_ih_l0").copy_(torch.tensor([-6.0, 9.0, 0.1, 0.3]))
    indices = torch.zeros(1, STEPS, dtype=torch.int64)
    narrow = lstm_over_frames(lstm, torch.ones(1, 1), indices, torch.bfloat16)
    assert error(narrow, gathered(lstm, torch.ones(1, 1), indices)) <= 1e-5


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("compute", [None, torch.bfloat16])
def test_stored_features_of_any_type_are_taken(
    stored: torch.dtype, compute: torch.dtype | None
) -> None:
    lstm, indices = nn.LSTM(6, 5, batch_first=True), INDICES["overlapping"]
    features = torch.randn(FRAMES, 6).to(stored).requires_grad_()
    states = lstm_over_frames(lstm, features, indices, compute)
    assert states.dtype == torch.float32
    (gradient,) = torch.autograd.grad(states.sum(), features)
    assert gradient.dtype == stored
    assert torch.equal(states, lstm_over_frames(lstm, features.float(), indices, compute))


@pytest.mark.usefixtures("_deterministic")
@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_the_same_input_gives_the_same_bits(compute: torch.dtype) -> None:
    def once() -> list[Tensor]:
        torch.manual_seed(3)
        lstm = nn.LSTM(64, 96, batch_first=True)
        features = torch.randn(40, 64, requires_grad=True)
        indices = torch.randint(0, 40, (28, STEPS))
        states = lstm_over_frames(lstm, features, indices, compute)
        return outcome(states, features, *lstm.parameters())

    first = once()
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(first, once(), strict=True))


@pytest.mark.parametrize("compute", [None, torch.bfloat16])
def test_a_segment_does_not_depend_on_which_others_stand_beside_it(
    compute: torch.dtype | None,
) -> None:
    lstm, features, indices = nn.LSTM(6, 5, batch_first=True), torch.randn(FRAMES, 6), INDICES
    both = lstm_over_frames(lstm, features, indices["overlapping"], compute)
    alone = lstm_over_frames(lstm, features, indices["overlapping"][2:3], compute)
    torch.testing.assert_close(both[2:3], alone, rtol=0, atol=1e-6)


def test_going_back_twice_gives_the_same_gradients() -> None:
    lstm, features = nn.LSTM(6, 5, batch_first=True), torch.randn(FRAMES, 6)
    states = lstm_over_frames(lstm, features, INDICES["overlapping"])
    once, twice = (
        torch.autograd.grad(states.sum(), list(lstm.parameters()), retain_graph=True)
        for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(once, twice, strict=True))


@pytest.mark.parametrize("kernel", [lstm_over_frames, cudnn_over_frames])
@pytest.mark.parametrize(("compute", "tolerance"), [(None, 1e-5), (torch.bfloat16, 0.02)])
def test_both_kernels_are_one_lstm(
    kernel: Callable[..., Tensor], compute: torch.dtype | None, tolerance: float
) -> None:
    lstm, indices = nn.LSTM(6, 5, batch_first=True), INDICES["overlapping"]
    features = torch.randn(FRAMES, 6, requires_grad=True)
    inputs = [features, *lstm.parameters()]
    try:
        states = kernel(lstm, features, indices, compute)
    except RuntimeError as failure:
        if kernel is not cudnn_over_frames or "could not create a primitive" not in str(failure):
            raise
        pytest.skip(f"torch's own LSTM has no {compute} on this CPU")
    ours = outcome(states, *inputs)
    truth = outcome(gathered(lstm, features, indices), *inputs)
    assert ours[0].dtype == torch.float32
    assert max(error(a, b) for a, b in zip(ours, truth, strict=True)) <= tolerance
