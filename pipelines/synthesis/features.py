"""Brows, eyes, nose, mouth and wrinkles, drawn on a head for one moment's facial actions."""

from __future__ import annotations

import cv2
import numpy as np

from pipelines.synthesis.canvas import (
    HEIGHT_PX,
    TOP,
    UNIT_PX,
    WIDTH_PX,
    Pixels,
    bent,
    darker,
    fill,
    line,
    oval,
)
from pipelines.synthesis.emotions import Actions
from pipelines.synthesis.eyes import draw_brow, draw_eye
from pipelines.synthesis.identity import Identity
from pipelines.synthesis.mouth import draw_mouth
from pipelines.synthesis.skull import CHIN_Y
from pipelines.synthesis.wrinkles import draw_wrinkles

JAW_TOP_Y = 0.36
"""The face above this height does not follow the jaw."""
JAW_DROP = 0.13
"""Fall of the chin when the mouth is wide open, in face units."""


def draw_features(canvas: Pixels, identity: Identity, actions: Actions, gaze: float) -> None:
    """Draw the face's features on `canvas` [HEIGHT_PX, WIDTH_PX, 4] in place.

    `gaze` is how far the eyes look to the right, of their half-width.
    """
    draw_wrinkles(canvas, identity, actions)
    _nose(canvas, identity, actions)
    for side in (-1.0, 1.0):
        draw_eye(canvas, identity, actions, side, gaze)
        draw_brow(canvas, identity, actions, side)
    draw_mouth(canvas, identity, actions)


def drop_jaw(layer: Pixels, opening: float) -> Pixels:
    """Lower the chin of a canvas, as an open mouth (`opening` 0 to 1) does.

    What lies below the chin, long hair for one, is pressed together and keeps its end.
    """
    top = round((JAW_TOP_Y - TOP) * UNIT_PX)
    chin = round((CHIN_Y - TOP) * UNIT_PX)
    dropped = chin + round(JAW_DROP * opening * UNIT_PX)
    moved = np.empty_like(layer)
    moved[:top] = layer[:top]
    moved[top:dropped] = cv2.resize(layer[top:chin], (WIDTH_PX, dropped - top))
    moved[dropped:] = cv2.resize(layer[chin:], (WIDTH_PX, HEIGHT_PX - dropped))
    return moved


def _nose(canvas: Pixels, identity: Identity, actions: Actions) -> None:
    tip = 0.25 * identity.nose_length - 0.03 * actions["nose_wrinkle"]
    wide = identity.nose_width * (1.0 + 0.10 * actions["nose_wrinkle"])
    dark = darker(identity.skin, 0.32)
    shadow = darker(identity.skin, 0.60)
    for side in (-1.0, 1.0):
        x = side * 0.062 * wide
        fill(canvas, oval((x, tip + 0.035), (0.034 * wide, 0.017), 33), dark)
        wing = bent(
            (side * 0.135 * wide, tip - 0.06),
            (side * 0.165 * wide, tip + 0.02),
            (side * 0.11 * wide, tip + 0.04),
        )
        line(canvas, wing, shadow, 0.014)
    under = bent((-0.03, tip + 0.055), (0.0, tip + 0.065), (0.03, tip + 0.055))
    line(canvas, under, shadow, 0.014)
