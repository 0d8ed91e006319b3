"""The picture: a moving head before a body and a wall, under a drifting light, with noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.synthesis.acting import Acting
from pipelines.synthesis.backdrop import FACE_UNIT_PX, HEAD_CENTRE, HEIGHT, WIDTH, draw_backdrop
from pipelines.synthesis.canvas import BOTTOM, LEFT, RIGHT, TOP, UNIT_PX, Pixels
from pipelines.synthesis.emotions import (
    FACE_ACTION_NAMES,
    SENSOR_NOISE,
    SENSOR_NOISE_GAIN,
    SIDE_LIGHT,
    SIDE_LIGHT_GAIN,
    Actions,
)
from pipelines.synthesis.features import JAW_DROP, draw_features, drop_jaw
from pipelines.synthesis.head import Head, draw_head
from pipelines.synthesis.identity import Identity
from pipelines.synthesis.seeds import Floats, smooth_walk
from pipelines.synthesis.speech import FRAME_RATE

FACE_BOX = (-0.71, -0.80, 0.71, 0.955)
"""Left, top, right, bottom of the true box in face units: between the square box of a Haar cascade
and the tall ones of YuNet and SSD, which all three are meant to overlap."""
NOISE_MARGIN = 48

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """What stays the same over a clip."""

    head: Head
    backdrop: Pixels
    """[HEIGHT, WIDTH, 3] RGB: the wall, the neck and the shoulders."""
    grain: npt.NDArray[np.float32]
    """[HEIGHT + NOISE_MARGIN, WIDTH + NOISE_MARGIN, 3]; each frame shows another part of it."""
    gain: Floats
    """[frames] drift of the light's strength."""
    tint: npt.NDArray[np.float32]
    """[HEIGHT, WIDTH, 3] colour and unevenness of the light."""


def draw_scene(
    identity: Identity, frames: int, difficulty: float, rng: np.random.Generator
) -> Scene:
    """The place and the light of one clip of `frames` frames."""
    side = (SIDE_LIGHT + SIDE_LIGHT_GAIN * difficulty) * rng.uniform(-1.0, 1.0)
    light = np.array([side, rng.uniform(-0.55, -0.25), 0.9])
    light /= np.linalg.norm(light)
    times = np.arange(frames) / FRAME_RATE
    drift = 0.02 * (1 + 2 * difficulty) * smooth_walk(rng, times, 0.1, 0.5)
    gain = rng.uniform(1.0 - 0.2 * difficulty, 1.0 + 0.1 * difficulty) * (1.0 + drift)
    size = (HEIGHT + NOISE_MARGIN, WIDTH + NOISE_MARGIN, 1)
    sigma = SENSOR_NOISE + SENSOR_NOISE_GAIN * difficulty
    luma = rng.standard_normal(size, dtype=np.float32)
    colour = rng.standard_normal((*size[:2], 3), dtype=np.float32)
    across = np.linspace(-0.5, 0.5, WIDTH, dtype=np.float32)[None, :, None]
    warmth = 1.0 + 0.03 * rng.standard_normal(3).astype(np.float32)
    tint = np.broadcast_to((1.0 + 0.3 * side * across) * warmth, (HEIGHT, WIDTH, 3))
    return Scene(
        head=draw_head(identity, light, rng),
        backdrop=draw_backdrop(identity, float(side), rng),
        grain=np.asarray(sigma * (0.85 * luma + 0.5 * colour), np.float32),
        gain=gain,
        tint=np.ascontiguousarray(tint, dtype=np.float32),
    )


def film(
    scene: Scene, acting: Acting, rng: np.random.Generator, wanted: Iterable[int] | None = None
) -> Iterator[tuple[Pixels, Box]]:
    """Yield each frame [HEIGHT, WIDTH, 3] RGB with the true box of the face in it, in pixels.

    `wanted` are the indices of the frames to draw, all by default.
    """
    offsets = rng.integers(0, NOISE_MARGIN, size=(len(acting.actions), 2))
    for index in range(len(acting.actions)) if wanted is None else wanted:
        row = acting.actions[index].tolist()
        actions = dict(zip(FACE_ACTION_NAMES, row, strict=True))
        pose = _pose(acting, index)
        pixels = _paste_head(scene, actions, float(acting.gaze[index]), pose)
        lit = pixels * scene.tint
        lit *= float(scene.gain[index])
        top, left = offsets[index].tolist()
        lit += scene.grain[top : top + HEIGHT, left : left + WIDTH]
        frame = np.clip(lit, 0, 255, out=lit).astype(np.uint8)
        yield frame, _face_box(pose, actions["mouth_open"], scene.head.identity)


def _pose(acting: Acting, index: int) -> Floats:
    """The affine map [2, 3] from face units to picture pixels."""
    angle = np.deg2rad(acting.roll_degrees[index])
    scale = FACE_UNIT_PX * acting.zoom[index]
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # The head turns about the neck, not about the nose.
    pivot = np.array([0.0, 0.9])
    place = np.array(HEAD_CENTRE) + acting.shift_px[index] + scale * pivot - turn @ pivot
    return np.concatenate([turn, place[:, None]], axis=1)


def _paste_head(scene: Scene, actions: Actions, gaze: float, pose: Floats) -> Pixels:
    head = scene.head
    opening = min(max(actions["mouth_open"], 0.0), 1.1)
    layer = drop_jaw(head.canvas, opening)
    draw_features(layer, head.identity, actions, gaze)

    corners = np.array([[LEFT, TOP], [RIGHT, TOP], [RIGHT, BOTTOM], [LEFT, BOTTOM]])
    seen = corners @ pose[:, :2].T + pose[:, 2]
    x0, y0 = np.maximum(np.floor(seen.min(axis=0)), 0).astype(int).tolist()
    x1, y1 = np.minimum(np.ceil(seen.max(axis=0)), [WIDTH, HEIGHT]).astype(int).tolist()
    # From canvas pixels, through face units, to the pixels of the part that the head covers.
    move = np.empty((2, 3))
    move[:, :2] = pose[:, :2] / UNIT_PX
    move[:, 2] = pose @ np.array([LEFT, TOP, 1.0]) - np.array([x0, y0])
    moved = cv2.warpAffine(layer, move, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    red, green, blue, opacity = cv2.split(moved)
    clear = cv2.bitwise_not(opacity)
    frame = scene.backdrop.copy()
    behind = cv2.multiply(frame[y0:y1, x0:x1], cv2.merge([clear] * 3), scale=1 / 255)
    frame[y0:y1, x0:x1] = cv2.add(cv2.merge([red, green, blue]), behind)
    return frame


def _face_box(pose: Floats, mouth_open: float, identity: Identity) -> Box:
    left, top, right, bottom = FACE_BOX
    bottom += JAW_DROP * min(max(mouth_open, 0.0), 1.1)
    middle = pose @ np.array([(left + right) / 2, (top + bottom) / 2, 1.0])
    scale = float(np.hypot(pose[0, 0], pose[1, 0]))
    half_x, half_y = scale * identity.width * (right - left) / 2, scale * (bottom - top) / 2
    x0, x1 = float(middle[0]) - half_x, float(middle[0]) + half_x
    y0, y1 = float(middle[1]) - half_y, float(middle[1]) + half_y
    return x0, y0, x1, y1
