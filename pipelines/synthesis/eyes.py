"""Eyes with lids, and brows."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.synthesis.canvas import (
    SUBPIXEL_BITS,
    UNIT_PX,
    Pixels,
    bent,
    darker,
    fill,
    line,
    oval,
    to_canvas,
)
from pipelines.synthesis.emotions import Actions
from pipelines.synthesis.identity import Colour, Identity

EYE_Y, EYE_X, EYE_HALF_WIDTH = -0.10, 0.31, 0.155
BROW_Y = -0.31
CURVE_POINTS = 17
EYE_WHITE: Colour = (232, 228, 224)


def draw_eye(
    canvas: Pixels, identity: Identity, actions: Actions, side: float, gaze: float
) -> None:
    """Draw the eye at `side` (-1 left in the picture, 1 right), looking right by `gaze`."""
    lid = max(actions["upper_lid"], -1.0)
    upper = 0.072 * identity.eye_size * (1.0 + lid * (0.65 if lid > 0 else 0.97))
    lower = 0.040 * identity.eye_size * (1.0 - 0.75 * float(np.clip(actions["lower_lid"], -0.5, 1)))
    closed = float(np.clip(-lid, 0.0, 1.0))
    lower *= 1.0 - 0.5 * closed
    centre_x = side * EYE_X * identity.eye_distance
    half = EYE_HALF_WIDTH * identity.eye_size**0.5
    u = np.linspace(-1.0, 1.0, CURVE_POINTS)
    # The inner corner lies a little lower than the outer one.
    base_y = EYE_Y - 0.012 * u * side
    round_lid = (1.0 - u**2) ** 0.75
    x = centre_x + half * u
    top = np.stack([x, base_y - upper * round_lid], axis=1)
    bottom = np.stack([x, base_y + lower * (1.0 - u**2)], axis=1)
    almond = np.concatenate([top, bottom[::-1]])

    # The iris is cut by the lids: paint the eye on a patch and let only the almond through.
    corner = to_canvas(np.array([centre_x - 0.24, EYE_Y - 0.2])) >> SUBPIXEL_BITS
    size = (round(0.34 * UNIT_PX), round(0.48 * UNIT_PX))
    view = canvas[corner[1] : corner[1] + size[0], corner[0] : corner[0] + size[1]]
    patch, through = np.empty_like(view), np.zeros(view.shape[:2], np.uint8)
    bright = min(1.0, 0.45 + 0.5 * float(np.mean(identity.skin)) / 200.0)
    patch[:] = (*(round(part) for part in darker(EYE_WHITE, bright)), 255)
    shift = corner.astype(np.int32) << SUBPIXEL_BITS

    def disc(at: tuple[float, float], radius: float, colour: Colour) -> None:
        points = to_canvas(oval(at, (radius, radius), 25)) - shift
        cv2.fillPoly(patch, [points], (*colour, 255.0), cv2.LINE_AA, SUBPIXEL_BITS)

    look = (centre_x + gaze * half, EYE_Y - 0.012)
    radius = 0.078 * identity.eye_size**0.5
    disc(look, radius, darker(identity.iris, 0.45))
    disc(look, radius * 0.86, identity.iris)
    disc(look, radius * 0.45, (12.0, 10.0, 10.0))
    disc((look[0] + 0.026, look[1] - 0.028), 0.017, (250.0, 250.0, 250.0))
    # The upper lid throws a shadow on the ball.
    rim = to_canvas(top + np.array([0.0, 0.012])) - shift
    shadow = (*darker(EYE_WHITE, 0.6 * bright), 255.0)
    cv2.polylines(patch, [rim], False, shadow, 3, cv2.LINE_AA, SUBPIXEL_BITS)
    cv2.fillPoly(through, [to_canvas(almond) - shift], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    _through(view, patch, through)

    dark = darker(identity.hair, 0.5)
    lash = 0.030 if identity.sex == "female" else 0.021
    line(canvas, top, dark, lash)
    line(canvas, bottom, darker(identity.skin, 0.55), 0.011)
    crease = top[2:-2] - np.array([0.0, 0.040 + 0.014 * closed])
    line(canvas, crease, darker(identity.skin, 0.66), 0.013)


def _through(view: Pixels, patch: Pixels, opacity: npt.NDArray[np.uint8]) -> None:
    """Blend `patch` into `view` in place where `opacity` (0 to 255) lets it."""
    weight = opacity.astype(np.uint16)[..., None]
    mixed = view.astype(np.uint16) * (255 - weight) + patch.astype(np.uint16) * weight
    view[:] = (mixed // 255).astype(np.uint8)


def draw_brow(canvas: Pixels, identity: Identity, actions: Actions, side: float) -> None:
    """Draw the brow at `side` (-1 left in the picture, 1 right)."""
    inner, outer, furrow = actions["inner_brow"], actions["outer_brow"], actions["brow_furrow"]
    rest = BROW_Y + identity.brow_height
    middle_x = EYE_X * identity.eye_distance
    start = (side * (middle_x - 0.19 - 0.035 * furrow), rest - 0.105 * inner + 0.025 * furrow)
    end = (side * (middle_x + 0.20), rest + 0.02 - 0.085 * outer)
    arch_y = 0.5 * (start[1] + end[1]) - 0.055 - 0.02 * outer
    spine = bent(start, (side * (middle_x + 0.03), arch_y), end, CURVE_POINTS)
    taper = np.linspace(1.0, 0.25, CURVE_POINTS) ** 0.8
    half = 0.030 * identity.brow_thickness * taper
    offset = np.stack([np.zeros(CURVE_POINTS), half], axis=1)
    shape = np.concatenate([spine - offset, (spine + offset)[::-1]])
    mixed = np.asarray(identity.hair) * 0.85 + np.asarray(identity.skin) * 0.15
    fill(canvas, shape, (float(mixed[0]), float(mixed[1]), float(mixed[2])))
