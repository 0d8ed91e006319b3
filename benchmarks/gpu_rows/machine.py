"""Where the measurements run, and how a device that works ahead of the program is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Machine:
    """A GPU, or a CPU that only shows that the measurements run."""

    device: torch.device
    small: bool
    """Sizes that take seconds on a CPU; their ratios mean nothing."""

    @property
    def repeats(self) -> int:
        """Alternations of a comparison."""
        return 1 if self.small else 5

    def settle(self) -> None:
        """Wait until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def settled(self, run: Callable[[], object]) -> Callable[[], None]:
        """Return `run` followed by that wait: its time is that of the work. What it returns is
        dropped, because alternation would compare it to the bit.
        """

        def whole() -> None:
            run()
            self.settle()

        return whole

    def seconds(self, run: Callable[[], object]) -> float:
        """Return how long a call takes on the device."""
        self.settle()
        begun = time.perf_counter()
        self.settled(run)()
        return time.perf_counter() - begun

    def clear(self) -> None:
        """Give back the memory of what no longer exists."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


@contextmanager
def exact_float32() -> Iterator[None]:
    """Keep float32 products in float32: torch lets convolutions and cuDNN's LSTM use TF32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@contextmanager
def deterministic() -> Iterator[None]:
    """Compute as a trial does: the same bits every time."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def relative_difference(one: torch.Tensor, truth: torch.Tensor) -> float:
    """Return the norm of the difference by the norm of the truth."""
    return float((one.double() - truth.double()).norm() / truth.double().norm())
