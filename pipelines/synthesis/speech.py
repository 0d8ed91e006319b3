"""What is said and when: syllables, stress and pauses on the clip's clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.synthesis.emotions import VoiceStyle

FRAME_RATE = 30
"""Video frames per second."""
LEAD_S = (0.50, 0.70)
"""Least and greatest silence before the voice, and after it."""
SPEECH_S = (1.85, 2.35)
"""Least and greatest time from the first syllable to the end of the last.

It does not depend on the emotion: a fast speaker says more. Otherwise the length of the clip
would give away in the picture what only the voice should tell.
"""
PAUSE_S = (0.10, 0.28)
FULL_LENGTH_EVERY = 3
"""Clips have a multiple of this many frames, so that picture and sound end at the same sample."""

VOWELS = "aeiou"
CONSONANTS = "stmlk"
SYLLABLES_PER_SENTENCE = 16


@dataclass(frozen=True, kw_only=True)
class Syllable:
    """A consonant and a vowel."""

    start_s: float
    end_s: float
    consonant: str
    vowel: str
    stressed: bool


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The span of a clip and of the speech in it, in seconds."""

    frames: int
    voice_start_s: float
    voice_end_s: float

    @property
    def duration_s(self) -> float:
        """Length of the clip."""
        return self.frames / FRAME_RATE


@dataclass(frozen=True, kw_only=True)
class Speech:
    """The syllables of a clip and the pauses between them (start, end), in seconds."""

    syllables: tuple[Syllable, ...]
    pauses: tuple[tuple[float, float], ...]


def draw_timing(rng: np.random.Generator) -> Timing:
    """When the voice starts and ends, and how long the clip is; alike for every emotion."""
    start = rng.uniform(*LEAD_S)
    end = start + rng.uniform(*SPEECH_S)
    frames = (end + rng.uniform(*LEAD_S)) * FRAME_RATE
    whole = FULL_LENGTH_EVERY * int(np.ceil(frames / FULL_LENGTH_EVERY))
    return Timing(frames=whole, voice_start_s=start, voice_end_s=end)


def sentence_text(rng: np.random.Generator) -> str:
    """A sentence of an invented language: syllables such as "sa-ti-mo"."""
    consonants = rng.choice(list(CONSONANTS), SYLLABLES_PER_SENTENCE)
    vowels = rng.choice(list(VOWELS), SYLLABLES_PER_SENTENCE)
    return "-".join(c + v for c, v in zip(consonants, vowels, strict=True))


def draw_speech(text: str, timing: Timing, style: VoiceStyle, rng: np.random.Generator) -> Speech:
    """Say `text` as `style` has it within `timing`, as far as the time goes, with 1 or 2 pauses."""
    words = _syllables_of(text)
    pauses_s = rng.uniform(*PAUSE_S, size=1 + int(rng.random() < 0.4))
    voiced_s = timing.voice_end_s - timing.voice_start_s - float(pauses_s.sum())
    count = max(len(pauses_s) + 3, round(voiced_s * style.rate))
    lengths = np.exp(0.18 * rng.standard_normal(count))
    lengths[-1] *= 1.3  # the last syllable of a sentence is drawn out
    lengths *= voiced_s / lengths.sum()
    # No pause leaves a single syllable alone at either end: nobody speaks so.
    before = set((2 + rng.choice(count - 3, size=len(pauses_s), replace=False)).tolist())
    offset = int(rng.integers(2))
    clock, syllables, pauses = timing.voice_start_s, list[Syllable](), list[tuple[float, float]]()
    for index in range(count):
        if index in before:
            pause = float(pauses_s[len(pauses)])
            pauses.append((clock, clock + pause))
            clock += pause
        consonant, vowel = words[index % len(words)]
        end = clock + float(lengths[index])
        syllables.append(
            Syllable(
                start_s=clock, end_s=end, consonant=consonant, vowel=vowel,
                stressed=(index + offset) % 2 == 0,
            )
        )  # fmt: skip
        clock = end
    return Speech(syllables=tuple(syllables), pauses=tuple(pauses))


def _syllables_of(text: str) -> Sequence[tuple[str, str]]:
    return [(syllable[0], syllable[1]) for syllable in text.split("-")]
