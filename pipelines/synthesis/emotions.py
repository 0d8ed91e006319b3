"""What each emotion does to a face and to a voice, and how difficulty weakens it.

Every strength that decides how well a recogniser can do on the synthetic corpus is here;
`expression.py` draws clips with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""The six emotions of the paper, in class order."""
SIGNALS = ("both", "audio", "visual", "none")
"""Which modality carries the emotion."""


@dataclass(frozen=True, kw_only=True)
class FaceActions:
    """How far each part of the face is moved; 0 is at rest, 1 is as far as a strong actor goes."""

    inner_brow: float = 0.0
    """Inner ends of the brows: raised above 0, lowered below."""
    outer_brow: float = 0.0
    brow_furrow: float = 0.0
    """Brows drawn together, with lines between them."""
    upper_lid: float = 0.0
    """1 wide open, -1 closed."""
    lower_lid: float = 0.0
    """1 tightened, which narrows the eye from below."""
    cheek: float = 0.0
    nose_wrinkle: float = 0.0
    upper_lip: float = 0.0
    mouth_corner: float = 0.0
    """1 a broad smile, -1 pulled down."""
    mouth_stretch: float = 0.0
    """1 wide, -1 rounded."""
    mouth_open: float = 0.0
    lip_press: float = 0.0


@dataclass(frozen=True, kw_only=True)
class VoiceStyle:
    """How something is said, apart from who says it and what."""

    pitch_shift: float = 0.0
    """Mean pitch against the speaker's own, in semitones."""
    pitch_range: float = 2.0
    """Height of a stressed syllable's pitch peak, in semitones."""
    pitch_slope: float = -2.0
    """Change over the utterance, in semitones."""
    glide: float = 0.0
    """Change within each syllable, in semitones."""
    rate: float = 4.4
    """Syllables per second, pauses aside."""
    attack_ms: float = 40.0
    """Time in which a syllable gets loud."""
    staccato: float = 0.2
    """Share of a syllable that is nearly silent."""
    stress_db: float = 3.0
    """Level of stressed over unstressed syllables; they take turns, so a high value bounces."""
    tremor: float = 0.0
    """Depth of the 7 Hz shake in pitch and level: 1 is 1.2 semitones and 9 dB."""
    breath: float = 0.15
    """Share of noise in voiced sound."""
    tilt_db: float = 0.0
    """Brightness, in dB per octave above 500 Hz."""
    creak: float = 0.05
    """Irregular and doubled glottal periods."""
    hiss: float = 0.1
    """Noise bursts at the ends of syllables."""
    loudness_db: float = 0.0


Actions = Mapping[str, float]
"""Facial actions of one moment, by `FACE_ACTION_NAMES`."""
FACE_ACTION_NAMES = tuple(field.name for field in fields(FaceActions))
VOICE_STYLE_NAMES = tuple(field.name for field in fields(VoiceStyle))

FACE_NEUTRAL = FaceActions()
FACE_PROTOTYPES: Mapping[str, FaceActions] = {
    "anger": FaceActions(
        inner_brow=-0.9, outer_brow=0.1, brow_furrow=1.0, upper_lid=0.2, lower_lid=0.6,
        nose_wrinkle=0.25, upper_lip=0.1, mouth_corner=-0.35, lip_press=0.9,
    ),
    "disgust": FaceActions(
        inner_brow=-0.6, outer_brow=-0.2, brow_furrow=0.5, upper_lid=-0.35, lower_lid=0.7,
        cheek=0.5, nose_wrinkle=1.0, upper_lip=1.0, mouth_corner=-0.5, mouth_open=0.15,
    ),
    "fear": FaceActions(
        inner_brow=1.0, outer_brow=0.3, brow_furrow=0.4, upper_lid=0.8, mouth_corner=-0.35,
        mouth_stretch=0.8, mouth_open=0.4,
    ),
    "happiness": FaceActions(
        outer_brow=0.1, upper_lid=-0.1, lower_lid=0.6, cheek=1.0, upper_lip=0.3,
        mouth_corner=1.0, mouth_stretch=0.6, mouth_open=0.3,
    ),
    "sadness": FaceActions(
        inner_brow=0.9, outer_brow=-0.5, brow_furrow=0.4, upper_lid=-0.5, mouth_corner=-1.0,
        mouth_stretch=-0.1, lip_press=0.2,
    ),
    "surprise": FaceActions(
        inner_brow=1.0, outer_brow=1.0, upper_lid=0.9, mouth_stretch=-0.6, mouth_open=0.9,
    ),
}  # fmt: skip

