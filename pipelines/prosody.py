"""Pitch and energy of the voice, on the very frames of the audio images.

No network of ours sees them: they are what the classical floor of the field is built on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.mfcc import MfccConfig, segment_windows, window_and_hop

LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
"""Of voices."""
PITCH_WINDOW_S = 0.064
"""Of the search for a period: almost four of the longest."""
LEAST_PERIODIC = 0.5
"""Correlation of a frame with itself one period later, from which it is voiced."""
SILENCE_DB = -60.0
"""Frames below it are not voiced, whatever period their noise may have."""
FLOOR_DB = -100.0
"""Energy that stands for none at all, as in the audio images."""


@dataclass(frozen=True, eq=False)
class Prosody:
    """Of each segment, frame by frame."""

    pitch_hz: npt.NDArray[np.float16]
    """[s, frames] fundamental frequency; 0 where unvoiced."""
    energy_db: npt.NDArray[np.float16]
    """[s, frames] mean square; 0 dB is that of a square wave of full scale."""


def prosody(samples: npt.NDArray[np.float32], config: MfccConfig) -> Prosody:
    """Return pitch and energy of the segments of a region, as `audio_images` cuts them.

    Args:
        samples: mono [n] of the region at `config.rate`.
        config: of the audio images; its rate must be set (`at_rate`).
    """
    energy = energy_db(samples, config)
    pitch = np.where(energy > SILENCE_DB, pitch_hz(samples, config), 0.0)
    cut = (segment_windows(values, config).astype(np.float16) for values in (pitch, energy))
    return Prosody(*cut)


def energy_db(samples: npt.NDArray[np.float32], config: MfccConfig) -> npt.NDArray[np.float64]:
    """Return the mean square of each window of the audio images in dB, [frames]."""
    window, hop = window_and_hop(config)
    power = np.mean(np.square(_frames(samples, window, hop, window)), axis=1)
    decibels: npt.NDArray[np.float64] = 10.0 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
    return decibels


def pitch_hz(samples: npt.NDArray[np.float32], config: MfccConfig) -> npt.NDArray[np.float64]:
    """Return the fundamental frequency around each window of the audio images, [frames].

    The period is YIN's (de Cheveigné and Kawahara 2002, by librosa), in 64 ms around the middle of
    the window. A frame is voiced where it correlates with itself one period later; elsewhere its
    pitch is 0.
    """
    import librosa

    window, hop = window_and_hop(config)
    longer = max(round(PITCH_WINDOW_S * config.rate), window)
    frames = _frames(samples, longer, hop, window)
    periods = config.rate / librosa.yin(
        frames,
        fmin=LOWEST_HZ,
        fmax=min(HIGHEST_HZ, config.rate / 2),
        sr=config.rate,
        frame_length=longer,
        hop_length=longer,
        center=False,
    ).reshape(-1)
    voiced = [
        _correlation(frame, round(period)) >= LEAST_PERIODIC
        for frame, period in zip(frames, periods, strict=True)
    ]
    return np.where(voiced, config.rate / periods, 0.0)


def _frames(
    samples: npt.NDArray[np.float32], length: int, hop: int, window: int
) -> npt.NDArray[np.float64]:
    """Return [frames, length] around the middles of the audio images' windows, with zeros outside.

    The middles are those of frames of `window` samples, `hop` apart, the first at the start.
    """
    before = (length - window) // 2
    behind = length - window - before + max(0, window - len(samples))
    padded = np.pad(samples.astype(np.float64), (before, behind))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]


def _correlation(frame: npt.NDArray[np.float64], lag: int) -> float:
    """Return the normalised correlation of a frame with itself some samples later; 0 of silence."""
    one, other = frame[:-lag], frame[lag:]
    power = np.sqrt(np.dot(one, one) * np.dot(other, other))
    return float(np.dot(one, other) / power) if power > 0 else 0.0
