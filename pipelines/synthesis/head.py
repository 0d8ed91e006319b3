"""The head at rest: a lit surface with hair, ears and beard, drawn once per clip.

Face units: the origin lies between the eyes' line and the nose, x to the right of the picture,
y down; the chin is at y = 1, the hairline near -0.8, the cheeks near x = -0.72 and 0.72.
The canvas has about twice the pixels of the picture, so that moving it there smooths its edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from pipelines.synthesis.identity import Identity
from pipelines.synthesis.seeds import Floats

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]

UNIT_PX = 136
"""Canvas pixels per face unit."""
LEFT, RIGHT, TOP, BOTTOM = -1.12, 1.12, -1.36, 1.34
WIDTH_PX = round((RIGHT - LEFT) * UNIT_PX)
HEIGHT_PX = round((BOTTOM - TOP) * UNIT_PX)
SUBPIXEL_BITS = 4

# Half-width of the head by height, from the widest place down to the chin; above it lies an
# ellipse up to the crown.
WIDEST_Y, CROWN_Y, CHIN_Y = -0.25, -1.17, 1.0
OUTLINE_Y = (WIDEST_Y, 0.05, 0.35, 0.62, 0.80, 0.92, 0.975, CHIN_Y)
OUTLINE_X = (0.715, 0.70, 0.655, 0.56, 0.42, 0.26, 0.14, 0.0)
JAW_FROM_Y = 0.2
AMBIENT = 0.55
"""Light that reaches every point of the face."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """The head at rest on its canvas."""

    identity: Identity
    canvas: Pixels
    """[HEIGHT_PX, WIDTH_PX, 4]: red, green, blue (already times the opacity) and opacity."""


def to_canvas(points: Floats) -> npt.NDArray[np.int32]:
    """Points [..., 2] in face units as OpenCV's fixed-point canvas coordinates."""
    scaled = (points - np.array([LEFT, TOP])) * (UNIT_PX << SUBPIXEL_BITS)
    return np.round(scaled).astype(np.int32)


def draw_head(identity: Identity, light: Floats, rng: np.random.Generator) -> Head:
    """The head of `identity` under a distant light from the direction `light` [3].

    The direction is a unit vector with x to the right, y down and z towards the camera.
    """
    x, y = _grid()
    face = _mask(_outline(identity))
    height = _relief(identity, x, y)
    shade = _lit(height, light)
    skin = np.asarray(identity.skin, np.float32) * shade[..., None]
    skin = _complexion(skin, identity, x, y, rng)
    skin = _beard(skin, identity, x, y, rng)

    colour = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.float32)
    opacity = np.zeros((HEIGHT_PX, WIDTH_PX), np.float32)
    strands = _strands(identity, rng)
    back = _mask(_back_hair(identity))
    _over(colour, opacity, strands * 0.62, back)
    for side in (-1.0, 1.0):
        ear, ear_colour = _ear(identity, side, shade)
        _over(colour, opacity, ear_colour, ear)
    _over(colour, opacity, skin, face)
    hair_light = np.clip(0.75 + 0.9 * (shade - 0.75), 0.4, 1.4)[..., None]
    _over(colour, opacity, strands * hair_light, _front_hair(identity, x, y, face))
    layers = np.dstack([colour * opacity[..., None], opacity * 255])
    return Head(identity=identity, canvas=np.clip(layers, 0, 255).astype(np.uint8))


def half_width(identity: Identity, y: Plane | float) -> Plane:
    """Half-width of the head at height `y`, in face units."""
    heights = np.asarray(y, np.float64)
    climb = np.clip((heights - WIDEST_Y) / (CROWN_Y - WIDEST_Y), 0.0, 1.0)
    upper = OUTLINE_X[0] * (1.0 - climb**2.3) ** 0.5
    jaw = PchipInterpolator(OUTLINE_Y, OUTLINE_X)(np.clip(heights, WIDEST_Y, CHIN_Y))
    width = np.where(heights < WIDEST_Y, upper, jaw) * identity.width
    lower = np.clip((np.asarray(y) - JAW_FROM_Y) / 0.35, 0.0, 1.0)
    return np.asarray(width * (1.0 + (identity.jaw - 1.0) * lower), np.float32)


def _grid() -> tuple[Plane, Plane]:
    columns = np.linspace(LEFT, RIGHT, WIDTH_PX, endpoint=False, dtype=np.float32)
    rows = np.linspace(TOP, BOTTOM, HEIGHT_PX, endpoint=False, dtype=np.float32)
    x, y = np.meshgrid(columns, rows)
    return x, y


def _outline(identity: Identity) -> Floats:
    # Points crowd at crown and chin, where the outline turns.
    angles = np.linspace(0.0, np.pi, 80)
    y = 0.5 * (CROWN_Y + CHIN_Y) - 0.5 * (CHIN_Y - CROWN_Y) * np.cos(angles)
    right = np.stack([half_width(identity, y.astype(np.float32)), y], axis=1)
    left = right[::-1] * np.array([-1.0, 1.0])
    return np.concatenate([right, left])


