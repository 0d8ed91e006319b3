"""Audio images by mean and deviation of training clips, against NumPy in double precision."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from pipelines.inputs import ClipTensors
from pipelines.standardise import fit_standardiser


def clip_of(clip_id: str, images: npt.NDArray[np.float64]) -> ClipTensors:
    """A clip with unscaled audio images [segments, 3, rows, frames]."""
    return ClipTensors(
        clip_id=clip_id,
        frames=torch.zeros(1, 3, 2, 2, dtype=torch.uint8),
        audio=torch.from_numpy(images.astype(np.float16)),
        frame_indices=torch.zeros(len(images), 20, dtype=torch.int64),
    )


def clips() -> list[ClipTensors]:
    """Clips of different lengths whose rows differ in place and spread, as MFCC's do."""
    draw = np.random.default_rng(0)
    places = draw.normal(size=(1, 3, 8, 1)) * 200
    spreads = draw.uniform(0.5, 40, size=(1, 3, 8, 1))
    return [
        clip_of(f"clip{n}", places + spreads * draw.normal(size=(n + 1, 3, 8, 10)))
        for n in range(6)
    ]


def unscaled(several: list[ClipTensors]) -> npt.NDArray[np.float64]:
    return np.concatenate([clip.audio.numpy().astype(np.float64) for clip in several])


def test_mean_and_deviation_are_of_each_row_of_each_channel_over_all_segments() -> None:
    several = clips()
    fitted = fit_standardiser(several)
    values = unscaled(several)
    np.testing.assert_allclose(fitted.mean[..., 0], values.mean(axis=(0, 3)), rtol=1e-9)
    np.testing.assert_allclose(fitted.deviation[..., 0], values.std(axis=(0, 3)), rtol=1e-6)
    assert fitted.fitted_on == tuple(f"clip{n}" for n in range(6))


def test_four_deviations_on_either_side_of_the_mean_fill_0_to_255() -> None:
    several = clips()
    fitted = fit_standardiser(several)
    values = unscaled(several)
    standard = (values - values.mean(axis=(0, 3), keepdims=True)) / values.std(
        axis=(0, 3), keepdims=True
    )
    expected = np.clip(127.5 + 127.5 / 4 * standard, 0, 255)
    images = np.concatenate([fitted(clip).audio.numpy() for clip in several])
    assert images.dtype == np.uint8
    assert np.abs(images - expected).max() <= 0.5 + 1e-3


def test_what_lies_beyond_is_cut_off_and_what_never_varied_is_in_the_middle() -> None:
    images = np.zeros((1, 3, 2, 100))
    images[:, :, 0] = np.arange(100) % 2  # mean 0.5, deviation 0.5
    images[:, :, 1] = -743.5
    fitted = fit_standardiser([clip_of("a", images)])
    other = np.full((1, 3, 2, 3), -743.5)
    other[:, :, 0] = [-5.0, 0.5, 5.0]
    scaled = fitted(clip_of("b", other)).audio
    assert scaled[0, 0].tolist() == [[0, 128, 255], [128, 128, 128]]


def test_a_clip_is_left_as_it_was_but_for_its_audio_images() -> None:
    several = clips()
    before = several[1].audio.clone()
    after = fit_standardiser(several)(several[1])
    assert torch.equal(several[1].audio, before)
    assert after.frames is several[1].frames
    assert after.clip_id == "clip1"
