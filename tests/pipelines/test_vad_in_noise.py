"""The voice in noise, against where it was put: median errors over 120 voices and three noises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import soxr
from media_files import GRID, needs_grid

from pipelines.corpora.synthetic import SyntheticConfig, clips, role_of
from pipelines.decode import ClipReader
from pipelines.synthesis.performance import perform
from pipelines.vad import VadConfig, detect_voice

RATE = 16000
BARE = VadConfig(before_s=0.0, after_s=0.0)
CORPUS = SyntheticConfig(root="unused", subjects=10, takes=2)
Sound = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Voice:
    """A voice alone, with its truth in seconds."""

    samples: Sound
    start_s: float
    end_s: float
    pauses: tuple[tuple[float, float], ...]

    def in_noise(self, noise: Sound, snr_db: float) -> npt.NDArray[np.float32]:
        """Its power over its own span stands `snr_db` above that of the noise over the clip."""
        span = self.samples[round(self.start_s * RATE) : round(self.end_s * RATE)]
        gain = np.sqrt(np.mean(span**2) / np.mean(noise**2) / 10 ** (snr_db / 10))
        return np.asarray(self.samples + gain * noise, np.float32)


@pytest.fixture(scope="module")
def voices() -> list[Voice]:
    made = [perform(role_of(CORPUS, clip)) for clip in clips(CORPUS)]
    return [
        Voice(
            performance.voice().astype(np.float64),
            performance.timing.voice_start_s,
            performance.timing.voice_end_s,
            performance.speech.pauses,
        )
        for performance in made
    ]


def white(samples: int, seed: int) -> Sound:
    return np.random.default_rng(seed).normal(size=samples)


def pink(samples: int, seed: int) -> Sound:
    """Power falls by 3 dB an octave: Kellet's filter of white noise, as differences."""
    drive = white(samples + 4000, seed)
    total = 0.1848 * drive
    for pole, gain in ((0.99765, 0.0990460), (0.963, 0.2965164), (0.57, 1.0526913)):
        response = gain * pole ** np.arange(4000)
        total += np.fft.irfft(
            np.fft.rfft(drive, 2 * drive.size) * np.fft.rfft(response, 2 * drive.size)
        )[: drive.size]
    return total[4000:]


def hum(samples: int, seed: int) -> Sound:
    draw = np.random.default_rng(seed)
    phase = 2 * np.pi * draw.choice([50, 60]) * np.arange(samples) / RATE
    tones = [draw.uniform(0.2, 1) * np.sin(k * phase + draw.uniform(0, 6)) / k for k in range(1, 8)]
    return np.asarray(np.sum(tones, axis=0)) + 0.01 * draw.normal(size=samples)


NOISES = {"white": white, "pink": pink, "hum": hum}


@pytest.mark.parametrize(("snr_db", "most_s"), [(20, 0.060), (5, 0.150)])
@pytest.mark.parametrize("colour", ["white", "pink"])
def test_start_and_end_are_near_the_truth(
    voices: list[Voice], colour: str, snr_db: float, most_s: float
) -> None:
    regions = [
        detect_voice(voice.in_noise(NOISES[colour](voice.samples.size, i), snr_db), RATE, BARE)
        for i, voice in enumerate(voices)
    ]
    assert len(regions) >= 100
    assert all(region.found for region in regions)
    pairs = list(zip(regions, voices, strict=True))
    assert np.median([abs(region.start_s - voice.start_s) for region, voice in pairs]) <= most_s
    assert np.median([abs(region.end_s - voice.end_s) for region, voice in pairs]) <= most_s


@pytest.mark.parametrize("colour", ["white", "pink"])
def test_natural_pauses_are_kept(voices: list[Voice], colour: str) -> None:
    spanned = []
    for i, voice in enumerate(voices):
        noise = NOISES[colour](voice.samples.size, i)
        region = detect_voice(voice.in_noise(noise, 20), RATE, BARE)
        spanned += [region.start_s < start and end < region.end_s for start, end in voice.pauses]
    assert len(spanned) > 120
    assert all(spanned)