def _mask(polygon: Floats, blur_px: float = 1.2) -> Plane:
    canvas = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    cv2.fillPoly(canvas, [to_canvas(polygon)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    soft = cv2.GaussianBlur(canvas, (0, 0), blur_px)
    return np.asarray(soft, np.float32) / 255


def _over(colour: Plane, opacity: Plane, paint: Plane, mask: Plane) -> None:
    """Lay `paint` over what is there, in place."""
    colour += mask[..., None] * (paint - colour)
    opacity += mask * (1.0 - opacity)


def _bump(x: Plane, y: Plane, at: tuple[float, float], size: tuple[float, float]) -> Plane:
    square = ((x - at[0]) / size[0]) ** 2 + ((y - at[1]) / size[1]) ** 2
    return np.asarray(np.exp(-square), np.float32)


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
        height -= 0.085 * _bump(x, y, (side * eye_x, -0.10), (0.19, 0.12))
        height += 0.045 * _bump(x, y, (side * 0.38, 0.20), (0.20, 0.20))
        height += 0.030 * _bump(x, y, (side * 0.30, -0.32), (0.26, 0.08))
    tip = 0.25 * identity.nose_length
    rise = np.clip((y + 0.18) / (tip + 0.18), 0, 1) * (y < tip + 0.06)
    nose = 0.055 + 0.05 * rise
    height += (0.05 + 0.17 * rise) * np.exp(-((x / (nose * identity.nose_width)) ** 2)) * (
        1 / (1 + np.exp((y - tip - 0.02) / 0.02))
    ) * (y > -0.3)
    for side in (-1.0, 1.0):
        wing = side * 0.105 * identity.nose_width
        height += 0.05 * _bump(x, y, (wing, tip - 0.01), (0.05, 0.05))
    height += 0.035 * _bump(x, y, (0.0, 0.52), (0.26, 0.13))
    height -= 0.030 * _bump(x, y, (0.0, 0.71), (0.20, 0.05))
    height += 0.045 * _bump(x, y, (0.0, 0.86), (0.17, 0.10))
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
        blush += _bump(x, y, (side * 0.42, 0.22), (0.20, 0.16))
        shadow += 0.8 * _bump(x, y, (side * eye_x, -0.09), (0.20, 0.09))
        shadow += 0.5 * _bump(x, y, (side * 0.12, -0.14), (0.06, 0.10))
    skin = skin * (1.0 - 0.16 * shadow[..., None])
    skin = skin * (1.0 - blush[..., None] * np.array([0.0, 0.07, 0.06], np.float32))
    coarse = rng.standard_normal((HEIGHT_PX // 3, WIDTH_PX // 3)).astype(np.float32)
    mottle = cv2.resize(coarse, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)
    return np.asarray(skin * (1.0 + 0.012 * mottle[..., None]), np.float32)


def _beard(skin: Plane, identity: Identity, x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    if identity.beard == "none":
        return skin
    jaw = np.clip((y - 0.42 + 0.25 * np.abs(x)) / 0.12, 0, 1)
    moustache = _bump(np.abs(x), y, (0.12, 0.385), (0.16, 0.055))
    lips = _bump(x, y, (0.0, 0.53), (0.24, 0.09))
    cover = np.clip(np.maximum(jaw, moustache) - lips, 0, 1)
    grain = 0.75 + 0.25 * rng.standard_normal(x.shape).astype(np.float32)
    strength = 0.55 if identity.beard == "beard" else 0.2
    weight = np.clip(cover * strength * grain, 0, 1)[..., None]
    return np.asarray(skin * (1 - weight) + np.asarray(identity.hair, np.float32) * weight)


def _strands(identity: Identity, rng: np.random.Generator) -> Plane:
    """Hair colour [H, W, 3] with streaks from the crown downwards."""
    noise = rng.standard_normal((HEIGHT_PX // 8, WIDTH_PX // 2)).astype(np.float32)
    streaks = cv2.resize(noise, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)
    tone = np.clip(1.0 + 0.16 * np.asarray(streaks), 0.5, 1.6)
    return np.asarray(np.asarray(identity.hair, np.float32) * tone[..., None] * 1.15, np.float32)


def _back_hair(identity: Identity) -> Floats:
    """Outline of the hair behind the head."""
    puff = {"long": 0.13, "parted": 0.07, "bun": 0.04, "short": 0.04, "receding": 0.015}
    out = puff[identity.hair_style]
    down = {"long": 1.22, "parted": 0.25}.get(identity.hair_style, -0.05)
    top = CROWN_Y - out
    angles = np.linspace(0.0, np.pi / 2, 40)
    widest = float(half_width(identity, WIDEST_Y)) + out
    right = np.stack(
        [widest * np.sin(angles) ** 0.87, WIDEST_Y + (top - WIDEST_Y) * np.cos(angles) ** 0.87], 1
    )
    # Below the widest place it hangs straight, and its ends are rounded.
    turn = np.linspace(0.0, np.pi / 2, 12)
    ends = np.stack(
        [widest - 0.25 * (1 - np.cos(turn)), down - 0.15 + 0.15 * np.sin(turn)], 1
    )
    right = np.concatenate([right, ends])
    return np.concatenate([right, right[::-1] * np.array([-1.0, 1.0])])


def _front_hair(identity: Identity, x: Plane, y: Plane, face: Plane) -> Plane:
    """Opacity [H, W] of the hair over forehead and temples."""
    side = np.abs(x) / (0.70 * identity.width)
    line = identity.hairline + 0.0 * x
    if identity.hair_style == "receding":
        line = line - 0.06 - 0.13 * np.exp(-(((side - 0.55) / 0.22) ** 2))
    elif identity.hair_style in ("parted", "long"):
        line = line + 0.16 * np.clip(x * identity.part_side + 0.25, 0, 1) ** 1.5
    drop = np.clip((side - 0.72) / 0.28, 0, 1)
    temples = {"long": 1.3, "parted": 0.75, "bun": 0.45, "short": 0.45, "receding": 0.3}
    line = line + temples[identity.hair_style] * drop**1.6
    inside = np.clip((line - y) * UNIT_PX / 3.0 + 0.5, 0, 1)
    return np.asarray(inside * face, np.float32)


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
    return np.asarray(shape, np.float32) / 255, np.asarray(colour, np.float32)
