from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from media_files import GRID, needs_grid

from pipelines.decode import ClipReader
from pipelines.errors import UsageError
from pipelines.vad import VadConfig, VoiceRegion, detect_voice, speech_ratios

RATE = 16000
Samples = npt.NDArray[np.float32]


def tone(frequency: float, seconds: float, level: float = 0.3) -> npt.NDArray[np.float64]:
    return level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)


def noise(seconds: float, level: float, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=round(seconds * RATE)) * level


def burst_in_noise(start_s: float, end_s: float, seconds: float = 3.0) -> Samples:
    samples = noise(seconds, 0.002)
    samples[round(start_s * RATE) : round(end_s * RATE)] += tone(500, end_s - start_s)
    return samples.astype(np.float32)


def test_the_ratio_is_that_of_equation_1_worked_out_by_hand() -> None:
    samples = (tone(1000, 0.02, 0.3) + tone(6000, 0.02, 0.4)).astype(np.float32)
    ratios, powers = speech_ratios(samples, RATE, VadConfig())
    # Amplitudes 0.3 within and 0.4 without the band: 0.09 / (0.09 + 0.16).
    assert ratios == pytest.approx([0.36], abs=1e-3)
    assert powers == pytest.approx([0.045], abs=1e-3)


def test_the_ratio_equals_a_discrete_fourier_transform_written_out() -> None:
    samples = noise(0.05, 0.1).astype(np.float32)
    ratios, _ = speech_ratios(samples, RATE, VadConfig())
    n = np.arange(320)
    window = 0.5 * (1 - np.cos(2 * np.pi * n / 320))
    centred = samples.astype(np.float64) - samples.astype(np.float64).mean()
    assert ratios.shape == (4,)
    for index, ratio in enumerate(ratios):
        piece = centred[index * 160 : index * 160 + 320] * window
        power = np.array(
            [abs(np.sum(piece * np.exp(-2j * np.pi * k * n / 320))) ** 2 for k in range(161)]
        )
        frequency = np.arange(161) * 50
        expected = power[(frequency >= 80) & (frequency <= 4000)].sum() / power.sum()
        assert ratio == pytest.approx(expected, rel=1e-9)


def test_a_burst_is_found_with_its_margins() -> None:
    region = detect_voice(burst_in_noise(1.0, 2.0), RATE, VadConfig())
    assert region.found
    assert region.start_s == pytest.approx(0.8, abs=0.03)
    assert region.end_s == pytest.approx(2.2, abs=0.03)


def test_the_margins_are_delta_1_before_and_delta_2_after() -> None:
    samples = burst_in_noise(1.0, 2.0)
    bare = detect_voice(samples, RATE, VadConfig(before_s=0, after_s=0))
    wide = detect_voice(samples, RATE, VadConfig(before_s=0.5, after_s=0.1))
    assert wide.start_s == pytest.approx(bare.start_s - 0.5)
    assert wide.end_s == pytest.approx(bare.end_s + 0.1)


def test_the_region_never_leaves_the_clip() -> None:
    region = detect_voice(burst_in_noise(0.1, 2.9), RATE, VadConfig())
    assert region == VoiceRegion(0.0, 3.0, found=True)


def test_pauses_between_first_and_last_voice_are_kept() -> None:
    samples = burst_in_noise(0.5, 0.9) + burst_in_noise(2.0, 2.4)
    region = detect_voice(samples, RATE, VadConfig())
    assert region.start_s == pytest.approx(0.3, abs=0.03)
    assert region.end_s == pytest.approx(2.6, abs=0.03)


def test_a_click_is_smoothed_away() -> None:
    samples = burst_in_noise(1.0, 2.0)
    samples[8000:8800] += tone(500, 0.05).astype(np.float32)
    assert detect_voice(samples, RATE, VadConfig()).start_s == pytest.approx(0.8, abs=0.03)
    unsmoothed = detect_voice(samples, RATE, VadConfig(smoothing_s=0))
    assert unsmoothed.start_s == pytest.approx(0.3, abs=0.03)


def test_the_ratio_ignores_level_so_that_the_floor_is_needed() -> None:
    hiss = burst_in_noise(1.0, 2.0)
    without = detect_voice(hiss, RATE, VadConfig(floor_db=0, range_db=100))
    assert without.end_s - without.start_s > 2.5
    with_floor = detect_voice(hiss, RATE, VadConfig())
    assert with_floor.end_s - with_floor.start_s < 1.5


