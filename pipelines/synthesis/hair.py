"""Hair and beard."""

from __future__ import annotations

import cv2
import numpy as np

from pipelines.synthesis.canvas import HEIGHT_PX, UNIT_PX, WIDTH_PX, Plane, bump
from pipelines.synthesis.identity import Identity
from pipelines.synthesis.seeds import Floats
from pipelines.synthesis.skull import CROWN_Y, WIDEST_Y, half_width


def strands_of(identity: Identity, rng: np.random.Generator) -> Plane:
    """Hair colour [H, W, 3] with streaks from the crown downwards."""
    noise = rng.standard_normal((HEIGHT_PX // 8, WIDTH_PX // 2)).astype(np.float32)
    streaks = cv2.resize(noise, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)
    tone = np.clip(1.0 + 0.16 * np.asarray(streaks), 0.5, 1.6)
    return np.asarray(np.asarray(identity.hair, np.float32) * tone[..., None] * 1.15, np.float32)


def back_hair(identity: Identity) -> Floats:
    """Outline of the hair behind the head."""
    puff = {"long": 0.13, "parted": 0.07, "tied": 0.04, "short": 0.04, "receding": 0.015}
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
    ends = np.stack([widest - 0.25 * (1 - np.cos(turn)), down - 0.15 + 0.15 * np.sin(turn)], 1)
    right = np.concatenate([right, ends])
    return np.concatenate([right, right[::-1] * np.array([-1.0, 1.0])])


def front_hair(identity: Identity, x: Plane, y: Plane, face: Plane) -> Plane:
    """Opacity [H, W] of the hair over forehead and temples."""
    side = np.abs(x) / (0.70 * identity.width)
    line = identity.hairline + 0.0 * x
    if identity.hair_style == "receding":
        line = line - 0.06 - 0.13 * np.exp(-(((side - 0.55) / 0.22) ** 2))
    elif identity.hair_style in ("parted", "long"):
        line = line + 0.16 * np.clip(x * identity.part_side + 0.25, 0, 1) ** 1.5
    drop = np.clip((side - 0.72) / 0.28, 0, 1)
    temples = {"long": 1.3, "parted": 0.75, "tied": 0.45, "short": 0.45, "receding": 0.3}
    line = line + temples[identity.hair_style] * drop**1.6
    inside = np.clip((line - y) * UNIT_PX / 3.0 + 0.5, 0, 1)
    return np.asarray(inside * face, np.float32)


def with_beard(
    skin: Plane, identity: Identity, x: Plane, y: Plane, rng: np.random.Generator
) -> Plane:
    """`skin` [H, W, 3] with the identity's beard."""
    if identity.beard == "none":
        return skin
    jaw = np.clip((y - 0.42 + 0.25 * np.abs(x)) / 0.12, 0, 1)
    moustache = bump(np.abs(x), y, (0.12, 0.385), (0.16, 0.055))
    lips = bump(x, y, (0.0, 0.53), (0.24, 0.09))
    cover = np.clip(np.maximum(jaw, moustache) - lips, 0, 1)
    grain = 0.75 + 0.25 * rng.standard_normal(x.shape).astype(np.float32)
    strength = 0.55 if identity.beard == "beard" else 0.2
    weight = np.clip(cover * strength * grain, 0, 1)[..., None]
    return np.asarray(skin * (1 - weight) + np.asarray(identity.hair, np.float32) * weight)
