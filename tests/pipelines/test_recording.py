"""Clipping and a constant offset: seen, said, and mended where that can be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from pipelines.recording import mended, without_voice

RATE = 16000


def voiced(level: float, rate: int = RATE) -> npt.NDArray[np.float32]:
    """Two seconds that swell and fade as syllables do."""
    time_s = np.arange(2 * rate) / rate
    tones = sum(np.sin(2 * np.pi * 150 * k * time_s + k) / k for k in range(1, 20))
    return (level * tones * np.sin(2 * np.pi * 2 * time_s) ** 2).astype(np.float32)


def test_a_sound_recording_is_the_very_same_and_nothing_is_said() -> None:
    samples = voiced(0.3)
    assert mended(samples)[0] is samples
    assert mended(samples)[1] == []
    loud = voiced(0.3) / np.abs(voiced(0.3)).max()  # touches full scale without being clipped
    assert mended(loud)[1] == []


def test_the_share_of_samples_at_full_scale_is_said() -> None:
    samples = np.concatenate([np.full(31, 1.0), np.full(969, 0.1), np.full(1000, -0.1)])
    _, notes = mended(samples.astype(np.float32))
    assert notes[0] == "sound is clipped (1.6 % of samples at full scale)"


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_clipping_is_seen_after_resampling(rate: int) -> None:
    clipped = np.clip(voiced(2.0, rate), -1, 1)
    share = np.mean(np.abs(clipped) == 1)
    _, notes = mended(soxr.resample(clipped, rate, RATE))
    assert len(notes) == 1
    told = float(notes[0].partition("(")[2].partition(" ")[0]) / 100
    assert 0.6 * share < told < 1.1 * share


def test_a_constant_offset_is_said_and_taken_away() -> None:
    samples = voiced(0.2)
    fixed, notes = mended(samples + np.float32(0.21))
    assert notes == ["sound has a constant offset of 0.21 of full scale: taken away"]
    np.testing.assert_allclose(fixed, samples - samples.mean(), atol=1e-6)
    assert mended(samples - np.float32(0.5))[1][0].startswith("sound has a constant offset of -0.5")


def test_both_faults_are_said() -> None:
    _, notes = mended(np.clip(voiced(0.8) + np.float32(0.3), -1, 1))
    assert [note.split()[1:4] for note in notes] == [
        ["is", "clipped", notes[0].split()[3]],
        ["has", "a", "constant"],
    ]


def test_nothing_has_no_fault() -> None:
    assert mended(np.zeros(0, np.float32))[1] == []
    assert mended(np.zeros(100, np.float32))[1] == []


def test_clipping_below_full_scale_is_said_and_a_swelling_voice_is_not_taken_for_it() -> None:
    _, notes = mended(np.clip(voiced(2.0), -0.7, 0.7))
    assert len(notes) == 1
    assert notes[0].endswith("of samples at 70 % of full scale)")
    assert mended(voiced(0.1))[1] == []


def test_what_there_is_instead_of_a_voice_is_said() -> None:
    assert without_voice(np.zeros(100, np.float32)) == "the sound is silence"
    half = np.full(100, 0.5, np.float32)
    assert without_voice(half) == "nothing stands out of sound at -6 dB of full scale"
