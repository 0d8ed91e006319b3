"""One clip of the synthetic corpus, from its names to its frames and its sound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.synthesis.acting import Acting, Ramp, act, draw_ramp
from pipelines.synthesis.articulation import articulate
from pipelines.synthesis.canvas import Pixels
from pipelines.synthesis.emotions import (
    VOICE_SNR_DB,
    VOICE_SNR_LOSS_DB,
    VoiceStyle,
)
from pipelines.synthesis.expression import draw_face, draw_voice
from pipelines.synthesis.face import Box, draw_scene, film
from pipelines.synthesis.identity import draw_identity
from pipelines.synthesis.seeds import Floats, stream
from pipelines.synthesis.speech import Speech, Timing, draw_speech, draw_timing, sentence_text
from pipelines.synthesis.voice import add_room, draw_speaker, speak


@dataclass(frozen=True, kw_only=True)
class Role:
    """Who shows what, in which take, and what of it reaches the recording."""

    seed: int
    clip_id: str
    subject: str
    subject_index: int
    sex: str
    emotion: str
    sentence: str
    signal: str
    """Which modality carries the emotion: `both`, `audio`, `visual` or `none`."""
    difficulty: float

    @property
    def face_emotion(self) -> str | None:
        """What the face shows; None where it must tell nothing."""
        return self.emotion if self.signal in ("both", "visual") else None

    @property
    def voice_emotion(self) -> str | None:
        """What the voice tells; None where it must tell nothing."""
        return self.emotion if self.signal in ("both", "audio") else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Performance:
    """Everything that is drawn by chance about a clip, before a pixel or a sample is made."""

    role: Role
    timing: Timing
    style: VoiceStyle
    speech: Speech
    ramp: Ramp
    rest: Floats
    """[actions] of the face at rest."""
    apex: Floats
    """[actions] of the face at its apex."""
    lips: Floats
    """[hops] openness of the lips, 0 to 1."""

    def voice(self) -> npt.NDArray[np.float32]:
        """The voice alone [samples] at 16 kHz, silent outside the speech."""
        role = self.role
        speaker = draw_speaker(role.sex, stream(role.seed, role.subject, "speaker"))
        return speak(
            speaker, self.speech, self.style, self.timing, stream(role.seed, role.clip_id, "voice")
        )

    def sound(self) -> npt.NDArray[np.float32]:
        """The recording [samples] at 16 kHz: the voice in its room."""
        snr_db = VOICE_SNR_DB - VOICE_SNR_LOSS_DB * self.role.difficulty
        return add_room(self.voice(), snr_db, stream(self.role.seed, self.role.clip_id, "room"))

    def acting(self) -> Acting:
        """How the face and the head move."""
        return act(
            self.timing, self.ramp, self.rest, self.apex, self.lips, self.role.difficulty,
            stream(self.role.seed, self.role.clip_id, "acting"),
        )  # fmt: skip

    def pictures(self, wanted: Iterable[int] | None = None) -> Iterator[tuple[Pixels, Box]]:
        """Yield each RGB frame with the true box of the face; `wanted` are indices, or all."""
        role = self.role
        identity = draw_identity(
            role.sex, role.subject_index, stream(role.seed, role.subject, "identity")
        )
        scene = draw_scene(
            identity, self.timing.frames, role.difficulty, stream(role.seed, role.clip_id, "scene")
        )
        return film(scene, self.acting(), stream(role.seed, role.clip_id, "grain"), wanted)


def perform(role: Role) -> Performance:
    """Draw a clip: the same role gives the same clip, whatever was drawn before it."""

    def clip(purpose: str) -> np.random.Generator:
        return stream(role.seed, role.clip_id, purpose)

    def subject(purpose: str) -> np.random.Generator:
        return stream(role.seed, role.subject, purpose)

    timing = draw_timing(clip("timing"))
    text = sentence_text(stream(role.seed, role.sentence, "sentence"))
    style = draw_voice(role.voice_emotion, role.difficulty, subject("manner"), clip("style"))
    speech = draw_speech(text, timing, style, clip("speech"))
    lips = articulate(speech, style, timing).openness
    if role.face_emotion is None and role.voice_emotion is not None:
        # The lips would betray the rhythm of the voice: they follow an emotionless one instead.
        bland = draw_voice(None, role.difficulty, subject("manner"), clip("lip style"))
        said = draw_speech(text, timing, bland, clip("lips"))
        lips = articulate(said, bland, timing).openness
    rest, apex = draw_face(role.face_emotion, role.difficulty, subject("mien"), clip("mien"))
    return Performance(
        role=role,
        timing=timing,
        style=style,
        speech=speech,
        ramp=draw_ramp(timing, clip("ramp")),
        rest=rest,
        apex=apex,
        lips=lips,
    )
