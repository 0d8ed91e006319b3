"""Functionals of a clip's voice: what the field described utterances by before networks.

In the manner of the INTERSPEECH challenges' openSMILE sets, and far smaller: nine functionals of
13 MFCC, their deltas, energy and pitch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.inputs import ClipTensors
from pipelines.rivals.config import LEAST_COEFFICIENTS
from pipelines.rivals.examples import Matrix

NAMES = ("mean", "sd", "min", "max", "range", "q1", "median", "q3", "slope")
"""Of a contour; the slope is that of the least-squares line, per frame."""
CONTOURS = (
    *(f"mfcc_{k}" for k in range(LEAST_COEFFICIENTS)),
    *(f"delta_{k}" for k in range(LEAST_COEFFICIENTS)),
    "energy_db",
    "pitch_hz",
)
SIZE = len(NAMES) * len(CONTOURS) + 1


def voice_functionals(clip: ClipTensors, frame_shift: int) -> Matrix:
    """Return the functionals of all contours, then the voiced share of the frames: [253].

    Segments overlap; each frame of the clip counts once, by the first segment that holds it. Pitch
    is of voiced frames alone; with fewer than two of them its functionals are 0.

    Args:
        clip: its unscaled audio images [s, 3, coefficients, frames] and its prosody.
        frame_shift: frames from the start of one segment to that of the next.
    """
    times, rows = _once(clip, frame_shift)
    images = clip.audio.double().numpy()[:, :2, :LEAST_COEFFICIENTS]
    prosody = clip.prosody.double().numpy()
    # [contours, frames of the clip]
    contours = np.concatenate(
        [
            np.moveaxis(images, -1, 1).reshape(-1, 2 * LEAST_COEFFICIENTS)[rows].T,
            np.moveaxis(prosody, -1, 1).reshape(-1, 2)[rows].T[::-1],
        ]
    )
    pitch = contours[-1]
    voiced = pitch > 0
    return np.concatenate(
        [
            *(contour_functionals(times, contour) for contour in contours[:-1]),
            contour_functionals(times[voiced], pitch[voiced]),
            [voiced.mean()],
        ]
    )


def contour_functionals(times: npt.NDArray[np.int64], values: Matrix) -> Matrix:
    """Return the functionals of one contour, in the order of `NAMES`: [9].

    Args:
        times: of its frames [n].
        values: [n]; fewer than two have no functionals, and give zeros.
    """
    if len(values) < 2:
        return np.zeros(len(NAMES))
    low, high = values.min(), values.max()
    centred = times - times.mean()
    slope = (centred @ values) / (centred @ centred)
    quartiles = np.quantile(values, (0.25, 0.5, 0.75))
    return np.array([values.mean(), values.std(), low, high, high - low, *quartiles, slope])


def _once(
    clip: ClipTensors, frame_shift: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the times of the clip's frames, and the row of each among those of all segments."""
    numbers = np.array(clip.numbers or range(clip.segments), dtype=np.int64)
    frames = np.arange(clip.audio.shape[-1])
    times, rows = np.unique((numbers[:, None] * frame_shift + frames), return_index=True)
    return times, rows
