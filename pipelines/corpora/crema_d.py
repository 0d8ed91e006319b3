"""CREMA-D: 91 actors, twelve sentences, six emotions (Cao et al. 2014).

`VideoFlash/1076_MTI_SAD_XX.flv`: actor, sentence, emotion, level. The name says all; sex, age and
origin come from VideoDemographics.csv where the tree holds it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath

from pipelines.corpora.folder import CorpusFile, CorpusFolder
from pipelines.corpora.tree import CorpusListing, CorpusSettings, Published, Remark, Take, read_tree

EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
SENTENCES = frozenset(
    ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")
)
DEMOGRAPHICS = "VideoDemographics.csv"
EXPECTED = "1001_DFA_ANG_XX.flv and so on for actors 1001 to 1091 (VideoFlash, or converted)"
PUBLISHED = Published(
    subjects=tuple(str(actor) for actor in range(1001, 1092)),
    per_emotion={e: 1087 if e == "neutral" else 1271 for e in EMOTIONS.values()},
)
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})")
_Actors = Mapping[str, Mapping[str, str]]


@dataclass
class CremaDConfig(CorpusSettings):
    """The crowd-sourced emotional multimodal actors dataset."""

    name: str = "crema_d"


def read(config: CremaDConfig) -> CorpusListing:
    """Return the clips under `config.root`, in whatever folders they are.

    Raises:
        UsageError: there is no such folder, or no clip in it.
    """
    folder = CorpusFolder.open(config.root, EXPECTED, outside_links=config.outside_links)
    files = folder.files()
    actors, odd = _demographics(folder, files)
    listing = read_tree(
        folder,
        files,
        config,
        expected=EXPECTED,
        take_of=partial(take_of, actors=actors),
        published=PUBLISHED,
    )
    return replace(listing, irregular=(*listing.irregular, *odd))


def take_of(file: CorpusFile, actors: _Actors) -> Take | str:
    """Return what a name says, and what `actors` holds of the person."""
    match = _NAME.fullmatch(file.stem.upper())
    if match is None:
        return "its name is not actor_sentence_emotion_level (1001_DFA_ANG_XX)"
    actor, sentence, emotion, level = match.groups()
    if emotion not in EMOTIONS:
        return f"its emotion's code is none of {', '.join(EMOTIONS)}"
    odd = []
    if sentence not in SENTENCES:
        odd.append(f"its sentence ({sentence}) is none of the twelve: kept as it is written")
    if level not in LEVELS:
        odd.append(f"its level ({level}) is none of {', '.join(LEVELS)}: taken for unspecified")
    return Take(
        subject=actor,
        emotion=EMOTIONS[emotion],
        sentence=sentence,
        attributes={**actors.get(actor, {}), "level": LEVELS.get(level, LEVELS["XX"])},
        recording=(actor, sentence, emotion, level),
        odd=tuple(odd),
    )


def _demographics(
    folder: CorpusFolder, files: Sequence[CorpusFile]
) -> tuple[_Actors, list[Remark]]:
    """Return sex, age, race and ethnicity by actor, where the authors' table is in the tree."""
    tables = [file.path for file in files if PurePosixPath(file.path).name == DEMOGRAPHICS]
    if not tables:
        return {}, []
    try:
        text = folder.read_text(tables[0])
        actors = {
            row["ActorID"]: {
                "age": row["Age"],
                "ethnicity": row["Ethnicity"],
                "race": row["Race"],
                "sex": row["Sex"].lower(),
            }
            for row in csv.DictReader(io.StringIO(text, newline=""))
        }
    except (UnicodeDecodeError, csv.Error, KeyError, AttributeError) as error:
        words = f"it can't be read ({error}): clips are without sex, age, race and ethnicity"
        return {}, [Remark(tables[0], words)]
    return actors, []
