"""SAVEE: four men, seven emotions (Haq and Jackson 2009).

`AudioVisualClip/DC/a01.avi`, `DC/a01.avi`, or all files in one folder as `DC_a01.avi`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipelines.corpora.folder import CorpusFile
from pipelines.corpora.tree import CorpusListing, CorpusSettings, Published, Take, read_folder

EMOTIONS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
SPEAKERS = ("DC", "JE", "JK", "KL")
EXPECTED = "the speakers' folders DC, JE, JK and KL with a01.avi, d01.avi, ... or files DC_a01.avi"
PUBLISHED = Published(
    subjects=SPEAKERS,
    # Fifteen sentences of each, thirty of the neutral ones, from four men.
    per_emotion={e: 4 * (30 if e == "neutral" else 15) for e in EMOTIONS.values()},
)
_NAME = re.compile(r"(?:(dc|je|jk|kl)[ _-]*)?(a|d|f|h|n|sa|su)(\d{1,2})", re.IGNORECASE)


@dataclass
class SaveeConfig(CorpusSettings):
    """The Surrey audio-visual expressed emotion database."""

    name: str = "savee"


def read(config: SaveeConfig) -> CorpusListing:
    """Return the clips under `config.root`, in any of the layouts that go round.

    Raises:
        UsageError: there is no such folder, or no clip in it.
    """
    return read_folder(
        config,
        expected=EXPECTED,
        take_of=take_of,
        published=PUBLISHED,
    )


def take_of(file: CorpusFile) -> Take | str:
    """Return what a path says: the speaker by name where it says one, else by folder.

    Three of an emotion's fifteen sentences are common to all emotions; which numbers they have is
    not certain, so every sentence counts as its emotion's own (`anger/01`).
    """
    match = _NAME.fullmatch(file.stem)
    if match is None:
        return f"its name is no emotion's code ({', '.join(EMOTIONS)}) and a number"
    folders = {part.upper() for part in file.folders} & set(SPEAKERS)
    speaker = match[1].upper() if match[1] else ""
    if not speaker and len(folders) != 1:
        return f"neither its name nor one folder says who speaks ({', '.join(SPEAKERS)})"
    subject = speaker or next(iter(folders))
    emotion, number = EMOTIONS[match[2].lower()], int(match[3])
    return Take(
        subject=subject,
        emotion=emotion,
        sentence=f"{emotion}/{number:02d}",
        attributes={"sex": "male"},
        recording=(subject, emotion, number),
        odd=tuple(
            f"named for {subject} in the folder of {other}: the name is believed"
            for other in sorted(folders - {subject})
        ),
    )
