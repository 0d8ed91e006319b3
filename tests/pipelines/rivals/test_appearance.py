"""Histograms of gradients and of local binary patterns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.rivals.appearance import (
    gradient_histograms,
    grey_faces,
    over_frames,
    pattern_codes,
    pattern_histograms,
)


def test_the_pattern_of_a_pixel_worked_by_hand() -> None:
    """Bits from the right, against the clock: right, up right, up, ... down right.

    Diagonal neighbours lie at 0.70711 in both directions: 0.5 of the corner, 0.20711 of either
    side, 0.08579 of the middle.
    """
    image = np.array([[[9, 1, 1], [1, 5, 9], [1, 1, 9]]], np.uint8)
    # right 9; up right .5*1 + .20711*(1 + 9) + .08579*5 = 3.0; up 1; up left .5*9 + .20711*2 +
    # .08579*5 = 5.34; left 1; down left .5 + .41 + .43 = 1.3; down 1;
    # down right .5*9 + .20711*(1 + 9) + .43 = 7.0
    assert pattern_codes(image)[0, 1, 1] == 1 + 8 + 128
    # An up right corner of 13 comes to 9.0 and sets the second bit.
    image[0, 0, 2] = 13
    assert pattern_codes(image)[0, 1, 1] == 1 + 2 + 8 + 128


def test_equal_neighbours_set_all_bits_and_what_is_outside_is_black() -> None:
    codes = pattern_codes(np.full((1, 4, 4), 7, np.uint8))[0]
    assert (codes[1:-1, 1:-1] == 255).all()
    # To the left of the first column and above the first row there is nothing.
    assert codes[0, 0] == 0b11000001  # down right, down, and right
    assert (pattern_codes(np.zeros((1, 4, 4), np.uint8)) == 255).all()


def test_each_cell_counts_its_own_pixels_in_59_bins() -> None:
    faces = np.zeros((2, 64, 64), np.uint8)
    faces[1, :, 32:] = np.random.default_rng(0).integers(0, 256, (64, 32))
    found = pattern_histograms(faces)
    assert found.shape == (2, 16 * 59)
    by_cell = found.reshape(2, 4, 4, 59)
    np.testing.assert_allclose(by_cell.sum(axis=-1), 1.0)
    # Uniform patterns are numbered by code: all bits set is the last of the 58.
    assert (by_cell[0, :, :, 57] == 1.0).all()
    np.testing.assert_array_equal(by_cell[1, :, 0], by_cell[0, :, 0])
    assert (by_cell[1, :, 3, 57] < 0.5).all()
    # 198 of 256 codes are not uniform: noise has many of them.
    assert (by_cell[1, :, 3, 58] > 0.2).all()


def test_gradients_point_where_they_point() -> None:
    upright = np.tile((np.arange(64) // 4 % 2 * 200).astype(np.uint8), (64, 1))
    found = gradient_histograms(np.stack([upright, upright.T]))
    assert found.shape == (2, 1764)
    by_orientation = found.reshape(2, -1, 9).sum(axis=1)
    # Bins of 20 degrees; a gradient of exactly 0 falls into the first and the last alike.
    assert by_orientation[0, [0, 8]].sum() > 0.99 * by_orientation[0].sum()
    assert by_orientation[1, [4]].sum() > 0.99 * by_orientation[1].sum()


def test_grey_is_the_weighted_mean_of_the_colours() -> None:
    frames = torch.zeros(3, 3, 64, 64, dtype=torch.uint8)
    for channel in range(3):
        frames[channel, channel] = 200
    assert grey_faces(frames)[:, 5, 5].tolist() == pytest.approx([59.8, 117.4, 22.8], abs=0.51)


def test_frames_come_down_to_mean_and_deviation() -> None:
    assert over_frames(np.array([[1.0, 4.0], [3.0, 4.0]])).tolist() == [2.0, 4.0, 1.0, 0.0]
