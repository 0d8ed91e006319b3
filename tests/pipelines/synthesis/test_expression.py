"""What a clip tells about its emotion, and what it must not tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.corpora.synthetic import SyntheticConfig, clips, role_of
from pipelines.synthesis.emotions import (
    EMOTIONS,
    FACE_NEIGHBOUR,
    FACE_PROTOTYPES,
    VOICE_NEIGHBOUR,
    VOICE_PROTOTYPES,
)
from pipelines.synthesis.expression import draw_face
from pipelines.synthesis.performance import Performance, perform
from pipelines.synthesis.seeds import stream


def same_clip_with_other_emotion(signal: str) -> tuple[Performance, Performance]:
    """One role twice, with every random stream the same and only the emotion changed."""
    config = SyntheticConfig(signal=signal, takes=1)
    role = role_of(config, clips(config)[0])
    return perform(role), perform(replace(role, emotion="sadness"))


def frames(performance: Performance) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.stack([frame for frame, _ in performance.pictures([0, 20, 40, 60])])


@pytest.mark.parametrize("signal", ["visual", "none"])
def test_voice_that_carries_no_emotion_does_not_depend_on_it(signal: str) -> None:
    one, other = same_clip_with_other_emotion(signal)
    assert one.style == other.style
    assert np.array_equal(one.sound(), other.sound())


@pytest.mark.parametrize("signal", ["audio", "none"])
def test_picture_that_carries_no_emotion_does_not_depend_on_it(signal: str) -> None:
    one, other = same_clip_with_other_emotion(signal)
    assert one.timing == other.timing
    assert np.array_equal(one.lips, other.lips)
    assert np.array_equal(frames(one), frames(other))


@pytest.mark.parametrize("signal", ["both", "audio"])
def test_voice_that_carries_the_emotion_depends_on_it(signal: str) -> None:
    one, other = same_clip_with_other_emotion(signal)
    assert one.style != other.style
    assert not np.array_equal(one.sound(), other.sound())


@pytest.mark.parametrize("signal", ["both", "visual"])
def test_picture_that_carries_the_emotion_depends_on_it(signal: str) -> None:
    one, other = same_clip_with_other_emotion(signal)
    assert not np.array_equal(frames(one), frames(other))


def test_length_never_tells_the_emotion() -> None:
    one, other = same_clip_with_other_emotion("both")
    assert one.timing == other.timing


def test_every_emotion_has_a_prototype_and_another_neighbour_in_face_than_in_voice() -> None:
    for emotion in EMOTIONS:
        assert emotion in FACE_PROTOTYPES
        assert emotion in VOICE_PROTOTYPES
        assert emotion not in (FACE_NEIGHBOUR[emotion], VOICE_NEIGHBOUR[emotion])
        assert FACE_NEIGHBOUR[emotion] != VOICE_NEIGHBOUR[emotion]


def test_difficulty_weakens_the_expression_and_strengthens_the_habits() -> None:
    def sizes(difficulty: float) -> tuple[float, float]:
        drawn = [
            draw_face("anger", difficulty, stream(n, "subject"), stream(n, "clip"))
            for n in range(200)
        ]
        rests = np.array([rest for rest, _ in drawn])
        shown = np.array([apex - rest for rest, apex in drawn]).mean(axis=0)
        return float(np.linalg.norm(shown)), float(rests.std())

    (easy_shown, easy_habit), (hard_shown, hard_habit) = sizes(0.0), sizes(1.0)
    assert hard_shown < 0.6 * easy_shown
    assert hard_habit > 3 * easy_habit