VOICE_NEUTRAL = VoiceStyle()
VOICE_PROTOTYPES: Mapping[str, VoiceStyle] = {
    "anger": VoiceStyle(
        pitch_shift=4.0, pitch_range=3.5, pitch_slope=-3.0, glide=-1.5, rate=6.0, attack_ms=10.0,
        staccato=0.45, stress_db=4.0, breath=0.05, tilt_db=3.0, creak=0.3, hiss=0.1,
        loudness_db=5.0,
    ),
    "disgust": VoiceStyle(
        pitch_shift=-2.5, pitch_range=2.0, pitch_slope=-3.0, glide=-1.0, rate=3.4, attack_ms=60.0,
        staccato=0.3, stress_db=4.0, breath=0.2, tilt_db=-0.5, creak=0.8, hiss=0.9,
        loudness_db=-1.0,
    ),
    "fear": VoiceStyle(
        pitch_shift=5.5, pitch_range=2.0, pitch_slope=1.0, rate=5.4, attack_ms=30.0,
        staccato=0.15, stress_db=2.0, tremor=1.0, breath=0.5, tilt_db=-1.0, creak=0.05, hiss=0.1,
    ),
    "happiness": VoiceStyle(
        pitch_shift=4.0, pitch_range=6.0, pitch_slope=0.0, glide=1.0, rate=5.4, attack_ms=25.0,
        staccato=0.3, stress_db=10.0, breath=0.12, tilt_db=2.0, creak=0.0, hiss=0.05,
        loudness_db=3.0,
    ),
    "sadness": VoiceStyle(
        pitch_shift=-2.0, pitch_range=1.0, pitch_slope=-4.0, glide=-4.0, rate=2.9,
        attack_ms=110.0, staccato=0.0, stress_db=1.5, tremor=0.1, breath=0.45, tilt_db=-3.0,
        hiss=0.0, loudness_db=-4.0,
    ),
    "surprise": VoiceStyle(
        pitch_shift=5.0, pitch_range=7.0, pitch_slope=6.0, glide=7.0, rate=4.0, attack_ms=25.0,
        staccato=0.2, stress_db=4.0, breath=0.2, tilt_db=1.0, creak=0.0, loudness_db=2.0,
    ),
}  # fmt: skip

# Which emotion each is taken for: other pairs in the face than in the voice, so that either
# modality resolves what the other leaves open.
FACE_NEIGHBOUR: Mapping[str, str] = {
    "anger": "disgust", "disgust": "anger", "fear": "surprise", "surprise": "fear",
    "happiness": "disgust", "sadness": "fear",
}  # fmt: skip
VOICE_NEIGHBOUR: Mapping[str, str] = {
    "anger": "happiness", "happiness": "anger", "sadness": "disgust", "disgust": "sadness",
    "fear": "sadness", "surprise": "happiness",
}  # fmt: skip

# Strength of the emotion at difficulty 0, and what difficulty 1 takes from it.
FACE_INTENSITY, FACE_INTENSITY_LOSS = 1.1, 0.75
VOICE_INTENSITY, VOICE_INTENSITY_LOSS = 1.1, 0.7
INTENSITY_SPREAD = 0.35
"""Deviation of a clip's log intensity at difficulty 1."""
NEIGHBOUR_SHARE = 0.9
"""Greatest share of the neighbour's expression in a clip at difficulty 1."""
# Deviations at difficulty 1 of what belongs to a subject and to one clip, whatever the emotion.
FACE_SUBJECT_SPREAD, FACE_CLIP_SPREAD = 0.25, 0.20
VOICE_SUBJECT_SPREAD, VOICE_CLIP_SPREAD = 0.30, 0.30
APEX_WANDER = 0.5
"""How far the intensity wanders within a clip at difficulty 1."""
SPREAD_FLOOR = 0.15
"""Share of those deviations that is there at difficulty 0: no two people are the same."""

# Signal-to-noise ratio of the voice in dB, and deviation of the camera's noise in levels of 255.
VOICE_SNR_DB, VOICE_SNR_LOSS_DB = 34.0, 22.0
SENSOR_NOISE, SENSOR_NOISE_GAIN = 1.5, 5.0
# Strength of side light (0 is frontal) and its drift.
SIDE_LIGHT, SIDE_LIGHT_GAIN = 0.15, 0.55

# One unit of spread in each of the voice's settings, in the setting's own unit.
VOICE_UNITS = VoiceStyle(
    pitch_shift=3.0, pitch_range=2.0, pitch_slope=3.0, glide=2.5, rate=1.0, attack_ms=25.0,
    staccato=0.15, stress_db=3.0, tremor=0.35, breath=0.15, tilt_db=1.5, creak=0.25, hiss=0.3,
    loudness_db=2.0,
)  # fmt: skip
VOICE_LOWEST = VoiceStyle(
    pitch_shift=-8.0, pitch_range=0.0, pitch_slope=-8.0, glide=-8.0, rate=2.4, attack_ms=8.0,
    staccato=0.0, stress_db=0.0, tremor=0.0, breath=0.02, tilt_db=-5.0, creak=0.0, hiss=0.0,
    loudness_db=-8.0,
)  # fmt: skip
VOICE_HIGHEST = VoiceStyle(
    pitch_shift=10.0, pitch_range=10.0, pitch_slope=10.0, glide=10.0, rate=7.0, attack_ms=140.0,
    staccato=0.6, stress_db=14.0, tremor=1.5, breath=0.8, tilt_db=5.0, creak=1.0, hiss=1.2,
    loudness_db=8.0,
)  # fmt: skip
