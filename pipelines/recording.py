"""What is wrong with a recording, as far as its samples tell: clipping and a constant offset."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_FULL_SCALE = 0.99
"""Resampling and lossy codecs leave clipped samples a little off the scale's end."""
_CLIPPED_SHARE = 0.001
"""Loud recordings touch the scale's end in a few samples without being clipped."""
_OFFSET = 0.01


def mended(samples: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Take a constant offset away, which would leak into the lowest mel filters, and say so.

    Args:
        samples: mono [n], full scale -1 to 1.

    Returns:
        The samples, the very same ones where there is no offset to speak of (1 % of full scale),
        and what a user should know: an offset, and clipping, which can't be mended.
    """
    notes: list[str] = []
    if samples.size == 0:
        return samples, notes
    clipped = float(np.mean(np.abs(samples) >= _FULL_SCALE))
    if clipped >= _CLIPPED_SHARE:
        notes.append(
            f"sound is clipped ({clipped:.1%} of samples at full scale)".replace("%", " %")
        )
    offset = float(samples.mean(dtype=np.float64))
    if abs(offset) >= _OFFSET:
        notes.append(f"sound has a constant offset of {offset:.2f} of full scale: taken away")
        samples = samples - np.float32(offset)
    return samples, notes
