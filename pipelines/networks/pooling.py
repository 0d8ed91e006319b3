"""Images and feature maps brought to another size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate


def adaptive_average(maps: Tensor, side: int) -> Tensor:
    """Return feature maps [n, c, h, w] averaged to [n, c, side, side], as AdaptiveAvgPool2d does.

    On a GPU torch's own pooling has no deterministic gradient: there it is two matrix products.
    """
    if maps.shape[-2:] == (side, side):
        return maps
    if not maps.is_cuda:
        return adaptive_avg_pool2d(maps, side)
    return average_by_matrices(maps, side)


def average_by_matrices(maps: Tensor, side: int) -> Tensor:
    """Return the same averages as products with a matrix of shares on either side."""
    rows, columns = (_shares(size, side).to(maps) for size in maps.shape[-2:])
    averaged: Tensor = rows @ maps @ columns.T
    return averaged


def _shares(size: int, side: int) -> Tensor:
    """Return [side, size]: row i is the mean from floor(i size/side) to ceil((i+1) size/side)."""
    shares = torch.zeros(side, size, dtype=torch.float64)
    for index in range(side):
        first, last = index * size // side, -(-(index + 1) * size // side)
        shares[index, first:last] = 1.0 / (last - first)
    return shares


def shrink_crops(crops: Tensor, side: int | None) -> Tensor:
    """Return uint8 crops [n, 3, side, side], averaged over areas; as they are where side is None.

    Done once on reading, not in every pass: the small trunk never needs the stored 227 pixels.
    """
    if side is None or crops.shape[-1] == side:
        return crops
    shrunk = interpolate(crops.float(), size=(side, side), mode="area")
    return shrunk.round_().clamp_(0, 255).to(torch.uint8)


def resize_audio(images: Tensor, side: int) -> Tensor:
    """Return audio images [n, 3, side, side], bilinear, in floating point; as they are where 0.

    Pixels are squares whose centres keep their place, so nothing shifts in time or coefficient.
    Not rounded to 256 steps again, and meant for just before the trunk: 224 pixels a side are
    twelve times the memory of 64.
    """
    if side == 0 or images.shape[-2:] == (side, side):
        return images
    values = images if images.is_floating_point() else images.float()
    return interpolate(values, size=(side, side), mode="bilinear", align_corners=False)
