"""Lips, teeth and tongue."""

from __future__ import annotations

import numpy as np

from pipelines.synthesis.canvas import Pixels, darker, fill, line
from pipelines.synthesis.emotions import Actions
from pipelines.synthesis.identity import Colour, Identity
from pipelines.synthesis.seeds import Floats

MOUTH_Y, MOUTH_HALF_WIDTH = 0.53, 0.265
CURVE_POINTS = 33
TEETH: Colour = (235, 230, 220)
MOUTH_INSIDE: Colour = (64, 20, 22)
TONGUE: Colour = (150, 70, 70)


def draw_mouth(canvas: Pixels, identity: Identity, actions: Actions) -> None:
    """Draw the mouth as the actions have it."""
    stretch, smile = actions["mouth_stretch"], actions["mouth_corner"]
    lift, press = actions["upper_lip"], float(np.clip(actions["lip_press"], 0.0, 1.0))
    opening = float(np.clip(actions["mouth_open"], 0.0, 1.1))
    wide = MOUTH_HALF_WIDTH * identity.mouth_width * (
        1.0 + 0.22 * stretch + 0.12 * smile - 0.10 * opening
    )  # fmt: skip
    u = np.linspace(-1.0, 1.0, CURVE_POINTS)
    hump, bowl = 1.0 - u**2, 1.0 - np.abs(u) ** 2.6
    gap = 0.24 * opening + 0.05 * max(lift, 0.0)
    corner_y = MOUTH_Y - 0.085 * smile + 0.40 * gap * opening
    middle_y = MOUTH_Y + 0.012 * smile
    x = wide * u
    inner_top = corner_y + (middle_y - 0.03 * opening - 0.055 * lift - corner_y) * hump
    inner_bottom = np.maximum(corner_y + (middle_y + gap - corner_y) * bowl, inner_top)
    thin = 1.0 - 0.65 * press
    upper = 0.050 * identity.lip_thickness * thin * (1.0 - 0.2 * max(stretch, 0.0))
    lower = 0.068 * identity.lip_thickness * thin * (1.0 - 0.2 * max(stretch, 0.0))
    bow = 1.0 - 0.25 * np.exp(-((u / 0.14) ** 2))
    outer_top = inner_top - upper * (1.0 - np.abs(u) ** 2.2) * bow
    outer_bottom = inner_bottom + lower * (1.0 - np.abs(u) ** 2.5)

    def band(over: Floats, under: Floats) -> Floats:
        return np.concatenate([np.stack([x, over], axis=1), np.stack([x, under], axis=1)[::-1]])

    if gap > 0.015:
        fill(canvas, band(inner_top, inner_bottom), MOUTH_INSIDE)
        back = np.maximum(1.0 - (u / 0.72) ** 2, 0.0)
        tongue_top = inner_bottom - 0.38 * (inner_bottom - inner_top) * back
        fill(canvas, band(tongue_top, inner_bottom), TONGUE)
        room = 0.8 * (inner_bottom - inner_top)
        shown = np.minimum((0.045 + 0.035 * max(smile, lift, 0.0)) * (1.0 - u**4), room)
        fill(canvas, band(inner_top, inner_top + shown), TEETH)
    fill(canvas, band(outer_top, inner_top), darker(identity.lips, 0.84))
    fill(canvas, band(inner_bottom, outer_bottom), identity.lips)
    shine = np.stack([0.45 * x, inner_bottom + 0.45 * lower * np.ones_like(u)], axis=1)
    line(canvas, shine, darker(identity.lips, 1.14), 0.015)
    seam = darker(identity.lips, 0.42)
    line(canvas, np.stack([x, inner_top], axis=1), seam, 0.016 if gap <= 0.015 else 0.010)
