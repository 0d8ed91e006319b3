"""RAVDESS: 24 actors speak and sing two sentences (Livingstone and Russo 2018).

`Actor_NN/MM-VC-EE-II-SS-RR-AA.mp4`: modality, vocal channel, emotion, intensity, statement,
repetition, actor. The name says all. Modalities 02 (no sound) and 03 (no picture) are the same
takes as 01 and are never mixed with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from pipelines.corpora.folder import CorpusFile
from pipelines.corpora.tree import CorpusListing, CorpusSettings, Published, Take, read_folder
from pipelines.errors import require_one_of

EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
CHANNELS = {"01": "speech", "02": "song"}
BOTH = "both"
LEVELS = {"01": "normal", "02": "strong"}
OTHER_MODALITIES = {"02": "video alone", "03": "sound alone"}
EXPECTED = "Actor_01/01-01-01-01-01-01-01.mp4 and so on for 24 actors"
_NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")
_ACTOR = re.compile(r"actor[ _-]*(\d+)", re.IGNORECASE)

# Two statements, two repetitions; neutral is of one intensity alone. Nobody sings disgust or
# surprise, and actor 18 does not sing at all.
_SPOKEN = {e: 24 * (4 if e == "neutral" else 8) for e in EMOTIONS.values()}
_SUNG = {
    e: 23 * (4 if e == "neutral" else 8)
    for e in EMOTIONS.values()
    if e not in ("disgust", "surprise")
}


@dataclass
class RavdessConfig(CorpusSettings):
    """The Ryerson audio-visual database of emotional speech and song."""

    name: str = "ravdess"
    vocal_channel: str = "speech"
    """speech, song or both."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("corpus.vocal_channel", self.vocal_channel, (*CHANNELS.values(), BOTH))


def read(config: RavdessConfig) -> CorpusListing:
    """Return the audio-video clips under `config.root`, in whatever folders they are.

    Raises:
        UsageError: there is no such folder, or no clip in it.
    """
    return read_folder(
        config,
        expected=EXPECTED,
        take_of=partial(take_of, vocal_channel=config.vocal_channel),
        published=published(config.vocal_channel),
    )


def published(vocal_channel: str) -> Published:
    """Return what the authors say of one channel, or of both."""
    spoken = _SPOKEN if vocal_channel != "song" else {}
    sung = _SUNG if vocal_channel != "speech" else {}
    return Published(
        subjects=tuple(f"{n:02d}" for n in range(1, 25) if spoken or n != 18),
        per_emotion={e: spoken.get(e, 0) + sung.get(e, 0) for e in (spoken or sung)},
    )


def take_of(file: CorpusFile, vocal_channel: str) -> Take | str:
    """Return what a name says; the actor's folder is only compared with it."""
    match = _NAME.fullmatch(file.stem)
    if match is None:
        return "its name is not of seven numbers (01-01-01-01-01-01-01)"
    modality, channel, emotion, level, statement, repetition, actor = match.groups()
    if modality in OTHER_MODALITIES:
        kind = OTHER_MODALITIES[modality]
        return f"{kind} (modality {modality}): the same takes as the audio-video files"
    if modality != "01" or channel not in CHANNELS or emotion not in EMOTIONS:
        return "its name holds an unknown modality, channel or emotion"
    if vocal_channel not in (CHANNELS[channel], BOTH):
        return f"{CHANNELS[channel]}: corpus.vocal_channel is {vocal_channel}"
    folders = {int(found[1]) for part in file.folders if (found := _ACTOR.fullmatch(part))}
    elsewhere = folders - {int(actor)}
    odd = [
        f"named for actor {actor} in the folder of actor {other:02d}: the name is believed"
        for other in sorted(elsewhere)
    ]
    if level not in LEVELS:
        odd.append(f"its intensity ({level}) is unknown: kept as it is written")
    return Take(
        subject=actor,
        emotion=EMOTIONS[emotion],
        sentence=statement,
        take=repetition,
        attributes={
            "sex": "male" if int(actor) % 2 else "female",
            "level": LEVELS.get(level, level),
            "vocal_channel": CHANNELS[channel],
        },
        recording=file.stem,
        odd=tuple(odd),
    )
