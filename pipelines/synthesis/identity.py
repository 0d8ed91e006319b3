"""What a face has whatever it expresses: proportions, colours, hair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]
"""Red, green, blue, each 0 to 255."""

SKINS: tuple[Colour, ...] = (
    (236, 200, 180), (205, 150, 115), (160, 110, 80), (226, 182, 150), (140, 94, 68),
    (240, 208, 188), (190, 136, 100), (214, 168, 136),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (52, 36, 26), (26, 22, 22), (110, 72, 40), (30, 24, 22), (76, 48, 30), (150, 112, 62),
    (40, 30, 26), (120, 60, 34),
)  # fmt: skip
IRISES: tuple[Colour, ...] = ((74, 48, 28), (60, 90, 120), (70, 96, 60), (50, 34, 24))
HAIR_STYLES = {"female": ("long", "parted", "tied"), "male": ("short", "parted", "receding")}
BEARDS = ("none", "stubble", "none", "beard")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Proportions are of the usual face (1.0), lengths in face units (see `head.py`)."""

    sex: str
    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    hair_style: str
    beard: str
    width: float
    jaw: float
    hairline: float
    eye_size: float
    eye_distance: float
    brow_thickness: float
    brow_height: float
    nose_length: float
    nose_width: float
    mouth_width: float
    lip_thickness: float
    part_side: int
    """-1 or 1: the side of the hair's parting."""


def draw_identity(sex: str, index: int, rng: np.random.Generator) -> Identity:
    """The face of the subject with number `index` (0 first): neighbours in number differ in skin.

    A small corpus would otherwise, by chance, consist of one complexion.
    """
    skin = _varied(SKINS[index % len(SKINS)], 8.0, rng)
    hair = _varied(HAIRS[int(rng.integers(len(HAIRS)))], 6.0, rng)
    dark = sum(skin) < 400
    iris = IRISES[0] if dark else IRISES[int(rng.integers(len(IRISES)))]
    female = sex == "female"
    redness = 0.78 if female else 0.88
    lips = (skin[0] * 0.86, skin[1] * redness * 0.72, skin[2] * redness * 0.76)
    return Identity(
        sex=sex,
        skin=skin,
        hair=hair if not dark else _varied(HAIRS[1], 4.0, rng),
        iris=iris,
        lips=lips,
        hair_style=str(rng.choice(HAIR_STYLES[sex])),
        beard="none" if female else str(rng.choice(BEARDS)),
        width=float(rng.uniform(0.95, 1.05)),
        jaw=float(rng.uniform(0.92, 1.0) if female else rng.uniform(1.0, 1.1)),
        hairline=float(rng.uniform(-0.84, -0.74)),
        eye_size=float(rng.uniform(1.0, 1.2) if female else rng.uniform(0.9, 1.08)),
        eye_distance=float(rng.uniform(0.95, 1.06)),
        brow_thickness=float(rng.uniform(0.65, 1.0) if female else rng.uniform(0.95, 1.4)),
        brow_height=float(rng.normal(0.0, 0.015)),
        nose_length=float(rng.uniform(0.93, 1.07)),
        nose_width=float(rng.uniform(0.85, 1.15)),
        mouth_width=float(rng.uniform(0.92, 1.08)),
        lip_thickness=float(rng.uniform(0.95, 1.3) if female else rng.uniform(0.7, 1.05)),
        part_side=1 if rng.random() < 0.5 else -1,
    )


def _varied(colour: Colour, spread: float, rng: np.random.Generator) -> Colour:
    shift = rng.normal(0.0, spread)
    red, green, blue = (float(np.clip(c + shift, 8, 250)) for c in colour)
    return red, green, blue
