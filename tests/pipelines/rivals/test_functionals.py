"""Functionals of the voice, worked by hand."""

from __future__ import annotations

import numpy as np
import torch

from pipelines.inputs import ClipTensors
from pipelines.rivals.functionals import (
    CONTOURS,
    NAMES,
    SIZE,
    contour_functionals,
    voice_functionals,
)


def clip_of(
    images: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    prosody: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    numbers: tuple[int, ...] = (),
) -> ClipTensors:
    return ClipTensors(
        clip_id="a",
        frames=torch.empty(0),
        audio=torch.from_numpy(images.astype(np.float16)),
        frame_indices=torch.zeros(len(images), 20, dtype=torch.int64),
        prosody=torch.from_numpy(prosody.astype(np.float16)),
        numbers=numbers,
    )


def test_functionals_of_a_contour() -> None:
    found = dict(
        zip(NAMES, contour_functionals(np.arange(5), np.array([1.0, 3, 2, 4, 5])), strict=True)
    )
    assert found == {
        "mean": 3.0, "sd": np.sqrt(2.0), "min": 1.0, "max": 5.0, "range": 4.0,
        "q1": 2.0, "median": 3.0, "q3": 4.0, "slope": 0.9,
    }  # fmt: skip
    # A gap in time counts as time: 10 higher in 5 frames.
    assert contour_functionals(np.array([0, 5]), np.array([0.0, 10.0]))[-1] == 2.0
    assert not contour_functionals(np.arange(1), np.array([7.0])).any()


def test_each_frame_of_a_clip_counts_once_and_contours_have_their_places() -> None:
    """Two segments of four frames, two apart: six frames in all; t + 10k in contour k."""
    time = np.stack([np.arange(4), np.arange(4) + 2])
    images = np.zeros((2, 3, 15, 4))
    for channel in range(2):
        for coefficient in range(13):
            images[:, channel, coefficient] = time + 10 * (13 * channel + coefficient)
    images[:, :, 13:] = images[:, 2] = 999.0  # of no contour
    prosody = np.stack([np.where(time % 2, 100.0 + time, 0.0), -time], axis=1)
    found = voice_functionals(clip_of(images, prosody), 2)
    assert found.shape == (SIZE,) == (253,)
    by_contour = found[:-1].reshape(len(CONTOURS), len(NAMES))
    for k in range(26):
        assert (
            by_contour[k].tolist()
            == contour_functionals(np.arange(6), np.arange(6.0) + 10.0 * k).tolist()
        ), CONTOURS[k]
    energy, pitch = by_contour[26:]
    assert energy.tolist() == contour_functionals(np.arange(6), np.arange(0.0, -6.0, -1.0)).tolist()
    # Voiced are frames 1, 3 and 5.
    voiced = np.array([1, 3, 5])
    assert pitch.tolist() == contour_functionals(voiced, np.array([101.0, 103.0, 105.0])).tolist()
    assert found[-1] == 0.5


def test_a_clip_of_which_some_segments_are_seen_keeps_their_times() -> None:
    images, prosody = np.zeros((2, 3, 13, 4)), np.zeros((2, 2, 4))
    images[1, 0, 0] = 3.0
    found = voice_functionals(clip_of(images, prosody, numbers=(0, 9)), 2)
    times = np.array([0, 1, 2, 3, 18, 19, 20, 21])
    values = np.array([0.0] * 4 + [3.0] * 4)
    assert found[:9].tolist() == contour_functionals(times, values).tolist()
    assert found[-1] == 0.0
    assert not found[-10:].any()  # no pitch
