"""The wall, the neck and the shoulders: all of the picture but the head."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.synthesis.canvas import Pixels, Plane
from pipelines.synthesis.identity import Identity
from pipelines.synthesis.seeds import Floats

WIDTH, HEIGHT = 360, 288
"""Of the picture, in pixels."""
FACE_UNIT_PX = 68.0
"""Picture pixels per face unit of a head at zoom 1."""
HEAD_CENTRE = (180.0, 134.0)


def draw_backdrop(identity: Identity, side: float, rng: np.random.Generator) -> Pixels:
    """Wall, neck and shoulders [HEIGHT, WIDTH, 3]; `side` is how far light comes from the right."""
    down = np.linspace(0.0, 1.0, HEIGHT, dtype=np.float32)[:, None]
    across = np.linspace(-0.5, 0.5, WIDTH, dtype=np.float32)[None, :]
    wall = rng.uniform(90, 190) + rng.normal(0, 10, 3)
    slope = 1.08 - 0.25 * down + (0.25 * side + 0.1 * rng.standard_normal()) * across
    coarse = rng.standard_normal((6, 8)).astype(np.float32)
    blotches = np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
    picture = np.asarray((slope + 0.04 * blotches)[..., None] * wall, np.float32)

    cloth = np.clip(rng.uniform(25, 150) + rng.normal(0, 18, 3), 10, 220)
    folds = 1.0 + 0.7 * side * across - 0.25 * np.abs(across) + 0.0 * down
    _lay(picture, _shoulders(), folds[..., None] * cloth)
    centre_y, unit = HEAD_CENTRE[1], FACE_UNIT_PX
    # The chin throws its shadow on the neck.
    shadow = 0.45 + 0.3 * np.clip((down * HEIGHT - centre_y - 0.9 * unit) / (0.7 * unit), 0, 1)
    curve = np.clip(1.0 - 0.9 * (across * WIDTH / unit) ** 2, 0.4, 1.0)
    _lay(picture, _neck(), 1.25 * (shadow * curve)[..., None] * np.asarray(identity.skin))
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def _shoulders() -> Floats:
    angles = np.linspace(np.pi, 2 * np.pi, 40)
    reach = np.sign(np.cos(angles)) * np.abs(np.cos(angles)) ** 0.75
    x = HEAD_CENTRE[0] + 2.15 * FACE_UNIT_PX * reach
    y = HEIGHT + 20 + 1.05 * FACE_UNIT_PX * np.sin(angles)
    return np.stack([x, y], axis=1)


def _neck() -> Floats:
    right = np.array([[0.42, 0.4], [0.45, 1.25], [0.62, 1.5]])
    left = right[::-1] * np.array([-1.0, 1.0])
    outline = np.concatenate([right, [[0.0, 1.85]], left])
    moved: Floats = outline * FACE_UNIT_PX + np.array(HEAD_CENTRE)
    return moved


def _lay(picture: Plane, polygon: Floats, paint: npt.NDArray[np.floating]) -> None:
    """Paint a polygon [n, 2] in picture pixels with soft edges, in place."""
    shape = np.zeros((HEIGHT, WIDTH), np.uint8)
    points = np.asarray(np.round(polygon * 16), np.int32)
    cv2.fillPoly(shape, [points], 255, cv2.LINE_AA, 4)
    soft = np.asarray(cv2.GaussianBlur(shape, (0, 0), 0.8), np.float32)[..., None] / 255
    picture += soft * (paint - picture)
