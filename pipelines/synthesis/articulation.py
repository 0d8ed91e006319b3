"""The syllables of a clip as settings of a voice, every 5 ms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.synthesis.emotions import VoiceStyle
from pipelines.synthesis.seeds import Floats
from pipelines.synthesis.speech import Speech, Syllable, Timing

SAMPLE_RATE = 16_000
"""Samples per second, mono."""
HOP = 80
"""Samples between two settings of the filter: 5 ms."""
FORMANTS_HZ = {
    "a": (730.0, 1090.0, 2440.0, 3500.0),
    "e": (530.0, 1840.0, 2480.0, 3600.0),
    "i": (300.0, 2290.0, 3010.0, 3700.0),
    "o": (570.0, 840.0, 2410.0, 3400.0),
    "u": (330.0, 870.0, 2240.0, 3400.0),
}
"""Of a man's voice (Peterson and Barney 1952); the fourth is set."""
CONSONANT_S = 0.06
# Per consonant: level of the voice in it, level of its noise, centre of that noise in Hz.
CONSONANT_SOUND = {
    "s": (0.0, 0.50, 5500.0),
    "t": (0.0, 0.60, 3800.0),
    "k": (0.0, 0.60, 1900.0),
    "m": (0.35, 0.0, 3000.0),
    "l": (0.55, 0.0, 3000.0),
}
STOPS = "tk"
REST_LEVEL = 0.12
"""Of the voice in the rest of a syllable that has died away, of its full level."""
HISS_HZ = 3500.0
LIPS = {"a": 1.0, "e": 0.65, "i": 0.4, "o": 0.7, "u": 0.35}


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """The settings of source and filter at every hop, each [hops] or [hops, formants]."""

    semitones: Floats
    voiced: Floats
    noise: Floats
    noise_hz: Floats
    formants: Floats
    openness: Floats


def articulate(speech: Speech, style: VoiceStyle, timing: Timing) -> Score:
    """Lay the syllables out on the hops of the clip."""
    hops = round(timing.duration_s * SAMPLE_RATE / HOP)
    times: Floats = np.arange(hops, dtype=np.float64) * (HOP / SAMPLE_RATE)
    voiced, noise, openness, bumps, glides = (np.zeros(hops) for _ in range(5))
    noise_hz = np.full(hops, HISS_HZ)
    knots: list[tuple[float, tuple[float, ...]]] = []
    for syllable in speech.syllables:
        inside = (times >= syllable.start_s) & (times < syllable.end_s)
        along = times[inside] - syllable.start_s
        _lay_syllable(syllable, style, along, inside, voiced, noise, noise_hz)
        part = along / (syllable.end_s - syllable.start_s)
        openness[inside] = LIPS[syllable.vowel] * np.sin(np.pi * part) ** 0.7
        bumps[inside] = np.sin(np.pi * part) ** 2 * (1.0 if syllable.stressed else 0.25)
        glides[inside] = part - 0.5
        formants = FORMANTS_HZ[syllable.vowel]
        onset = syllable.start_s + CONSONANT_S
        knots += [(onset, formants), (max(onset, syllable.end_s - 0.04), formants)]
    knot_times = np.array([time for time, _ in knots])
    knot_formants = np.array([formants for _, formants in knots])
    span = timing.voice_end_s - timing.voice_start_s
    progress = np.clip((times - timing.voice_start_s) / span, 0.0, 1.0)
    return Score(
        semitones=style.pitch_shift
        + style.pitch_slope * (progress - 0.5)
        + style.pitch_range * bumps
        + style.glide * glides,
        voiced=voiced,
        noise=noise,
        noise_hz=noise_hz,
        formants=np.stack(
            [np.interp(times, knot_times, column) for column in knot_formants.T], axis=1
        ),
        openness=openness,
    )


def _lay_syllable(
    syllable: Syllable,
    style: VoiceStyle,
    along: Floats,
    inside: npt.NDArray[np.bool_],
    voiced: Floats,
    noise: Floats,
    noise_hz: Floats,
) -> None:
    """Write one syllable's levels; `along` is the time since its start at the hops `inside`."""
    length = syllable.end_s - syllable.start_s
    consonant_s = min(CONSONANT_S, 0.35 * length)
    voice_level, noise_level, centre_hz = CONSONANT_SOUND[syllable.consonant]
    first = along < consonant_s
    attack_s = style.attack_ms / 1000.0
    release_s = min(0.05, 0.25 * length)
    sounding_s = length * (1.0 - 0.55 * style.staccato)
    vowel = np.clip((along - consonant_s + 0.005) / attack_s, 0.0, 1.0)
    vowel *= np.clip((sounding_s - along) / release_s, REST_LEVEL, 1.0)
    stress = 10.0 ** ((0.5 if syllable.stressed else -0.5) * style.stress_db / 20.0)
    voiced[inside] = stress * np.where(first, voice_level, vowel)
    # A stop is silent until its burst.
    hissing = first & (along > consonant_s - 0.02) if syllable.consonant in STOPS else first
    ending = np.clip((along - 0.6 * length) / 0.04, 0.0, 1.0) * np.clip(
        (length - along) / 0.02, 0.0, 1.0
    )
    noise[inside] = stress * (noise_level * hissing + 0.9 * style.hiss * ending)
    noise_hz[inside] = np.where(first, centre_hz, HISS_HZ)
