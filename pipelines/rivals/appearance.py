"""What faces look like, without a network: histograms of gradients and of local binary patterns."""

from __future__ import annotations

from functools import cache
from math import floor

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from pipelines.rivals.config import FACE_SIZE
from pipelines.rivals.examples import Matrix

POINTS = 8
"""Neighbours of a pixel, at distance 1."""
PATTERNS = POINTS * (POINTS - 1) + 3
"""Bins: each uniform pattern, with at most two changes around the circle, and all others as one."""
CELL = 16
"""Side of the cells that patterns are counted in, in pixels."""


def over_frames(descriptors: Matrix) -> Matrix:
    """Return mean and standard deviation of descriptors [n, d] over a clip's frames: [2d]."""
    return np.concatenate([descriptors.mean(axis=0), descriptors.std(axis=0)])


def grey_faces(frames: Tensor) -> npt.NDArray[np.uint8]:
    """Return RGB crops uint8 [n, 3, 64, 64] in grey, [n, 64, 64]."""
    colour = frames.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return np.stack([cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in colour])


def gradient_histograms(faces: npt.NDArray[np.uint8]) -> Matrix:
    """Return histograms of oriented gradients of grey faces [n, 64, 64]: [n, 1764].

    Dalal and Triggs 2005, by OpenCV: 9 orientations in cells of 8x8 pixels, normalised over blocks
    of 2x2 cells, one cell apart.
    """
    cv2.setNumThreads(1)
    side = (FACE_SIZE, FACE_SIZE)
    describe = cv2.HOGDescriptor(side, (16, 16), (8, 8), (8, 8), 9)
    each = [np.asarray(describe.compute(face), dtype=np.float64) for face in faces]
    return np.stack([descriptor.reshape(-1) for descriptor in each])


def pattern_histograms(faces: npt.NDArray[np.uint8]) -> Matrix:
    """Return shares of uniform local binary patterns of grey faces [n, 64, 64]: [n, 944].

    Ojala et al. 2002, Ahonen et al. 2006: in each of 4x4 cells, what share of the pixels has which
    of 59 patterns.
    """
    labels = _bins()[pattern_codes(faces)]
    count, side = len(faces), FACE_SIZE // CELL
    cells = labels.reshape(count, side, CELL, side, CELL).transpose(0, 1, 3, 2, 4)
    flat = cells.reshape(-1, CELL * CELL)
    offsets = np.arange(len(flat))[:, None] * PATTERNS
    counts = np.bincount((flat + offsets).reshape(-1), minlength=len(flat) * PATTERNS)
    return counts.reshape(count, -1) / CELL**2


def pattern_codes(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the local binary pattern of each pixel of grey images [n, height, width].

    As scikit-image's `local_binary_pattern(image, 8, 1)` defines it: neighbour p lies at
    (-sin, cos) of p/8 of a turn (row, column), is interpolated bilinearly, is 0 outside of the
    image, and gives bit p where it is not below the pixel.
    """
    padded = np.pad(images.astype(np.float64), ((0, 0), (1, 2), (1, 2)))
    height, width = images.shape[1:]
    codes = np.zeros(images.shape, dtype=np.uint8)
    for point in range(POINTS):
        angle = 2 * np.pi * point / POINTS
        row, column = round(-np.sin(angle), 5), round(np.cos(angle), 5)
        top, left = floor(row), floor(column)
        down, right = row - top, column - left
        neighbour = np.zeros(images.shape)
        for y, share_y in ((top, 1 - down), (top + 1, down)):
            for x, share_x in ((left, 1 - right), (left + 1, right)):
                part = padded[:, 1 + y : 1 + y + height, 1 + x : 1 + x + width]
                neighbour += share_y * share_x * part
        # Interpolating among equal pixels must give that pixel: rounding is not a difference.
        codes |= (neighbour >= images - 1e-6).astype(np.uint8) << np.uint8(point)
    return codes


@cache
def _bins() -> npt.NDArray[np.intp]:
    """Return the bin of each of the 256 codes."""
    bits = (np.arange(256)[:, None] >> np.arange(POINTS)) & 1
    uniform = np.abs(bits - np.roll(bits, 1, axis=1)).sum(axis=1) <= 2
    return np.where(uniform, np.cumsum(uniform) - 1, PATTERNS - 1)
