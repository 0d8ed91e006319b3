"""Brows, eyes, nose, mouth and wrinkles, drawn on a head for one moment's facial actions."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.synthesis.head import (
    HEIGHT_PX,
    LEFT,
    SUBPIXEL_BITS,
    TOP,
    UNIT_PX,
    WIDTH_PX,
    Pixels,
    to_canvas,
)
from pipelines.synthesis.identity import Colour, Identity
from pipelines.synthesis.seeds import Floats

Actions = Mapping[str, float]

EYE_Y, EYE_X, EYE_HALF_WIDTH = -0.10, 0.31, 0.155
MOUTH_Y, MOUTH_HALF_WIDTH = 0.53, 0.265
BROW_Y = -0.31
WRINKLES_FROM, WRINKLES_TO = (-0.64, -0.74), (0.64, 0.84)
"""Corners of the part of the face that may wrinkle."""
JAW_TOP_Y = 0.36
"""The face above this height does not follow the jaw."""
JAW_DROP = 0.13
"""Fall of the chin when the mouth is wide open, in face units."""
CURVE_POINTS = 17

TEETH: Colour = (235, 230, 220)
MOUTH_INSIDE: Colour = (64, 20, 22)
TONGUE: Colour = (150, 70, 70)
EYE_WHITE: Colour = (232, 228, 224)


def draw_features(canvas: Pixels, identity: Identity, actions: Actions, gaze: float) -> None:
    """Draw the face's features on `canvas` [HEIGHT_PX, WIDTH_PX, 4] in place.

    `gaze` is how far the eyes look to the right, of their half-width.
    """
    _wrinkles(canvas, identity, actions)
    _nose(canvas, identity, actions)
    for side in (-1.0, 1.0):
        _eye(canvas, identity, actions, side, gaze)
        _brow(canvas, identity, actions, side)
    _mouth(canvas, identity, actions)


def drop_jaw(layer: Pixels, opening: float) -> Pixels:
    """Stretch the lower face of a canvas, as an open mouth (`opening` 0 to 1) does."""
    row = round((JAW_TOP_Y - TOP) * UNIT_PX)
    below = layer[row:]
    factor = 1.0 + JAW_DROP * opening / (1.0 - JAW_TOP_Y)
    size = (WIDTH_PX, round(len(below) * factor))
    moved = layer.copy()
    moved[row:] = cv2.resize(below, size, interpolation=cv2.INTER_LINEAR)[: HEIGHT_PX - row]
    return moved


def _fill(canvas: Pixels, points: Floats, colour: Colour) -> None:
    cv2.fillPoly(canvas, [to_canvas(points)], (*colour, 255.0), cv2.LINE_AA, SUBPIXEL_BITS)


def _line(canvas: Pixels, points: Floats, colour: Colour | int, width: float) -> None:
    thickness = max(1, round(width * UNIT_PX))
    paint = (colour,) if isinstance(colour, int) else (*colour, 255.0)
    cv2.polylines(canvas, [to_canvas(points)], False, paint, thickness, cv2.LINE_AA, SUBPIXEL_BITS)


def _bent(start: tuple[float, float], middle: tuple[float, float], end: tuple[float, float],
          count: int = 9) -> Floats:  # fmt: skip
    """A quadratic Bezier curve [count, 2]."""
    t = np.linspace(0.0, 1.0, count)[:, None]
    a, b, c = (np.array(point) for point in (start, middle, end))
    curve: Floats = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
    return curve


def _darker(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def _wrinkles(canvas: Pixels, identity: Identity, actions: Actions) -> None:
    """Folds that an expression makes, as soft dark lines."""
    left, top = to_canvas(np.array(WRINKLES_FROM)) >> SUBPIXEL_BITS
    right, bottom = to_canvas(np.array(WRINKLES_TO)) >> SUBPIXEL_BITS
    face = canvas[top:bottom, left:right]
    shade = np.full(face.shape[:2], 255, np.uint8)

    def fold(points: Floats, strength: float, width: float = 0.022) -> None:
        depth = min(strength, 1.2)
        if depth > 0.03:
            moved = points - np.array(WRINKLES_FROM) + np.array([LEFT, TOP])
            _line(shade, moved, round(255 * (1.0 - 0.6 * depth)), width)

    lift = max(actions["upper_lip"], actions["nose_wrinkle"])
    smile = actions["mouth_corner"]
    stretch = actions["mouth_stretch"]
    corner_x = MOUTH_HALF_WIDTH * identity.mouth_width * (1.0 + 0.2 * stretch + 0.12 * smile)
    raised = 0.5 * (actions["inner_brow"] + actions["outer_brow"])
    for index in range(3):
        level = -0.50 - 0.085 * index
        fold(
            _bent((-0.36, level + 0.03), (0.0, level - 0.03), (0.36, level + 0.03)),
            0.55 * raised - 0.05 * index,
            0.016,
        )
    for side in (-1.0, 1.0):
        end_y = MOUTH_Y - 0.09 * smile + 0.02
        fold(
            _bent(
                (side * 0.15, 0.21 - 0.04 * lift),
                (side * (0.30 + 0.05 * max(smile, 0.0)), 0.30),
                (side * (corner_x + 0.07), end_y),
            ),
            0.18 + 0.5 * max(smile, 0.0) + 0.55 * lift,
            0.026,
        )
        furrow = actions["brow_furrow"]
        fold(_bent((side * 0.045, -0.42), (side * 0.06, -0.34), (side * 0.05, -0.24)), furrow)
        wrinkle = actions["nose_wrinkle"]
        for step in range(3):
            level = -0.07 + 0.07 * step
            fold(_bent((side * 0.03, level), (side * 0.09, level - 0.01), (side * 0.15, level + 0.05)),
                 0.8 * wrinkle, 0.018)  # fmt: skip
        eye_x = side * EYE_X * identity.eye_distance
        bulge = max(actions["cheek"], 0.6 * actions["lower_lid"])
        fold(_bent((eye_x - 0.15, 0.0), (eye_x, 0.08 - 0.03 * bulge), (eye_x + 0.15, 0.0)),
             0.12 + 0.6 * bulge, 0.02)  # fmt: skip
        outer = eye_x + side * 0.17
        for turn in (-0.05, 0.03):
            fold(_bent((outer, EYE_Y + turn / 2), (outer + side * 0.05, EYE_Y + turn),
                       (outer + side * 0.10, EYE_Y + 2 * turn)), 0.6 * actions["cheek"], 0.014)  # fmt: skip
        if smile < 0:
            fold(_bent((side * (corner_x + 0.02), MOUTH_Y + 0.05), (side * (corner_x + 0.04), 0.65),
                       (side * (corner_x + 0.01), 0.72)), -0.6 * smile)  # fmt: skip
    press = actions["lip_press"]
    fold(_bent((-0.14, 0.67), (0.0, 0.645), (0.14, 0.67)), 0.25 + 0.4 * max(press, 0.0), 0.03)
    soft = cv2.GaussianBlur(shade, (9, 9), 2.2)
    whole = np.full_like(shade, 255)
    face[:] = cv2.multiply(face, cv2.merge([soft, soft, soft, whole]), scale=1 / 255)


def _nose(canvas: Pixels, identity: Identity, actions: Actions) -> None:
    tip = 0.25 * identity.nose_length - 0.03 * actions["nose_wrinkle"]
    wide = identity.nose_width * (1.0 + 0.10 * actions["nose_wrinkle"])
    dark = _darker(identity.skin, 0.32)
    shadow = _darker(identity.skin, 0.60)
    for side in (-1.0, 1.0):
        x = side * 0.062 * wide
        _fill(canvas, _oval((x, tip + 0.035), (0.034 * wide, 0.017), 33), dark)
        _line(
            canvas,
            _bent((side * 0.135 * wide, tip - 0.06), (side * 0.165 * wide, tip + 0.02),
                  (side * 0.11 * wide, tip + 0.04)),
            shadow, 0.014,
        )  # fmt: skip
    _line(canvas, _bent((-0.03, tip + 0.055), (0.0, tip + 0.065), (0.03, tip + 0.055)), shadow, 0.014)


def _oval(centre: tuple[float, float], radii: tuple[float, float], count: int) -> Floats:
    angles = np.linspace(0.0, 2 * np.pi, count)
    return np.stack(
        [centre[0] + radii[0] * np.cos(angles), centre[1] + radii[1] * np.sin(angles)], axis=1
    )


def _eye(canvas: Pixels, identity: Identity, actions: Actions, side: float, gaze: float) -> None:
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
    patch[:] = (*(round(part) for part in _darker(EYE_WHITE, bright)), 255)
    shift = corner.astype(np.int32) << SUBPIXEL_BITS

    def disc(at: tuple[float, float], radius: float, colour: Colour) -> None:
        points = to_canvas(_oval(at, (radius, radius), 25)) - shift
        cv2.fillPoly(patch, [points], (*colour, 255.0), cv2.LINE_AA, SUBPIXEL_BITS)

    look = (centre_x + gaze * half, EYE_Y - 0.012)
    radius = 0.078 * identity.eye_size**0.5
    disc(look, radius, _darker(identity.iris, 0.45))
    disc(look, radius * 0.86, identity.iris)
    disc(look, radius * 0.45, (12.0, 10.0, 10.0))
    disc((look[0] + 0.026, look[1] - 0.028), 0.017, (250.0, 250.0, 250.0))
    # The upper lid throws a shadow on the ball.
    rim = to_canvas(top + np.array([0.0, 0.012])) - shift
    shadow = (*_darker(EYE_WHITE, 0.6 * bright), 255.0)
    cv2.polylines(patch, [rim], False, shadow, 3, cv2.LINE_AA, SUBPIXEL_BITS)
    cv2.fillPoly(through, [to_canvas(almond) - shift], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    _through(view, patch, through)

    dark = _darker(identity.hair, 0.5)
    lash = 0.030 if identity.sex == "female" else 0.021
    _line(canvas, top, dark, lash)
    _line(canvas, bottom, _darker(identity.skin, 0.55), 0.011)
    crease = top[2:-2] - np.array([0.0, 0.040 + 0.014 * closed])
    _line(canvas, crease, _darker(identity.skin, 0.66), 0.013)


def _through(view: Pixels, patch: Pixels, opacity: npt.NDArray[np.uint8]) -> None:
    """Blend `patch` into `view` in place where `opacity` (0 to 255) lets it."""
    weight = opacity.astype(np.uint16)[..., None]
    mixed = view.astype(np.uint16) * (255 - weight) + patch.astype(np.uint16) * weight
    view[:] = (mixed // 255).astype(np.uint8)


def _brow(canvas: Pixels, identity: Identity, actions: Actions, side: float) -> None:
    inner, outer, furrow = actions["inner_brow"], actions["outer_brow"], actions["brow_furrow"]
    rest = BROW_Y + identity.brow_height
    middle_x = EYE_X * identity.eye_distance
    start = (side * (middle_x - 0.19 - 0.035 * furrow), rest - 0.105 * inner + 0.025 * furrow)
    end = (side * (middle_x + 0.20), rest + 0.02 - 0.085 * outer)
    arch_y = 0.5 * (start[1] + end[1]) - 0.055 - 0.02 * outer
    spine = _bent(start, (side * (middle_x + 0.03), arch_y), end, CURVE_POINTS)
    taper = np.linspace(1.0, 0.25, CURVE_POINTS) ** 0.8
    half = 0.030 * identity.brow_thickness * taper
    offset = np.stack([np.zeros(CURVE_POINTS), half], axis=1)
    shape = np.concatenate([spine - offset, (spine + offset)[::-1]])
    mixed = np.asarray(identity.hair) * 0.85 + np.asarray(identity.skin) * 0.15
    _fill(canvas, shape, (float(mixed[0]), float(mixed[1]), float(mixed[2])))


def _mouth(canvas: Pixels, identity: Identity, actions: Actions) -> None:
    stretch, smile = actions["mouth_stretch"], actions["mouth_corner"]
    lift, press = actions["upper_lip"], float(np.clip(actions["lip_press"], 0.0, 1.0))
    opening = float(np.clip(actions["mouth_open"], 0.0, 1.1))
    wide = MOUTH_HALF_WIDTH * identity.mouth_width * (
        1.0 + 0.22 * stretch + 0.12 * smile - 0.10 * opening
    )  # fmt: skip
    u = np.linspace(-1.0, 1.0, 2 * CURVE_POINTS - 1)
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
        return np.concatenate(
            [np.stack([x, over], axis=1), np.stack([x, under], axis=1)[::-1]]
        )

    if gap > 0.015:
        _fill(canvas, band(inner_top, inner_bottom), MOUTH_INSIDE)
        back = np.maximum(1.0 - (u / 0.72) ** 2, 0.0)
        tongue_top = inner_bottom - 0.38 * (inner_bottom - inner_top) * back
        _fill(canvas, band(tongue_top, inner_bottom), TONGUE)
        room = 0.8 * (inner_bottom - inner_top)
        shown = np.minimum((0.045 + 0.035 * max(smile, lift, 0.0)) * (1.0 - u**4), room)
        _fill(canvas, band(inner_top, inner_top + shown), TEETH)
    _fill(canvas, band(outer_top, inner_top), _darker(identity.lips, 0.84))
    _fill(canvas, band(inner_bottom, outer_bottom), identity.lips)
    shine = np.stack([0.45 * x, inner_bottom + 0.45 * lower * np.ones_like(u)], axis=1)
    _line(canvas, shine, _darker(identity.lips, 1.14), 0.015)
    seam = _darker(identity.lips, 0.42)
    _line(canvas, np.stack([x, inner_top], axis=1), seam, 0.016 if gap <= 0.015 else 0.010)
