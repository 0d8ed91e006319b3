"""The head at rest: a lit surface with hair, ears and beard, drawn once per clip."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.synthesis.canvas import (
    HEIGHT_PX,
    SUBPIXEL_BITS,
    UNIT_PX,
    WIDTH_PX,
    Pixels,
    Plane,
    bump,
    grid,
    mask,
    over,
    to_canvas,
)
from pipelines.synthesis.hair import back_hair, front_hair, strands_of, with_beard
from pipelines.synthesis.identity import Identity
from pipelines.synthesis.seeds import Floats
from pipelines.synthesis.skull import half_width, outline_of

AMBIENT = 0.55
"""Light that reaches every point of the face."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """The head at rest on its canvas."""

    identity: Identity
    canvas: Pixels
    """[HEIGHT_PX, WIDTH_PX, 4]: red, green, blue (already times the opacity) and opacity."""


def draw_head(identity: Identity, light: Floats, rng: np.random.Generator) -> Head:
    """The head of `identity` under a distant light from the direction `light` [3].

    The direction is a unit vector with x to the right, y down and z towards the camera.
    """
    x, y = grid()
    face = mask(outline_of(identity))
    height = _relief(identity, x, y)
    shade = _lit(height, light)
    skin = np.asarray(identity.skin, np.float32) * shade[..., None]
    skin = _complexion(skin, identity, x, y, rng)
    skin = with_beard(skin, identity, x, y, rng)

    colour = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.float32)
    opacity = np.zeros((HEIGHT_PX, WIDTH_PX), np.float32)
    strands = strands_of(identity, rng)
    back = mask(back_hair(identity))
    over(colour, opacity, strands * 0.62, back)
    for side in (-1.0, 1.0):
        ear, ear_colour = _ear(identity, side, shade)
        over(colour, opacity, ear_colour, ear)
    over(colour, opacity, skin, face)
    hair_light = np.clip(0.75 + 0.9 * (shade - 0.75), 0.4, 1.4)[..., None]
    over(colour, opacity, strands * hair_light, front_hair(identity, x, y, face))
    layers = np.dstack([colour * opacity[..., None], opacity * 255])
    return Head(identity=identity, canvas=np.clip(layers, 0, 255).astype(np.uint8))


def _relief(identity: Identity, x: Plane, y: Plane) -> Plane:
    """Height of the face above the picture plane, in face units."""
    width = np.maximum(half_width(identity, y), 0.3)
    across = np.clip(np.abs(x) / (width * 1.06), 0, 1)
    along = np.clip(np.abs(y + 0.08) / 1.22, 0, 1)
    height = 0.62 * np.sqrt(np.maximum(1 - across**2.2, 0.0)) + 0.5 * np.sqrt(
        np.maximum(1 - along**2.4, 0.0)
    )
    eye_x = 0.31 * identity.eye_distance
    for side in (-1.0, 1.0):
        height -= 0.085 * bump(x, y, (side * eye_x, -0.10), (0.19, 0.12))
        height += 0.045 * bump(x, y, (side * 0.38, 0.20), (0.20, 0.20))
        height += 0.030 * bump(x, y, (side * 0.30, -0.32), (0.26, 0.08))
    tip = 0.25 * identity.nose_length
    rise = np.clip((y + 0.18) / (tip + 0.18), 0, 1) * (y < tip + 0.06)
    nose = 0.055 + 0.05 * rise
    height += (
        (0.05 + 0.17 * rise)
        * np.exp(-((x / (nose * identity.nose_width)) ** 2))
        * (1 / (1 + np.exp((y - tip - 0.02) / 0.02)))
        * (y > -0.3)
    )
    for side in (-1.0, 1.0):
        wing = side * 0.105 * identity.nose_width
        height += 0.05 * bump(x, y, (wing, tip - 0.01), (0.05, 0.05))
    height += 0.035 * bump(x, y, (0.0, 0.52), (0.26, 0.13))
    height -= 0.030 * bump(x, y, (0.0, 0.71), (0.20, 0.05))
    height += 0.045 * bump(x, y, (0.0, 0.86), (0.17, 0.10))
    return np.asarray(cv2.GaussianBlur(height.astype(np.float32), (0, 0), 2.5), np.float32)


def _lit(height: Plane, light: Floats) -> Plane:
    """Lambert's law with ambient light: 1 where the surface faces the light."""
    down, right = np.gradient(height, 1.0 / UNIT_PX)
    inverse = 1.0 / np.sqrt(1.0 + down**2 + right**2)
    facing = (-right * light[0] - down * light[1] + light[2]) * inverse
    diffuse = np.clip(facing, 0.0, 1.0)
    gloss = 0.10 * np.clip(facing, 0.0, 1.0) ** 24
    # Creases and the rim of the head get less of the light from all around.
    open_sky = np.clip(inverse, 0.0, 1.0) ** 0.35
    return np.asarray(AMBIENT * open_sky + (1.0 - AMBIENT) * 1.1 * diffuse + gloss, np.float32)


def _complexion(
    skin: Plane, identity: Identity, x: Plane, y: Plane, rng: np.random.Generator
) -> Plane:
    """Blush, shadows under the eyes and fine mottling."""
    eye_x = 0.31 * identity.eye_distance
    blush, shadow = np.zeros_like(x), np.zeros_like(x)
    for side in (-1.0, 1.0):
        blush += bump(x, y, (side * 0.42, 0.22), (0.20, 0.16))
        shadow += 0.8 * bump(x, y, (side * eye_x, -0.09), (0.20, 0.09))
        shadow += 0.5 * bump(x, y, (side * 0.12, -0.14), (0.06, 0.10))
    skin = skin * (1.0 - 0.16 * shadow[..., None])
    skin = skin * (1.0 - blush[..., None] * np.array([0.0, 0.07, 0.06], np.float32))
    coarse = rng.standard_normal((HEIGHT_PX // 3, WIDTH_PX // 3)).astype(np.float32)
    mottle = cv2.resize(coarse, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)
    return np.asarray(skin * (1.0 + 0.012 * mottle[..., None]), np.float32)


def _ear(identity: Identity, side: float, shade: Plane) -> tuple[Plane, Plane]:
    """Opacity and colour of one ear."""
    centre = to_canvas(np.array([side * 0.715 * identity.width, 0.06]))
    axes = (round(0.085 * UNIT_PX * 16), round(0.19 * UNIT_PX * 16))
    shape = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    point = (int(centre[0]), int(centre[1]))
    cv2.ellipse(shape, point, axes, side * 8.0, 0, 360, 255, -1, cv2.LINE_AA, SUBPIXEL_BITS)
    fold = np.zeros_like(shape)
    inner = (axes[0] // 2, int(axes[1] * 0.6))
    cv2.ellipse(fold, point, inner, side * 8.0, 0, 360, 255, -1, cv2.LINE_AA, SUBPIXEL_BITS)
    soft = np.asarray(cv2.GaussianBlur(fold, (0, 0), 3.0), np.float32) / 255
    tone = 0.80 * (1.0 - 0.25 * soft)
    colour = np.asarray(identity.skin, np.float32) * tone[..., None]
    return np.asarray(shape / 255, np.float32), np.asarray(colour, np.float32)
