"""What a recording sounds like, in a kilobyte that other codecs and containers leave as it is.

Two files of one take differ in every byte when one is a copy in another encoding. Here a clip's
sound is written as one word of 32 bits for every 16 ms: bit m says whether the energy of band m,
compared with that of its neighbour, rose or fell since the frame before (Haitsma and Kalker 2002,
"A highly robust audio fingerprinting system", equation 1). Gain, rate and codec change few of the
bits; another take of the same words by the same person changes nearly half of them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import soxr

RATE = 8000
WINDOW, HOP = 2048, 128
"""Samples: 256 ms, so that a shift by part of a hop matters little, and 16 ms."""
LOW_HZ, HIGH_HZ = 300.0, 2000.0
BITS = 32
SILENCE = np.uint32(0)
"""The word of a frame in which nothing is to be heard."""
_AUDIBLE = 1e-5
"""Energy of the faintest frame that counts, of the loudest one's: 50 dB below it."""
_LEAST_ENERGY = 2.0**-30
"""Mean square of one step of 16-bit audio: below it nothing was recorded."""
_AT_ONCE = 512
"""Frames transformed together: a long clip would take hundreds of megabytes."""
Words = npt.NDArray[np.uint32]
NO_WORDS: Words = np.empty(0, np.uint32)


def fingerprint(samples: npt.NDArray[np.float32], rate: int) -> Words:
    """Return the words of a sound [frames]; none where it is shorter than a window.

    Args:
        samples: mono, in -1 to 1.
        rate: samples a second.
    """
    sound = samples if rate == RATE else soxr.resample(samples, rate, RATE, quality="HQ")
    if len(sound) < WINDOW + HOP:
        return NO_WORDS
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    energies = np.concatenate(
        [_energies(windows[first : first + _AT_ONCE]) for first in range(0, len(windows), _AT_ONCE)]
    )
    # Between a band and the next one, between a frame and the one before.
    slopes = np.diff(energies[:, :-1] - energies[:, 1:], axis=0)
    weights = np.left_shift(np.uint32(1), np.arange(BITS, dtype=np.uint32))
    words: Words = np.where(slopes > 0, weights, np.uint32(0)).sum(axis=1, dtype=np.uint32)
    words = np.maximum(words, np.uint32(1))  # 0 is kept for silence
    loudness = energies[1:].sum(axis=1)
    words[loudness < max(_AUDIBLE * float(loudness.max()), _LEAST_ENERGY)] = SILENCE
    return words


def _energies(windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the mean square of each band [frames, bands] of windows [frames, samples].

    A constant offset and the mains' hum lie below the lowest band and leave nothing.
    """
    taper = np.hanning(WINDOW)
    spectra = np.abs(np.fft.rfft(windows * taper)) ** 2
    energies: npt.NDArray[np.float64] = spectra @ _bands() * (2 / (WINDOW * np.sum(taper**2)))
    return energies


@cache
def _bands() -> npt.NDArray[np.float64]:
    """Return [frequencies, bands]: each frequency belongs to one band, widths are logarithmic."""
    frequencies = np.fft.rfftfreq(WINDOW, 1 / RATE)
    edges = np.geomspace(LOW_HZ, HIGH_HZ, BITS + 2)
    inside = (frequencies[:, None] >= edges[:-1]) & (frequencies[:, None] < edges[1:])
    return inside.astype(np.float64)
