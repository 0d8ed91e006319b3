"""The LSTM over frames that segments share, and torch's own for comparison.

Once the trunk's features are kept, the LSTM takes nearly all the time of stage 1. Consecutive
segments show the same frames: each unique frame is projected to the gates once, in one product, and
segments gather the projections. Only the recurrent product is left inside the loop over time, and
the gradient of its weight is one product over all steps.

In the loop a large weight meets the states of a few segments, so the time is that of reading the
weight. States and gates are therefore columns, [hidden, segments], and the weight stands on the
left, read as it lies in memory. With the states on the left oneDNN lays the weight out anew in
every step, which takes two to three times as long.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_ROWS_CONVERTED = 1024
_ROWS_TRANSPOSED = 64


class NarrowWeights(NamedTuple):
    """Copies of an LSTM's weights in the type of its products, for as long as they don't change."""

    weight_ih: Tensor
    weight_hh: Tensor


def narrow_weights(lstm: nn.LSTM, compute: torch.dtype) -> NarrowWeights:
    """Return the copies: making them takes as long as the steps of one clip."""
    weight_ih, weight_hh, _, _ = lstm.all_weights[0]
    return NarrowWeights(weight_ih.detach().to(compute), weight_hh.detach().to(compute))


def lstm_over_frames(
    lstm: nn.LSTM,
    features: Tensor,
    frame_indices: Tensor,
    compute: torch.dtype | None = None,
    narrow: NarrowWeights | None = None,
) -> Tensor:
    """Run an LSTM, from a zero state, over the frames of each segment.

    Args:
        lstm: holds the parameters: one layer in one direction.
        features: [n, feature_size], each unique frame once, of any floating type.
        frame_indices: [segments, steps] into `features`.
        compute: type of the matrix products, None for that of the parameters. With bfloat16 the
            factors and the results of products are rounded to it, and sums within a product are
            not; parameters, their gradients, cells and the arithmetic of the gates stay float32.
        narrow: the weights in that type, where they are frozen; they get no gradients.

    Returns:
        Hidden states [segments, steps, hidden], of the parameters' type.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = lstm.all_weights[0]
    dtype = weight_ih.dtype
    compute = compute or dtype
    of_frames, recurrent = narrow or (weight_ih, weight_hh)
    projected = _Projection.apply(of_frames, features, compute, dtype)
    projected = projected + (bias_ih + bias_hh)[:, None]
    states: Tensor = _Recurrence.apply(projected, frame_indices, recurrent, compute)
    return states


def cudnn_over_frames(
    lstm: nn.LSTM, features: Tensor, frame_indices: Tensor, compute: torch.dtype | None = None
) -> Tensor:
    """Do the same with torch's own kernel (cuDNN's on a GPU) on the gathered frames."""
    dtype = lstm.all_weights[0][0].dtype
    narrow = compute is not None and compute != dtype
    with torch.autocast(features.device.type, dtype=compute, enabled=narrow):
        states: Tensor = lstm(features.to(dtype)[frame_indices])[0]
    return states.to(dtype)


class _Projection(torch.autograd.Function):
    """The product of the input weight and the unique frames."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, features: Tensor, compute: torch.dtype, dtype: torch.dtype
    ) -> Tensor:
        """Return [4 hidden, n] of weight [4 hidden, size] and features [n, size], in `dtype`."""
        ctx.save_for_backward(weight, features)
        ctx.compute = compute
        return _product(weight, features.T, compute, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the weight and the features, each only if it is needed."""
        weight, features = ctx.saved_tensors
        grad_weight = grad_features = None
        if ctx.needs_input_grad[0]:
            grad_weight = _product(grad, features, ctx.compute, grad.dtype)
        if ctx.needs_input_grad[1]:
            grad_features = _product(grad.T, weight, ctx.compute, grad.dtype).to(features.dtype)
        return grad_weight, grad_features, None, None