def test_the_ratio_keeps_loud_sound_outside_the_speech_band_out() -> None:
    samples = burst_in_noise(1.0, 2.0)
    samples[: RATE // 2] += tone(6500, 0.5).astype(np.float32)
    assert detect_voice(samples, RATE, VadConfig()).start_s == pytest.approx(0.8, abs=0.03)


def test_digital_silence_around_a_clip_does_not_lower_its_floor() -> None:
    samples = burst_in_noise(1.0, 2.0)
    padded = np.concatenate([np.zeros(RATE, np.float32), samples, np.zeros(RATE, np.float32)])
    alone = detect_voice(samples, RATE, VadConfig())
    region = detect_voice(padded, RATE, VadConfig())
    assert region.start_s == pytest.approx(alone.start_s + 1, abs=0.03)
    assert region.end_s == pytest.approx(alone.end_s + 1, abs=0.03)


def test_what_a_gate_lets_through_stands_out_from_digital_silence() -> None:
    samples = np.zeros(3 * RATE, np.float32)
    samples[RATE : 2 * RATE] = tone(500, 1.0)  # steady: it has no quiet windows of its own
    region = detect_voice(samples, RATE, VadConfig())
    assert region.found
    assert region.start_s == pytest.approx(0.8, abs=0.03)
    assert region.end_s == pytest.approx(2.2, abs=0.03)


def test_a_syllable_that_dies_away_is_followed_below_the_floor() -> None:
    samples = burst_in_noise(1.0, 1.6)
    # With half of the noise's power of 4e-6 in the band it comes to 5 dB above the quiet windows.
    samples[round(1.6 * RATE) : 2 * RATE] += tone(500, 0.4, level=0.003).astype(np.float32)
    followed = detect_voice(samples, RATE, VadConfig(after_s=0, range_db=100))
    cut = detect_voice(samples, RATE, VadConfig(after_s=0, range_db=100, edge_reach_s=0))
    assert followed.end_s == pytest.approx(2.0, abs=0.05)
    assert cut.end_s < 1.8


def test_what_lies_far_below_the_voice_is_no_voice() -> None:
    samples = burst_in_noise(1.0, 2.0)
    samples[: RATE // 2] += tone(500, 0.5, level=0.0045).astype(np.float32)  # 36 dB below
    assert detect_voice(samples, RATE, VadConfig()).start_s == pytest.approx(0.8, abs=0.03)
    assert detect_voice(samples, RATE, VadConfig(range_db=45)).start_s < 0.05


def test_a_constant_offset_changes_nothing() -> None:
    samples = burst_in_noise(1.0, 2.0)
    expected = detect_voice(samples, RATE, VadConfig())
    assert detect_voice(samples + np.float32(0.4), RATE, VadConfig()) == expected


def test_a_clipped_recording_still_has_its_voice() -> None:
    clipped = np.clip(burst_in_noise(1.0, 2.0) * 20, -1, 1)
    region = detect_voice(clipped, RATE, VadConfig())
    assert region.found
    assert region.start_s == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(RATE),
        np.full(RATE, 0.5),
        noise(2, 0.1),
        np.zeros(10),
        np.zeros(0),
        np.where(np.arange(RATE) % 2, 1.0, -1.0),
    ],
    ids=["silence", "offset", "noise", "ten samples", "nothing", "highest frequency"],
)
def test_without_voice_the_whole_clip_is_used_and_it_is_said(
    samples: npt.NDArray[np.float64],
) -> None:
    region = detect_voice(samples.astype(np.float32), RATE, VadConfig())
    assert region == VoiceRegion(0.0, samples.size / RATE, found=False)


def test_switched_off_the_whole_clip_is_used() -> None:
    region = detect_voice(burst_in_noise(1.0, 2.0), RATE, VadConfig(enabled=False))
    assert region == VoiceRegion(0.0, 3.0, found=False)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("window_s", 0.0),
        ("hop_s", 0.03),
        ("band_low_hz", 5000.0),
        ("ratio_threshold", 1.0),
        ("floor_percentile", 101.0),
        ("smoothing_s", -0.1),
        ("before_s", -0.2),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(key: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"vad\.{key} \({value}\)"):
        replace(VadConfig(), **{key: value})  # type: ignore[arg-type]


@needs_grid
def test_voice_is_found_in_every_real_clip_and_stands_out_from_what_is_cut() -> None:
    clips = sorted(GRID.glob("*.mpg"))
    assert len(clips) == 11
    for path in clips:
        reader = ClipReader(path)
        samples, rate = reader.audio(RATE)
        reader.close()
        region = detect_voice(samples, rate, VadConfig())
        assert region.found, path.name
        # GRID sentences take 1 to 2.3 s and start after at least a quarter of a second.
        assert 1.4 < region.end_s - region.start_s < 2.7, path.name
        assert region.start_s > 0.2, path.name
        # Looked at in other windows than the code's: voice is mostly in the speech band, what
        # comes before it is rumble and breath.
        pieces = samples[: samples.size // 640 * 640].reshape(-1, 640) * np.hanning(640)
        power = np.abs(np.fft.rfft(pieces)) ** 2
        in_band = power[:, 4:160].sum(axis=1) / power.sum(axis=1)
        first, last = round((region.start_s + 0.2) / 0.04), round((region.end_s - 0.2) / 0.04)
        assert np.median(in_band[first:last]) > 0.5, path.name
        assert np.median(in_band[:first]) < 0.2, path.name
