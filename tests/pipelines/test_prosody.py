"""Pitch and energy against tones and levels that are known, on the frames of the audio images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.signal import sawtooth

from pipelines.mfcc import MfccConfig, audio_images, static_coefficients
from pipelines.prosody import energy_db, pitch_hz, prosody

RATE = 16000
CONFIG = MfccConfig()
TIME_S = np.arange(2 * RATE) / RATE


def harmonic(hz: float) -> npt.NDArray[np.float32]:
    return np.asarray(0.3 * sawtooth(2 * np.pi * hz * TIME_S), dtype=np.float32)


@pytest.mark.parametrize("hz", [75.0, 110.0, 220.0, 440.0])
@pytest.mark.parametrize("form", ["sine", "sawtooth"])
def test_the_pitch_of_a_tone_is_its_frequency(hz: float, form: str) -> None:
    sine = (0.3 * np.sin(2 * np.pi * hz * TIME_S)).astype(np.float32)
    found = pitch_hz(sine if form == "sine" else harmonic(hz), CONFIG)
    np.testing.assert_allclose(found[4:-4], hz, rtol=0.02)


def test_a_rising_tone_is_followed_at_the_middle_of_each_window() -> None:
    hz = 100.0 + 50.0 * TIME_S
    samples = (0.3 * sawtooth(2 * np.pi * np.cumsum(hz) / RATE)).astype(np.float32)
    middles_s = np.arange(len(pitch_hz(samples, CONFIG))) * 0.010 + 0.0125
    np.testing.assert_allclose(
        pitch_hz(samples, CONFIG)[4:-4], (100.0 + 50.0 * middles_s)[4:-4], rtol=0.02
    )


@pytest.mark.parametrize("level", [0.0, 1e-5, 0.1])
def test_noise_and_silence_have_no_pitch(level: float) -> None:
    noise = np.random.default_rng(0).normal(0, level, 2 * RATE).astype(np.float32)
    pitch = prosody(noise, CONFIG).pitch_hz
    assert (pitch == 0).mean() > 0.98
    # What is too quiet to be a voice is none, however regular.
    assert not prosody(harmonic(110.0) * np.float32(1e-3), CONFIG).pitch_hz.any()


def test_the_energy_of_a_known_level() -> None:
    sine = np.sin(2 * np.pi * 400 * TIME_S).astype(np.float32)  # whole periods in each window
    np.testing.assert_allclose(energy_db(sine, CONFIG), 10 * np.log10(0.5), atol=0.01)
    np.testing.assert_allclose(energy_db(sine * 0.1, CONFIG), 10 * np.log10(0.005), atol=0.01)
    np.testing.assert_allclose(energy_db(np.zeros_like(sine), CONFIG), -100.0)


def test_energy_and_pitch_are_of_the_frames_of_the_audio_images() -> None:
    samples = np.zeros(2 * RATE, np.float32)
    samples[RATE : RATE + 400] = harmonic(200.0)[:400]  # the window of frame 100, and no other
    energy = energy_db(samples, CONFIG)
    assert (
        len(energy)
        == len(pitch_hz(samples, CONFIG))
        == static_coefficients(samples, CONFIG).shape[1]
    )
    assert energy.argmax() == 100
    _, images = audio_images(samples, CONFIG)
    cut = prosody(samples, CONFIG)
    assert cut.pitch_hz.shape == cut.energy_db.shape == (len(images), 64)
    assert cut.pitch_hz.dtype == cut.energy_db.dtype == np.float16
    for number in range(len(images)):
        expected = energy[30 * number : 30 * number + 64].astype(np.float16)
        np.testing.assert_array_equal(cut.energy_db[number], expected)


def test_a_region_shorter_than_a_segment_repeats_its_last_frame() -> None:
    cut = prosody(harmonic(110.0)[:4000], CONFIG)
    assert cut.energy_db.shape == (1, 64)
    last = (4000 - 400) // 160
    assert (cut.energy_db[0, last:] == cut.energy_db[0, last]).all()
    assert prosody(harmonic(110.0)[:100], CONFIG).pitch_hz.shape == (1, 64)
