"""Images of noise, the same for the same seed."""

from __future__ import annotations

import torch
from torch import Tensor


def random_images(count: int, side: int, seed: int = 0) -> Tensor:
    """Return uint8 [count, 3, side, side]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
