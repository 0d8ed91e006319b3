"""Random streams that depend on names only, never on order, time or process."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def stream(seed: int, *names: str) -> np.random.Generator:
    """A generator seeded by the SHA-256 of `seed` and `names` (what it is for).

    Each purpose has its own stream, so that one more draw for the voice leaves the face as it was.
    """
    text = "\x1f".join((str(seed), *names))
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def smooth_walk(
    rng: np.random.Generator, times_s: Floats, low_hz: float, high_hz: float, waves: int = 4
) -> Floats:
    """A smooth random function of time at `times_s` [n], of unit variance over its ensemble.

    A sum of sinusoids: any sampling of it is exact, and its values stay within
    `sqrt(2 * waves)`.
    """
    frequencies = rng.uniform(low_hz, high_hz, waves)
    phases = rng.uniform(0.0, 2 * np.pi, waves)
    angles = 2 * np.pi * frequencies[:, None] * times_s[None, :] + phases[:, None]
    walk: Floats = np.sin(angles).sum(axis=0) * np.sqrt(2.0 / waves)
    return walk
