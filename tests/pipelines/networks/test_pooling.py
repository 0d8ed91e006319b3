"""Images change size by averages that can be worked out by hand."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from random_images import random_images

from pipelines.networks.pooling import average_by_matrices, resize_audio, shrink_crops


def area_means(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.float64]:
    """Means over the whole pixels that each of side x side cells touches."""
    size = image.shape[-1]
    edges = [(i * size // side, -(-(i + 1) * size // side)) for i in range(side)]
    return np.array(
        [
            [[plane[a:b, c:d].astype(np.float64).mean() for c, d in edges] for a, b in edges]
            for plane in image
        ]
    )


def test_shrinking_by_two_averages_each_square_of_four() -> None:
    crop = torch.tensor([[[[0, 4, 10, 10], [8, 12, 11, 12], [255, 255, 1, 1], [255, 255, 2, 1]]]])
    shrunk = shrink_crops(crop.expand(1, 3, 4, 4).to(torch.uint8), 2)
    # (0+4+8+12)/4 = 6; (10+10+11+12)/4 = 10.75; 255; 5/4 = 1.25.
    assert shrunk.tolist() == [[[[6, 11], [255, 1]]] * 3]
    assert shrunk.dtype == torch.uint8


def test_shrinking_a_stored_crop_averages_areas() -> None:
    crops = random_images(1, 227)
    truth = area_means(crops[0].numpy(), 48)
    shrunk = shrink_crops(crops, 48)[0].numpy()
    assert shrunk.shape == (3, 48, 48)
    assert np.abs(shrunk - truth).max() <= 0.5 + 1e-3


def test_crops_of_the_right_size_and_trunks_that_take_them_as_stored_leave_them_alone() -> None:
    crops = random_images(1, 48)
    assert shrink_crops(crops, 48) is crops
    assert shrink_crops(crops, None) is crops


@pytest.mark.parametrize(("size", "side"), [(2, 7), (4, 3), (8, 7), (7, 7), (14, 7), (5, 3)])
def test_averaging_by_matrices_equals_torchs_adaptive_pooling(size: int, side: int) -> None:
    maps = torch.randn(2, 3, size, size + 1, dtype=torch.float64)
    expected = torch.nn.AdaptiveAvgPool2d(side)(maps)
    torch.testing.assert_close(average_by_matrices(maps, side), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("side", [96, 224])
def test_audio_images_grow_as_opencv_makes_them_grow(side: int, dtype: torch.dtype) -> None:
    images = random_images(2, 64)
    grown = resize_audio(images.to(dtype), side)
    assert grown.shape == (2, 3, side, side)
    assert grown.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
    for ours, image in zip(grown, images, strict=True):
        pixels = image.permute(1, 2, 0).double().numpy()
        truth = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(ours.permute(1, 2, 0).numpy(), truth, rtol=0, atol=2e-3)


def test_an_audio_image_twice_as_large_is_worked_out_by_hand() -> None:
    image = torch.tensor([[0, 40], [80, 200]], dtype=torch.uint8).expand(1, 3, 2, 2)
    # A pixel's centre lies a quarter of a pixel from that of the one it came from.
    assert resize_audio(image, 4)[0, 0].tolist() == [
        [0.0, 10.0, 30.0, 40.0],
        [20.0, 35.0, 65.0, 80.0],
        [60.0, 85.0, 135.0, 160.0],
        [80.0, 110.0, 170.0, 200.0],
    ]


def test_audio_images_of_any_shape_become_square_and_as_they_are_stay_so() -> None:
    images = random_images(1, 64)
    assert resize_audio(images[:, :, :40], 96).shape == (1, 3, 96, 96)
    assert resize_audio(images, 0) is images
    assert resize_audio(images, 64) is images
