"""A long short-term memory over frames that segments share, and torch's own for comparison.

After the trunk's features are cached, the LSTM takes nearly all of the time of stage 1. Consecutive
segments show the same frames, so each unique frame is projected into the gates once, in one matrix
product, and segments gather the projections. Inside the loop over time only the recurrent product
is left; the gradient of its weights is one product over all steps.

In the loop a large matrix meets the states of a few segments: what counts is how fast the matrix is
read. States and gates are therefore columns, [hidden, segments], with the weights on the left as
they lie in memory; with the states on the left, oneDNN repacks the weights in every step, which
takes two to three times as long.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_ROWS = 1024
_ROWS_IN_CACHE = 64


def lstm_over_frames(
    lstm: nn.LSTM, features: Tensor, frame_indices: Tensor, compute: torch.dtype | None = None
) -> Tensor:
    """Run an LSTM from a zero state over the frames of each segment.

    Args:
        lstm: the parameters: one layer, one direction.
        features: [n, feature_size], each unique frame once, in any floating type.
        frame_indices: [segments, steps] into `features`.
        compute: type of the matrix products; None for that of the parameters. With bfloat16 the
            parameters, the states, the arithmetic of the gates and the gradients stay in the type
            of the parameters.

    Returns:
        Hidden states [segments, steps, hidden_size] in the type of the parameters.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = lstm.all_weights[0]
    compute = compute or weight_ih.dtype
    projected = _Projection.apply(weight_ih, features, compute) + (bias_ih + bias_hh)[:, None]
    states: Tensor = _Recurrence.apply(projected, frame_indices, weight_hh, compute)
    return states


def torch_lstm_over_frames(
    lstm: nn.LSTM, features: Tensor, frame_indices: Tensor, compute: torch.dtype | None = None
) -> Tensor:
    """Do the same by torch's own kernel (cuDNN on a GPU) on the gathered frames of each segment."""
    dtype = lstm.all_weights[0][0].dtype
    narrow = compute is not None and compute != dtype
    with torch.autocast(features.device.type, dtype=compute, enabled=narrow):
        states: Tensor = lstm(features.to(dtype)[frame_indices])[0]
    return states.to(dtype)


class _Projection(torch.autograd.Function):
    """The product of the input weights and all unique frames."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, features: Tensor, compute: torch.dtype) -> Tensor:
        """Return [4 hidden, n] of weight [4 hidden, feature_size] and features [n, feature_size]."""
        ctx.save_for_backward(weight, features)
        ctx.compute = compute
        return _product(weight, features.T, compute)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of weight and features, where they are needed."""
        weight, features = ctx.saved_tensors
        grad_weight = grad_features = None
        if ctx.needs_input_grad[0]:
            grad_weight = _product(grad, features, ctx.compute)
        if ctx.needs_input_grad[1]:
            grad_features = _product(grad.T, weight, ctx.compute).to(features.dtype)
        return grad_weight, grad_features, None


class _Recurrence(torch.autograd.Function):
    """The steps in time, from the projected frames to the hidden states.

    torch's order of gates: input i, forget f, cell g, output o. A step is
    c' = f c + i g and h' = o tanh(c'), with (i, f, o) = sigmoid and g = tanh of what comes from the
    frame plus weight h.
    """

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, frame_indices: Tensor, weight: Tensor, compute: torch.dtype
    ) -> Tensor:
        """Return [segments, steps, hidden] of projected frames [4 hidden, n]."""
        segments, steps = frame_indices.shape
        hidden = weight.shape[1]
        recurrent = weight.to(compute)
        gates = projected.new_empty(steps, 4 * hidden, segments)
        # Entry 0 is the state before the first frame.
        cells = projected.new_zeros(steps + 1, hidden, segments)
        states = projected.new_zeros(steps + 1, hidden, segments)
        for step in range(steps):
            now = gates[step]
            torch.index_select(projected, 1, frame_indices[:, step], out=now)
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
        return states[1:].permute(2, 0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_states: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the projected frames and of the weight, where they are needed."""
        frame_indices, weight, gates, cells, states = ctx.saved_tensors
        grad_gates = _grad_gates(grad_states.permute(1, 2, 0), weight, gates, cells, ctx.compute)
        columns = grad_gates.permute(1, 0, 2).flatten(1)  # [4 hidden, steps x segments]
        grad_projected = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_projected = columns.new_zeros(len(columns), ctx.frames)
            grad_projected.index_add_(1, frame_indices.T.flatten(), columns)
        if ctx.needs_input_grad[2]:
            before = states[:-1].transpose(1, 2).flatten(0, 1)
            grad_weight = _product(columns, before, ctx.compute)
        return grad_projected, None, grad_weight, None


def _grad_gates(
    grad_states: Tensor, weight: Tensor, gates: Tensor, cells: Tensor, compute: torch.dtype
) -> Tensor:
    """Return the gradients before the gates' activations, [steps, 4 hidden, segments]."""
    steps = len(gates)
    recurrent = _transposed(weight, compute)
    grad_gates = torch.empty_like(gates)
    grad_cell = torch.zeros_like(cells[0])
    for step in reversed(range(steps)):
        i, f, g, o = gates[step].chunk(4)
        grad_state = grad_states[step]
        if step + 1 < steps:
            grad_state = grad_state + recurrent @ grad_gates[step + 1].to(compute)
        squashed = cells[step + 1].tanh()
        grad_cell += grad_state * o * (1 - squashed.square())
        grad_i, grad_f, grad_g, grad_o = grad_gates[step].chunk(4)
        torch.mul(grad_cell * g, i * (1 - i), out=grad_i)
        torch.mul(grad_cell * cells[step], f * (1 - f), out=grad_f)
        torch.mul(grad_cell * i, 1 - g.square(), out=grad_g)
        torch.mul(grad_state * squashed, o * (1 - o), out=grad_o)
        grad_cell *= f
    return grad_gates


def _product(left: Tensor, right: Tensor, compute: torch.dtype) -> Tensor:
    """Return left @ right [rows, columns] in the type of `left`, computed in another.

    Narrow copies are made of some rows at a time, so that they stay in the cache.
    """
    right = right.to(compute)
    if left.dtype == compute:
        return left @ right
    product = left.new_empty(len(left), right.shape[1])
    for rows, out in zip(left.split(_ROWS), product.split(_ROWS), strict=True):
        out.copy_(rows.to(compute) @ right)
    return product


def _transposed(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the transpose, laid out anew by blocks that stay in the cache: a third of the time."""
    turned = weight.new_empty(weight.shape[1], weight.shape[0], dtype=dtype)
    for rows, columns in zip(
        weight.split(_ROWS_IN_CACHE), turned.split(_ROWS_IN_CACHE, dim=1), strict=True
    ):
        columns.copy_(rows.to(dtype).T)
    return turned