class _Recurrence(torch.autograd.Function):
    """The steps in time, from projected frames to hidden states.

    The gates stand in torch's order: input i, forget f, cell g, output o. With i, f, o the sigmoid
    and g the tanh of frame + weight h, the next cell is f c + i g and the next state o tanh(cell).
    """

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, frame_indices: Tensor, weight: Tensor, compute: torch.dtype
    ) -> Tensor:
        """Return states [segments, steps, hidden] of projected frames [4 hidden, n]."""
        segments, steps = frame_indices.shape
        hidden = weight.shape[1]
        recurrent = weight.to(compute)
        gates = projected.index_select(1, frame_indices.T.flatten())
        gates = gates.view(4 * hidden, steps, segments).transpose(0, 1).contiguous()
        # Entry 0 is what stands before the first frame.
        cells = projected.new_zeros(steps + 1, hidden, segments)
        states = projected.new_zeros(steps + 1, hidden, segments)
        for step in range(steps):
            now = gates[step]
            if step > 0:
                now += recurrent @ states[step].to(compute)
            now[: 2 * hidden].sigmoid_()
            now[2 * hidden : 3 * hidden].tanh_()
            now[3 * hidden :].sigmoid_()
            i, f, g, o = now.chunk(4)
            torch.mul(f, cells[step], out=cells[step + 1]).addcmul_(i, g)
            torch.mul(o, cells[step + 1].tanh(), out=states[step + 1])
        ctx.save_for_backward(frame_indices, weight, gates, cells, states)
        ctx.frames, ctx.compute = projected.shape[1], compute
        return states[1:].permute(2, 0, 1).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_states: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the projected frames and the weight, each only if it is needed.

        The gates' gradients of all steps are kept, so that the weight's is one product, and frames
        that segments share are summed before anything is multiplied by the input weight.
        """
        frame_indices, weight, gates, cells, states = ctx.saved_tensors
        grad_gates = _grad_gates(grad_states.permute(1, 2, 0), weight, gates, cells, ctx.compute)
        columns = grad_gates.transpose(0, 1).flatten(1)  # [4 hidden, steps * segments]
        grad_projected = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_projected = columns.new_zeros(len(columns), ctx.frames)
            grad_projected.index_add_(1, frame_indices.T.flatten(), columns)
        if ctx.needs_input_grad[2]:
            before = states[:-1].transpose(1, 2).flatten(0, 1)
            grad_weight = _product(columns, before, ctx.compute, columns.dtype)
        return grad_projected, None, grad_weight, None


def _grad_gates(
    grad_states: Tensor, weight: Tensor, gates: Tensor, cells: Tensor, compute: torch.dtype
) -> Tensor:
    """Return gradients of the gates before sigmoid and tanh, [steps, 4 hidden, segments].

    Args:
        grad_states: [steps, hidden, segments], from outside alone.
        weight: [4 hidden, hidden].
        gates: [steps, 4 hidden, segments], after sigmoid and tanh.
        cells: [steps + 1, hidden, segments], the first before the first frame.
        compute: type of the matrix products.
    """
    i, f, g, o = gates.chunk(4, dim=1)
    squashed = cells[1:].tanh()
    to_cell = o * (1 - squashed.square())
    # At first each entry is what multiplies the gradient of the cell (i, f, g) or the state (o).
    slopes = (
        g * i * (1 - i),
        cells[:-1] * f * (1 - f),
        i * (1 - g.square()),
        squashed * o * (1 - o),
    )
    grad_gates = torch.stack(slopes, dim=1)
    recurrent = _transposed(weight, compute)
    grad_cell = torch.zeros_like(cells[0])
    for step in reversed(range(len(gates))):
        grad_state = grad_states[step]
        if step + 1 < len(gates):
            grad_state = grad_state + recurrent @ grad_gates[step + 1].flatten(0, 1).to(compute)
        grad_cell.addcmul_(grad_state, to_cell[step])
        grad_gates[step, :3] *= grad_cell
        grad_gates[step, 3] *= grad_state
        grad_cell *= f[step]
    return grad_gates.flatten(1, 2)


def _product(left: Tensor, right: Tensor, compute: torch.dtype, dtype: torch.dtype) -> Tensor:
    """Return left @ right in `dtype`, multiplied in the type `compute`."""
    right = right.to(compute)
    if compute == dtype or left.is_cuda:
        return (left.to(compute) @ right).to(dtype)
    product = left.new_empty(len(left), right.shape[1], dtype=dtype)
    # Some rows at a time: their narrow copies stay in the cache, and in memory that is used again.
    for some, rows in zip(
        torch.split(product, _ROWS_CONVERTED), torch.split(left, _ROWS_CONVERTED), strict=True
    ):
        some.copy_(rows.to(compute) @ right)
    return product


def _transposed(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the transpose in another type, on a CPU contiguous: it is read in every step."""
    if weight.is_cuda:
        return weight.to(dtype).T
    transposed = weight.new_empty(weight.shape[1], weight.shape[0], dtype=dtype)
    # By blocks that the cache holds: a third of the time of one copy.
    for columns, rows in zip(
        torch.split(transposed, _ROWS_TRANSPOSED, dim=1),
        torch.split(weight, _ROWS_TRANSPOSED),
        strict=True,
    ):
        columns.copy_(rows.to(dtype).T)
    return transposed
