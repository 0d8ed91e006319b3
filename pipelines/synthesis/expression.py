"""How strongly, and how unmistakably, a clip shows its emotion: drawn by chance."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np

from pipelines.synthesis.emotions import (
    FACE_ACTION_NAMES,
    FACE_CLIP_SPREAD,
    FACE_INTENSITY,
    FACE_INTENSITY_LOSS,
    FACE_NEIGHBOUR,
    FACE_NEUTRAL,
    FACE_PROTOTYPES,
    FACE_SUBJECT_SPREAD,
    INTENSITY_SPREAD,
    NEIGHBOUR_SHARE,
    SPREAD_FLOOR,
    VOICE_CLIP_SPREAD,
    VOICE_HIGHEST,
    VOICE_INTENSITY,
    VOICE_INTENSITY_LOSS,
    VOICE_LOWEST,
    VOICE_NEIGHBOUR,
    VOICE_NEUTRAL,
    VOICE_PROTOTYPES,
    VOICE_STYLE_NAMES,
    VOICE_SUBJECT_SPREAD,
    VOICE_UNITS,
    FaceActions,
    VoiceStyle,
)
from pipelines.synthesis.seeds import Floats


def spread(difficulty: float) -> float:
    """Share of the deviations above that is in force at `difficulty` (0 to 1)."""
    return SPREAD_FLOOR + (1.0 - SPREAD_FLOOR) * difficulty


def _vector(settings: FaceActions | VoiceStyle) -> Floats:
    vector: Floats = np.array(astuple(settings), dtype=np.float64)
    return vector


def _expressed(
    neutral: Floats,
    own: Floats,
    neighbour: Floats,
    strength: float,
    difficulty: float,
    rng: np.random.Generator,
) -> Floats:
    """Between rest and the emotion, pulled towards the neighbour by chance."""
    intensity = strength * np.exp(INTENSITY_SPREAD * difficulty * rng.standard_normal())
    share = NEIGHBOUR_SHARE * difficulty * rng.beta(1.0, 2.0)
    shown: Floats = neutral + intensity * ((1.0 - share) * own + share * neighbour - neutral)
    return shown


def draw_face(
    emotion: str | None,
    difficulty: float,
    subject_stream: np.random.Generator,
    clip_stream: np.random.Generator,
) -> tuple[Floats, Floats]:
    """A clip's face at rest and at its apex: two arrays [actions], in `FACE_ACTION_NAMES` order.

    `emotion` None draws the apex without any reference to an emotion.
    """
    size = len(FACE_ACTION_NAMES)
    share = spread(difficulty)
    rest = share * FACE_SUBJECT_SPREAD * subject_stream.standard_normal(size)
    own_way = share * FACE_CLIP_SPREAD * clip_stream.standard_normal(size)
    neutral = _vector(FACE_NEUTRAL)
    apex = neutral
    if emotion is not None:
        apex = _expressed(
            neutral,
            _vector(FACE_PROTOTYPES[emotion]),
            _vector(FACE_PROTOTYPES[FACE_NEIGHBOUR[emotion]]),
            FACE_INTENSITY - FACE_INTENSITY_LOSS * difficulty,
            difficulty,
            clip_stream,
        )
    return rest, rest + own_way + apex


def draw_voice(
    emotion: str | None,
    difficulty: float,
    subject_stream: np.random.Generator,
    clip_stream: np.random.Generator,
) -> VoiceStyle:
    """How a clip is said; `emotion` None draws it without any reference to an emotion."""
    size = len(VOICE_STYLE_NAMES)
    share, units = spread(difficulty), _vector(VOICE_UNITS)
    habit = share * VOICE_SUBJECT_SPREAD * units * subject_stream.standard_normal(size)
    own_way = share * VOICE_CLIP_SPREAD * units * clip_stream.standard_normal(size)
    style = _vector(VOICE_NEUTRAL)
    if emotion is not None:
        style = _expressed(
            style,
            _vector(VOICE_PROTOTYPES[emotion]),
            _vector(VOICE_PROTOTYPES[VOICE_NEIGHBOUR[emotion]]),
            VOICE_INTENSITY - VOICE_INTENSITY_LOSS * difficulty,
            difficulty,
            clip_stream,
        )
    style = np.clip(style + habit + own_way, _vector(VOICE_LOWEST), _vector(VOICE_HIGHEST))
    return VoiceStyle(**dict(zip(VOICE_STYLE_NAMES, style.tolist(), strict=True)))
