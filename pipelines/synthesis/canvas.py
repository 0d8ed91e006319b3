"""The canvas of a head, and lines and surfaces on it.

Face units: the origin lies between the eyes' line and the nose, x to the right of the picture,
y down; the chin is at y = 1, the hairline near -0.8, the cheeks near x = -0.72 and 0.72.
The canvas has about twice the pixels of the picture, so that moving it there smooths its edges.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.synthesis.identity import Colour
from pipelines.synthesis.seeds import Floats

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]

UNIT_PX = 136
"""Canvas pixels per face unit."""
LEFT, RIGHT, TOP, BOTTOM = -1.12, 1.12, -1.36, 1.34
WIDTH_PX = round((RIGHT - LEFT) * UNIT_PX)
HEIGHT_PX = round((BOTTOM - TOP) * UNIT_PX)
SUBPIXEL_BITS = 4


def to_canvas(points: Floats) -> npt.NDArray[np.int32]:
    """Points [..., 2] in face units as OpenCV's fixed-point canvas coordinates."""
    scaled = (points - np.array([LEFT, TOP])) * (UNIT_PX << SUBPIXEL_BITS)
    return np.asarray(np.round(scaled), np.int32)


def grid() -> tuple[Plane, Plane]:
    """x and y of every canvas pixel, each [HEIGHT_PX, WIDTH_PX], in face units."""
    columns = np.linspace(LEFT, RIGHT, WIDTH_PX, endpoint=False, dtype=np.float32)
    rows = np.linspace(TOP, BOTTOM, HEIGHT_PX, endpoint=False, dtype=np.float32)
    x, y = np.meshgrid(columns, rows)
    return x, y


def mask(polygon: Floats, blur_px: float = 1.2) -> Plane:
    """Opacity [HEIGHT_PX, WIDTH_PX], 0 to 1, of a polygon with soft edges."""
    canvas = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    cv2.fillPoly(canvas, [to_canvas(polygon)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    soft = cv2.GaussianBlur(canvas, (0, 0), blur_px)
    return np.asarray(soft, np.float32) * np.float32(1 / 255)


def over(colour: Plane, opacity: Plane, paint: Plane, mask: Plane) -> None:
    """Lay `paint` over what is there, in place."""
    colour += mask[..., None] * (paint - colour)
    opacity += mask * (1.0 - opacity)


def bump(x: Plane, y: Plane, at: tuple[float, float], size: tuple[float, float]) -> Plane:
    """A Gaussian hill of height 1; `size` is where it has fallen to 1/e, along x and y."""
    square = ((x - at[0]) / size[0]) ** 2 + ((y - at[1]) / size[1]) ** 2
    return np.asarray(np.exp(-square), np.float32)


def fill(canvas: Pixels, points: Floats, colour: Colour) -> None:
    """Fill a polygon [n, 2] in face units, in place."""
    cv2.fillPoly(canvas, [to_canvas(points)], (*colour, 255.0), cv2.LINE_AA, SUBPIXEL_BITS)


def line(canvas: Pixels, points: Floats, colour: Colour | int, width: float) -> None:
    """Draw an open line [n, 2] of `width` in face units, in place."""
    thickness = max(1, round(width * UNIT_PX))
    paint = (colour,) if isinstance(colour, int) else (*colour, 255.0)
    cv2.polylines(canvas, [to_canvas(points)], False, paint, thickness, cv2.LINE_AA, SUBPIXEL_BITS)


def bent(
    start: tuple[float, float],
    middle: tuple[float, float],
    end: tuple[float, float],
    count: int = 9,
) -> Floats:
    """A quadratic Bezier curve [count, 2]."""
    t = np.linspace(0.0, 1.0, count)[:, None]
    a, b, c = (np.array(point) for point in (start, middle, end))
    curve: Floats = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
    return curve


def oval(centre: tuple[float, float], radii: tuple[float, float], count: int) -> Floats:
    """An ellipse as a polygon [count, 2]."""
    angles = np.linspace(0.0, 2 * np.pi, count)
    return np.stack(
        [centre[0] + radii[0] * np.cos(angles), centre[1] + radii[1] * np.sin(angles)], axis=1
    )


def darker(colour: Colour, factor: float) -> Colour:
    """`colour` with `factor` of its light."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor
