"""Which number format the large matrix products are computed in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

PRECISIONS = ("auto", "float32", "bfloat16")


def resolve_precision(precision: str, *, on_gpu: bool) -> str:
    """Return `float32` or `bfloat16`; `auto` takes bfloat16 where the hardware computes in it.

    Resolved once, by the process that starts a study, so that all its trials compute alike.
    """
    if precision != "auto":
        return precision
    return "bfloat16" if on_gpu or _this_cpu_computes_in_bfloat16() else "float32"


def _this_cpu_computes_in_bfloat16() -> bool:
    # A CPU without these instructions would emulate them, many times slower than float32.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def compute_type(precision: str) -> torch.dtype | None:
    """Return the type of matrix products; None leaves them in the type of the parameters."""
    return torch.bfloat16 if precision == "bfloat16" else None


def mixed(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return a context in which layers compute in `precision` on float32 master weights."""
    dtype = compute_type(precision)
    if dtype is None:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def at_least_single(values: Tensor) -> Tensor:
    """Return values in float32 or better: half precision is for matrix products alone."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
