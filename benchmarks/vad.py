"""How far voice activity detection is off the truth, in noise, and how often noise is a voice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.corpora.synthetic import SyntheticConfig, clips, role_of
from pipelines.synthesis.articulation import SAMPLE_RATE
from pipelines.synthesis.performance import Performance, perform
from pipelines.vad import VadConfig, detect_voice

CORPUS = SyntheticConfig(root="unused", subjects=10, takes=2)
SNRS_DB = (20, 10, 5, 0)
COLOURS = {"white": 0.0, "pink": 0.5, "brown": 1.0}
"""Exponent of frequency by which the noise's amplitude falls."""
FLOORS_DB = (6.0, 7.0, 8.0, 10.0)
NOISES = 100
BARE = VadConfig(before_s=0.0, after_s=0.0)
Samples = npt.NDArray[np.float32]


def run() -> dict[str, Any]:
    """Measure the default settings, and the floor's other values where noise is strongest."""
    performances = [perform(role_of(CORPUS, clip)) for clip in clips(CORPUS)]
    voices = [performance.voice() for performance in performances]
    return {
        "work": f"{len(voices)} synthetic voices in noise: detected against true start and end",
        "clips": len(voices),
        "settings": vars(BARE),
        "errors": [
            errors(performances, voices, colour, snr_db, BARE)
            for colour in ("white", "pink")
            for snr_db in SNRS_DB
        ],
        "by_floor": [
            {"floor_db": floor_db, **errors(performances, voices, colour, 5, config)}
            for floor_db in FLOORS_DB
            for config in [replace(BARE, floor_db=floor_db)]
            for colour in ("white", "pink")
        ],
        "false_voice_rate": {kind: false_voice_rate(kind) for kind in (*COLOURS, "hum")},
    }


def errors(
    performances: Sequence[Performance],
    voices: Sequence[Samples],
    colour: str,
    snr_db: float,
    config: VadConfig,
) -> dict[str, Any]:
    """Return absolute errors in milliseconds over all clips, one without voice as it stands."""
    starts, ends, found = [], [], []
    for seed, (performance, voice) in enumerate(zip(performances, voices, strict=True)):
        timing = performance.timing
        first, last = (
            round(time_s * SAMPLE_RATE) for time_s in (timing.voice_start_s, timing.voice_end_s)
        )
        power = np.mean(np.square(voice[first:last], dtype=np.float64))
        hiss = noise(len(voice), colour, seed) * np.sqrt(power / 10 ** (snr_db / 10))
        region = detect_voice((voice + hiss).astype(np.float32), SAMPLE_RATE, config)
        found.append(region.found)
        starts.append(1e3 * abs(region.start_s - timing.voice_start_s))
        ends.append(1e3 * abs(region.end_s - timing.voice_end_s))
    return {
        "colour": colour,
        "snr_db": snr_db,
        "found_rate": float(np.mean(found)),
        "start_median_ms": round(float(np.median(starts)), 1),
        "start_p90_ms": round(float(np.percentile(starts, 90)), 1),
        "end_median_ms": round(float(np.median(ends)), 1),
        "end_p90_ms": round(float(np.percentile(ends, 90)), 1),
    }


def false_voice_rate(kind: str) -> float:
    """Return the share of noises of 1 to 6 s, from faint to loud, that count as voice."""
    found = []
    for seed in range(NOISES):
        draw = np.random.default_rng([seed, 1])
        samples = round(draw.uniform(1, 6) * SAMPLE_RATE)
        sound = hum(samples, seed) if kind == "hum" else noise(samples, kind, seed)
        level = 10 ** draw.uniform(-4, -0.7)
        found.append(detect_voice((level * sound).astype(np.float32), SAMPLE_RATE, BARE).found)
    return float(np.mean(found))


def noise(samples: int, colour: str, seed: int) -> npt.NDArray[np.float64]:
    """Noise [samples] of root mean square 1."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
    frequencies = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    spectrum[1:] /= frequencies[1:] ** COLOURS[colour]
    spectrum[0] = 0
    sound = np.fft.irfft(spectrum, samples)
    return np.asarray(sound / np.sqrt(np.mean(sound**2)))


def hum(samples: int, seed: int) -> npt.NDArray[np.float64]:
    """Mains hum [samples] with its harmonics, of root mean square 1."""
    draw = np.random.default_rng(seed)
    times = np.arange(samples) / SAMPLE_RATE
    mains_hz = draw.choice([50.0, 60.0])
    harmonics = range(1, 9)
    tones = [
        draw.uniform(0.1, 1) / k * np.sin(2 * np.pi * (k * mains_hz * times + draw.random()))
        for k in harmonics
    ]
    sound = np.sum(tones, axis=0) + 0.01 * draw.standard_normal(samples)
    return np.asarray(sound / np.sqrt(np.mean(sound**2)))