def test_voice_from_end_to_end_is_found_and_little_of_it_lost(voices: list[Voice]) -> None:
    lost_s = []
    for i, voice in enumerate(voices):
        samples = voice.in_noise(white(voice.samples.size, i), 20)
        spoken = samples[round(voice.start_s * RATE) : round(voice.end_s * RATE)]
        region = detect_voice(spoken, RATE, VadConfig())
        assert region.found
        lost_s.append(spoken.size / RATE - (region.end_s - region.start_s))
    assert max(lost_s) < 0.1


@pytest.mark.parametrize("colour", sorted(NOISES))
@pytest.mark.parametrize("level", [4.4e-5, 1e-2, 0.3])
def test_noise_alone_is_no_voice(colour: str, level: float) -> None:
    for seed in range(20):
        noise = NOISES[colour](round(RATE * (0.7 + 0.3 * seed)), seed)
        noise *= level / np.sqrt(np.mean(noise**2))
        assert not detect_voice(noise.astype(np.float32), RATE, VadConfig()).found, seed


# What a listener and a spectrogram say, breath before the sentence left out; to about 0.05 s.
SPOKEN_S = {
    "bbaf2n": (0.97, 2.08),
    "brbk7n": (0.52, 2.00),
    "id2_vcd_swwp2s": (0.53, 2.25),
    "lbax4n": (0.46, 2.03),
    "lbbc2a": (0.50, 2.00),
    "lrwp9a": (0.60, 2.28),
    "lwbsza": (0.66, 2.30),
    "pwij3p": (0.50, 2.18),
    "sbia1a": (0.48, 2.30),
    "sbwe5n": (0.43, 2.00),
    "swiz3n": (0.60, 2.80),
}


def real_voices() -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    for name in SPOKEN_S:
        reader = ClipReader(GRID / f"{name}.mpg")
        samples, _ = reader.audio(RATE)
        reader.close()
        yield name, samples


def worst_error_s(samples: npt.NDArray[np.floating], rate: int, name: str) -> float:
    region = detect_voice(samples.astype(np.float32), rate, BARE)
    assert region.found, name
    start_s, end_s = SPOKEN_S[name]
    return max(abs(region.start_s - start_s), abs(region.end_s - end_s))


@needs_grid
def test_real_voices_are_found_where_they_are_at_any_rate_level_and_offset() -> None:
    for name, samples in real_voices():
        assert worst_error_s(samples, RATE, name) < 0.15
        assert worst_error_s(samples + 0.3, RATE, name) < 0.15
        assert worst_error_s(samples * 0.05, RATE, name) < 0.15
        assert worst_error_s(soxr.resample(samples, RATE, 8000), 8000, name) < 0.15
        assert worst_error_s(soxr.resample(samples, RATE, 48000), 48000, name) < 0.15


@needs_grid
def test_a_loud_click_or_knock_at_the_start_is_no_voice() -> None:
    time_s = np.arange(1600) / RATE
    knock = 0.9 * np.exp(-40 * time_s) * np.sin(2 * np.pi * 150 * time_s)
    click = np.where(np.arange(100) < 50, 0.9, -0.9)
    for name, samples in real_voices():
        for sound in (knock, click):
            disturbed = samples.copy()
            disturbed[: sound.size] += sound
            assert worst_error_s(disturbed, RATE, name) < 0.15


@needs_grid
@pytest.mark.parametrize("colour", ["white", "pink"])
def test_real_voices_in_noise_lose_little(colour: str) -> None:
    for snr_db, most_s in ((20, 0.15), (5, 0.3)):
        for seed, (name, samples) in enumerate(real_voices()):
            start_s, end_s = SPOKEN_S[name]
            voice = Voice(samples.astype(np.float64), start_s, end_s, ())
            disturbed = voice.in_noise(NOISES[colour](samples.size, seed), snr_db)
            assert worst_error_s(disturbed, RATE, name) < most_s, (name, snr_db)
