"""The square around a face that the visual network sees (section 3.3)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.records import CROP_SIZE


def crop_face(
    frame: npt.NDArray[np.uint8], box: npt.NDArray[np.float32], margin: float = 0.0
) -> npt.NDArray[np.uint8]:
    """Cut a face out as a square of 227x227 pixels.

    The box is made square on its longer side around its centre, so that the face keeps its shape;
    outside the frame the frame's edge is repeated.

    Args:
        frame: uint8 RGB [height, width, 3].
        box: x0, y0, x1, y1 in pixels of the frame, x1 and y1 exclusive; may reach beyond it.
        margin: widening on each side, as a part of the square's side.

    Returns:
        uint8 RGB [227, 227, 3].
    """
    import cv2

    x0, y0, x1, y1 = (float(value) for value in box[:4])
    side = max(1, round(max(x1 - x0, y1 - y0) * (1 + 2 * margin)))
    left = round((x0 + x1 - side) / 2)
    top = round((y0 + y1 - side) / 2)
    height, width = frame.shape[:2]
    if left >= 0 and top >= 0 and left + side <= width and top + side <= height:
        square = frame[top : top + side, left : left + side]
    else:
        rows = np.clip(np.arange(top, top + side), 0, height - 1)
        columns = np.clip(np.arange(left, left + side), 0, width - 1)
        square = frame[np.ix_(rows, columns)]
    method = cv2.INTER_AREA if side > CROP_SIZE else cv2.INTER_LINEAR
    return np.asarray(
        cv2.resize(square, (CROP_SIZE, CROP_SIZE), interpolation=method), dtype=np.uint8
    )
