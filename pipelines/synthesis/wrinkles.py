"""Folds that an expression makes in the skin, as soft dark lines."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from pipelines.synthesis.canvas import LEFT, SUBPIXEL_BITS, TOP, Pixels, bent, line, to_canvas
from pipelines.synthesis.emotions import Actions
from pipelines.synthesis.eyes import EYE_X, EYE_Y
from pipelines.synthesis.identity import Identity
from pipelines.synthesis.mouth import MOUTH_HALF_WIDTH, MOUTH_Y
from pipelines.synthesis.seeds import Floats

CORNER_FROM, CORNER_TO = np.array([-0.64, -0.74]), np.array([0.64, 0.84])
"""Of the part of the face that may wrinkle, in face units."""
DARKEST = 0.6
"""What a fold of strength 1 takes from the light."""
FAINTEST = 0.03
SOFTNESS_PX = 2.2

Fold = tuple[Floats, float, float]
"""A line in face units, how strong it is, and its width in face units."""


def draw_wrinkles(canvas: Pixels, identity: Identity, actions: Actions) -> None:
    """Darken `canvas` [HEIGHT_PX, WIDTH_PX, 4] along the folds, in place."""
    left, top = (to_canvas(CORNER_FROM) >> SUBPIXEL_BITS).tolist()
    right, bottom = (to_canvas(CORNER_TO) >> SUBPIXEL_BITS).tolist()
    skin = canvas[top:bottom, left:right]
    light = np.full(skin.shape[:2], 255, np.uint8)
    to_part = np.array([LEFT, TOP]) - CORNER_FROM
    for points, strength, width in _folds(identity, actions):
        if strength > FAINTEST:
            line(light, points + to_part, round(255 * (1.0 - DARKEST * min(strength, 1.2))), width)
    soft = cv2.GaussianBlur(light, (9, 9), SOFTNESS_PX)
    opacity = np.full_like(light, 255)
    skin[:] = cv2.multiply(skin, cv2.merge([soft, soft, soft, opacity]), scale=1 / 255)


def _folds(identity: Identity, actions: Actions) -> Iterator[Fold]:
    raised = 0.5 * (actions["inner_brow"] + actions["outer_brow"])
    for index in range(3):
        y = -0.50 - 0.085 * index
        brow_line = bent((-0.36, y + 0.03), (0.0, y - 0.03), (0.36, y + 0.03))
        yield brow_line, 0.55 * raised - 0.05 * index, 0.016
    chin_line = bent((-0.14, 0.67), (0.0, 0.645), (0.14, 0.67))
    yield chin_line, 0.25 + 0.4 * max(actions["lip_press"], 0.0), 0.03
    for side in (-1.0, 1.0):
        yield from _folds_of_nose(actions, side)
        yield from _folds_of_eye(identity, actions, side)
        yield from _folds_of_mouth(identity, actions, side)


def _folds_of_nose(actions: Actions, side: float) -> Iterator[Fold]:
    between_brows = bent((side * 0.045, -0.42), (side * 0.06, -0.34), (side * 0.05, -0.24))
    yield between_brows, actions["brow_furrow"], 0.022
    for y in (-0.07, 0.0, 0.07):
        bridge = bent((side * 0.03, y), (side * 0.09, y - 0.01), (side * 0.15, y + 0.05))
        yield bridge, 0.8 * actions["nose_wrinkle"], 0.018


def _folds_of_eye(identity: Identity, actions: Actions, side: float) -> Iterator[Fold]:
    x = side * EYE_X * identity.eye_distance
    bulge = max(actions["cheek"], 0.6 * actions["lower_lid"])
    pouch = bent((x - 0.15, 0.0), (x, 0.08 - 0.03 * bulge), (x + 0.15, 0.0))
    yield pouch, 0.12 + 0.6 * bulge, 0.02
    outer = x + side * 0.17
    for turn in (-0.05, 0.03):
        crow_foot = bent(
            (outer, EYE_Y + turn / 2),
            (outer + side * 0.05, EYE_Y + turn),
            (outer + side * 0.10, EYE_Y + 2 * turn),
        )
        yield crow_foot, 0.6 * actions["cheek"], 0.014


def _folds_of_mouth(identity: Identity, actions: Actions, side: float) -> Iterator[Fold]:
    lift = max(actions["upper_lip"], actions["nose_wrinkle"])
    smile = actions["mouth_corner"]
    wide = 1.0 + 0.2 * actions["mouth_stretch"] + 0.12 * smile
    corner_x = MOUTH_HALF_WIDTH * identity.mouth_width * wide
    from_nose = bent(
        (side * 0.15, 0.21 - 0.04 * lift),
        (side * (0.30 + 0.05 * max(smile, 0.0)), 0.30),
        (side * (corner_x + 0.07), MOUTH_Y - 0.09 * smile + 0.02),
    )
    yield from_nose, 0.18 + 0.5 * max(smile, 0.0) + 0.55 * lift, 0.026
    below_corner = bent(
        (side * (corner_x + 0.02), MOUTH_Y + 0.05),
        (side * (corner_x + 0.04), 0.65),
        (side * (corner_x + 0.01), 0.72),
    )
    yield below_corner, -0.6 * smile, 0.022
