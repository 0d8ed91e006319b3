"""How a clip moves: expression from rest to apex and back, lips, blinks, head and light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.synthesis.articulation import HOP, SAMPLE_RATE
from pipelines.synthesis.emotions import APEX_WANDER, FACE_ACTION_NAMES
from pipelines.synthesis.expression import spread
from pipelines.synthesis.seeds import Floats, smooth_walk
from pipelines.synthesis.speech import FRAME_RATE, Timing

LIP_MOVEMENT = 0.50
"""Opening of the mouth for the most open vowel."""
BLINK_S = 0.20
SWAY_PX, ROLL_DEGREES, ZOOM = 3.0, 1.6, 0.010
"""Deviations of the head's place, roll and size over a clip."""
ACTION_LIMIT = 1.3


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """When the expression starts, is whole, starts to fade and is gone, in seconds."""

    onset_s: float
    apex_start_s: float
    apex_end_s: float
    offset_s: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Acting:
    """One value or row for each video frame."""

    actions: Floats
    """[frames, actions] in `FACE_ACTION_NAMES` order."""
    gaze: Floats
    shift_px: Floats
    """[frames, 2] of the head from its place, in picture pixels."""
    roll_degrees: Floats
    zoom: Floats


def draw_ramp(timing: Timing, rng: np.random.Generator) -> Ramp:
    """Rest before the speech, the apex along it, rest after it (the paper's figure 3)."""
    start, end = timing.voice_start_s, timing.voice_end_s
    return Ramp(
        onset_s=start - float(rng.uniform(0.30, 0.45)),
        apex_start_s=start + float(rng.uniform(-0.05, 0.08)),
        apex_end_s=end - float(rng.uniform(0.0, 0.12)),
        offset_s=end + float(rng.uniform(0.25, 0.45)),
    )


def act(
    timing: Timing,
    ramp: Ramp,
    rest: Floats,
    apex: Floats,
    lips: Floats,
    difficulty: float,
    rng: np.random.Generator,
) -> Acting:
    """Move a face from `rest` to `apex` [actions] along `ramp` while it speaks.

    `lips` [hops] is the openness of the lips on the clip's clock, as `articulate` gives it.
    """
    times = np.arange(timing.frames) / FRAME_RATE
    risen = _smooth_step(times, ramp.onset_s, ramp.apex_start_s)
    fallen = _smooth_step(times, ramp.apex_end_s, ramp.offset_s)
    wander = APEX_WANDER * spread(difficulty) * smooth_walk(rng, times, 0.4, 1.2)
    strength = (risen - fallen) * np.clip(1.0 + 0.5 * wander, 0.0, 1.3)
    actions = rest[None, :] + strength[:, None] * (apex - rest)[None, :]
    place = {name: index for index, name in enumerate(FACE_ACTION_NAMES)}
    at_frames = np.interp(times, np.arange(len(lips)) * (HOP / SAMPLE_RATE), lips)
    mouth = np.clip(actions[:, place["mouth_open"]], 0.0, 1.0)
    # A wide open mouth speaks too, with what room is left.
    actions[:, place["mouth_open"]] = mouth + LIP_MOVEMENT * at_frames * (1.0 - 0.6 * mouth)
    actions[:, place["lip_press"]] *= 1.0 - 0.7 * at_frames
    actions = np.clip(actions, -ACTION_LIMIT, ACTION_LIMIT)
    lid = place["upper_lid"]
    closed = _blinks(times, rng)
    actions[:, lid] = np.maximum(actions[:, lid], -0.75) * (1.0 - closed) - closed
    return Acting(
        actions=actions,
        gaze=np.clip(0.06 * smooth_walk(rng, times, 0.2, 0.7), -0.25, 0.25),
        shift_px=np.stack([SWAY_PX * smooth_walk(rng, times, 0.1, 0.7) for _ in range(2)], axis=1),
        roll_degrees=ROLL_DEGREES * smooth_walk(rng, times, 0.1, 0.6) + rng.normal(0.0, 1.2),
        zoom=(1.0 + ZOOM * smooth_walk(rng, times, 0.1, 0.5)) * rng.uniform(0.94, 1.08),
    )


def _smooth_step(times: Floats, start_s: float, end_s: float) -> Floats:
    t = np.clip((times - start_s) / (end_s - start_s), 0.0, 1.0)
    step: Floats = t * t * (3.0 - 2.0 * t)
    return step


def _blinks(times: Floats, rng: np.random.Generator) -> Floats:
    """How far the eyes are closed for a blink [frames], 0 to 1."""
    closed = np.zeros_like(times)
    moment = rng.uniform(0.2, 2.5)
    while moment < times[-1]:
        away = np.abs(times - moment) / (BLINK_S / 2)
        closed = np.maximum(closed, np.clip(1.3 * (1.0 - away), 0.0, 1.0))
        moment += rng.uniform(1.8, 4.0)
    return closed
