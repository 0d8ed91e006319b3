"""The outline of the head without its hair."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from pipelines.synthesis.canvas import Plane
from pipelines.synthesis.identity import Identity
from pipelines.synthesis.seeds import Floats

# Half-width of the head by height, from the widest place down to the chin; above it lies an
# ellipse up to the crown.
WIDEST_Y, CROWN_Y, CHIN_Y = -0.25, -1.17, 1.0
OUTLINE_Y = (WIDEST_Y, 0.05, 0.35, 0.62, 0.80, 0.92, 0.975, CHIN_Y)
OUTLINE_X = (0.715, 0.70, 0.655, 0.56, 0.42, 0.26, 0.14, 0.0)
JAW_FROM_Y = 0.2


def half_width(identity: Identity, y: Plane | float) -> Plane:
    """Half-width of the head at height `y`, in face units."""
    heights = np.asarray(y, np.float64)
    climb = np.clip((heights - WIDEST_Y) / (CROWN_Y - WIDEST_Y), 0.0, 1.0)
    upper = OUTLINE_X[0] * (1.0 - climb**2.3) ** 0.5
    jaw = PchipInterpolator(OUTLINE_Y, OUTLINE_X)(np.clip(heights, WIDEST_Y, CHIN_Y))
    width = np.where(heights < WIDEST_Y, upper, jaw) * identity.width
    lower = np.clip((np.asarray(y) - JAW_FROM_Y) / 0.35, 0.0, 1.0)
    return np.asarray(width * (1.0 + (identity.jaw - 1.0) * lower), np.float32)


def outline_of(identity: Identity) -> Floats:
    """The head without ears as a polygon [n, 2]."""
    # Points crowd at crown and chin, where the outline turns.
    angles = np.linspace(0.0, np.pi, 80)
    y = 0.5 * (CROWN_Y + CHIN_Y) - 0.5 * (CHIN_Y - CROWN_Y) * np.cos(angles)
    right = np.stack([half_width(identity, y.astype(np.float32)), y], axis=1)
    left = right[::-1] * np.array([-1.0, 1.0])
    return np.concatenate([right, left])
