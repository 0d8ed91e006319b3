"""A voice by the source-filter model: glottal pulses and noise through moving formants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.synthesis.articulation import HOP, SAMPLE_RATE, articulate
from pipelines.synthesis.emotions import VoiceStyle
from pipelines.synthesis.seeds import Floats, smooth_walk
from pipelines.synthesis.speech import Speech, Timing

WINDOW = 320
SPEECH_RMS = 0.07
"""Level of a voice of loudness 0 dB, of full scale 1."""
TREMOR_HZ, TREMOR_SEMITONES, TREMOR_DB = 7.0, 1.2, 9.0

BANDWIDTHS_HZ = (80.0, 100.0, 150.0, 220.0)
NOISE_BAND_OCTAVES = 0.6


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """What a voice has whatever it says."""

    sex: str
    pitch_hz: float
    formant_scale: float
    """Of a man's formants: shorter vocal tracts have higher ones."""
    brightness_db: float
    """Per octave above 500 Hz."""


def draw_speaker(sex: str, rng: np.random.Generator) -> Speaker:
    """A speaker of a sex (`female` or `male`)."""
    female = sex == "female"
    return Speaker(
        sex=sex,
        pitch_hz=float(rng.uniform(180, 230) if female else rng.uniform(95, 135)),
        formant_scale=float(rng.uniform(1.10, 1.20) if female else rng.uniform(0.94, 1.04)),
        brightness_db=float(rng.normal(0.0, 0.8)),
    )


def speak(
    speaker: Speaker,
    speech: Speech,
    style: VoiceStyle,
    timing: Timing,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """The voice alone [samples], silent outside the speech."""
    score = articulate(speech, style, timing)
    hops = len(score.voiced)
    samples = hops * HOP
    times: Floats = np.arange(hops, dtype=np.float64) * (HOP / SAMPLE_RATE)
    tremor = style.tremor * np.sin(
        2 * np.pi * TREMOR_HZ * times + 0.8 * smooth_walk(rng, times, 0.3, 1.5)
    )
    semitones = score.semitones + TREMOR_SEMITONES * tremor
    semitones += 0.15 * smooth_walk(rng, times, 2.0, 9.0)
    semitones += style.creak * 1.2 * rng.standard_normal(hops)
    pitch = speaker.pitch_hz * 2.0 ** (semitones / 12.0)
    level = score.voiced * 10.0 ** (TREMOR_DB / 20.0 * np.minimum(tremor, 1.0) - 0.2 * style.tremor)

    cycle = np.cumsum(np.repeat(pitch, HOP) / SAMPLE_RATE)
    step = np.repeat(pitch, HOP) / SAMPLE_RATE
    source = _saw(cycle % 1.0, step)
    # Every other period of a creaky voice is weak.
    source *= 1.0 - 0.75 * min(style.creak, 1.0) * (np.floor(cycle) % 2)
    at_samples = np.arange(samples) / HOP
    fine_level = np.interp(at_samples, np.arange(hops), level)
    fine_noise = np.interp(at_samples, np.arange(hops), score.noise)
    white = rng.standard_normal((2, samples))
    # Breath flows in pulses too, as the glottis opens.
    pulses = 0.6 + 0.4 * np.cos(2 * np.pi * cycle)
    throat = fine_level * ((1.0 - style.breath) * source + 0.55 * style.breath * white[0] * pulses)
    mouth = fine_noise * 0.35 * white[1]

    frequencies = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    tilt = (style.tilt_db + speaker.brightness_db) / 20.0
    bright = 10.0 ** (tilt * np.log2(np.maximum(frequencies, 500.0) / 500.0))
    formants = score.formants * speaker.formant_scale
    tract = _resonances(formants, np.asarray(frequencies, np.float64)) * bright
    away = np.log2(np.maximum(frequencies, 20.0)[None, :] / score.noise_hz[:, None])
    fricative = np.exp(-0.5 * (away / NOISE_BAND_OCTAVES) ** 2)
    sound = _filtered(throat, tract) + _filtered(mouth, fricative)

    active = fine_level + fine_noise > 0.05
    rms = float(np.sqrt(np.mean(sound[active] ** 2)))
    wanted = SPEECH_RMS * 10.0 ** (style.loudness_db / 20.0)
    return np.asarray(sound * (wanted / rms), np.float32)


def add_room(
    voice: npt.NDArray[np.float32], snr_db: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """`voice` [n] in a room whose noise is `snr_db` below the voice's own mean level."""
    spectrum = np.fft.rfft(rng.standard_normal(len(voice)))
    frequencies = np.fft.rfftfreq(len(voice), 1 / SAMPLE_RATE)
    # Falls with frequency as room noise does; nothing below 40 Hz, as a microphone has it.
    spectrum *= (frequencies > 40.0) / np.sqrt(np.maximum(frequencies, 60.0))
    noise = np.fft.irfft(spectrum, len(voice))
    active = np.abs(voice) > 0.05 * np.abs(voice).max()
    voice_rms = np.sqrt(np.mean(np.square(voice[active], dtype=np.float64)))
    noise *= voice_rms * 10.0 ** (-snr_db / 20.0) / np.sqrt(np.mean(noise**2))
    mixed = voice + noise
    # Louder than full scale would clip: turn the whole recording down instead.
    return np.asarray(mixed * min(1.0, 0.95 / float(np.abs(mixed).max())), np.float32)


def _saw(phase: Floats, step: Floats) -> Floats:
    """A band-limited sawtooth (PolyBLEP) for `phase` in [0, 1) that grows by `step` a sample."""
    wave = 2.0 * phase - 1.0
    after = phase < step
    before = phase > 1.0 - step
    t = phase[after] / step[after]
    wave[after] -= 2.0 * t - t * t - 1.0
    t = (phase[before] - 1.0) / step[before]
    wave[before] -= t * t + 2.0 * t + 1.0
    return wave


def _resonances(formants_hz: Floats, frequencies: Floats) -> Floats:
    """Magnitude response [hops, frequencies] of resonators in cascade at `formants_hz`."""
    response = np.ones((len(formants_hz), len(frequencies)))
    squared = frequencies[None, :] ** 2
    for centre, bandwidth in zip(formants_hz.T, BANDWIDTHS_HZ, strict=True):
        middle = centre[:, None] ** 2
        response *= middle / np.sqrt((middle - squared) ** 2 + squared * bandwidth**2)
    return response


def _filtered(signal: Floats, response: Floats) -> Floats:
    """Filter `signal` [hops * HOP] by the zero-phase magnitudes [hops, WINDOW / 2 + 1]."""
    hops = len(response)
    padded = np.pad(signal, WINDOW // 2)
    window = np.hanning(WINDOW + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:hops] * window
    shaped = np.fft.irfft(np.fft.rfft(frames, axis=1) * response, WINDOW, axis=1) * window
    # Overlap-add: windows that start HOP apart fall into WINDOW / HOP groups that do not overlap.
    output = np.zeros(hops * HOP + WINDOW)
    blocks = shaped.reshape(hops, WINDOW // HOP, HOP)
    for part in range(WINDOW // HOP):
        output[part * HOP : part * HOP + hops * HOP] += blocks[:, part].reshape(-1)
    return output[WINDOW // 2 : WINDOW // 2 + len(signal)] / 1.5
