"""What is wrong with a recording, as far as its samples tell: clipping and a constant offset."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_FULL_SCALE = 0.99
"""Resampling and lossy codecs leave clipped samples a little off the scale's end."""
_CLIPPED_SHARE = 0.001
"""Loud recordings touch the scale's end in a few samples without being clipped."""
_FLAT_TOP, _FLAT_SHARE = 0.995, 0.005
"""Below full scale: so near to the greatest sample, and so many of them, speech never is."""
_OFFSET = 0.02
_SILENCE = 2.0**-15
"""One step of 16-bit audio."""


def mended(samples: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Take a constant offset away, which would leak into the lowest mel filters, and say so.

    Args:
        samples: mono [n], full scale -1 to 1.

    Returns:
        The samples, the very same ones where there is no offset to speak of (2 % of full scale),
        and what a user should know: an offset, and clipping, which can't be mended.
    """
    notes: list[str] = []
    if samples.size == 0:
        return samples, notes
    levels = np.abs(samples)
    peak = float(levels.max())
    clipped = float(np.mean(levels >= _FULL_SCALE))
    flat = float(np.mean(levels >= _FLAT_TOP * peak)) if peak > _OFFSET else 0.0
    if clipped >= _CLIPPED_SHARE:
        notes.append(f"sound is clipped ({100 * clipped:.1f} % of samples at full scale)")
    elif flat >= _FLAT_SHARE and np.ptp(samples) > peak:
        notes.append(
            f"sound is clipped ({100 * flat:.1f} % of samples at {100 * peak:.0f} % of full scale)"
        )
    offset = float(samples.mean(dtype=np.float64))
    if abs(offset) >= _OFFSET:
        notes.append(f"sound has a constant offset of {offset:.2f} of full scale: taken away")
        samples = samples - np.float32(offset)
    return samples, notes


def without_voice(samples: npt.NDArray[np.float32]) -> str:
    """Say what there is in a recording [n] in which no voice was found."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if samples.size else 0.0
    if power <= _SILENCE**2:
        return "the sound is silence"
    return f"nothing stands out of sound at {10 * np.log10(power):.0f} dB of full scale"
