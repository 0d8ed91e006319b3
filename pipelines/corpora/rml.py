"""RML: eight people, six languages, six emotions (Wang and Guan 2008).

`rml-1/{s1..s5}/an1.avi`, `rml-2/{s6..s8}/...`; speakers of several languages have a folder for
each. Names repeat across subjects and languages, so the folder alone says who speaks. One copy
that goes round nests each subject's folder in itself (`s1/s1/`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipelines.corpora.folder import CorpusFile, CorpusFolder
from pipelines.corpora.tree import CorpusListing, CorpusSettings, Published, Take, read_tree

EMOTIONS = {
    "an": "anger",
    "di": "disgust",
    "fe": "fear",
    "ha": "happiness",
    "sa": "sadness",
    "su": "surprise",
}
LANGUAGES = ("English", "Italian", "Mandarin", "Persian", "Punjabi", "Urdu")
EXPECTED = (
    "a folder for each subject, s1 to s8 (in rml-1 and rml-2 or not), with an1.avi, di1.avi, ... "
    "or a folder for each language in it"
)
PUBLISHED = Published(
    subjects=tuple(f"s{number}" for number in range(1, 9)),
    per_emotion=dict.fromkeys(EMOTIONS.values(), 120),
    paper="500 clips of 8 subjects",
)
_SUBJECT = re.compile(r"s(?:ubject|peaker)?[ _-]*0*([1-9]\d*)", re.IGNORECASE)
_NAME = re.compile(r"([a-z]+)[ _-]*(\d+)", re.IGNORECASE)


@dataclass
class RmlConfig(CorpusSettings):
    """The RML emotion database."""

    name: str = "rml"


def read(config: RmlConfig) -> CorpusListing:
    """Return the clips under `config.root`, whatever folders are around the subjects'.

    Raises:
        UsageError: there is no such folder, or no clip in it.
    """
    folder = CorpusFolder.open(config.root, EXPECTED)
    return read_tree(
        folder,
        folder.files(),
        config,
        expected=EXPECTED,
        take_of=take_of,
        published=PUBLISHED,
    )


def take_of(file: CorpusFile) -> Take | str:
    """Return what a path says: the subject by folder, the language by the folder below it.

    A folder above the subject's is a language if it has the name of one.
    """
    folders = file.folders
    subjects = [match[1] if (match := _SUBJECT.fullmatch(part)) else "" for part in folders]
    named = {number for number in subjects if number}
    if not named:
        return "in no subject's folder (s1 to s8)"
    if len(named) > 1:
        return "in the folders of two subjects, one inside the other"
    match = _NAME.fullmatch(file.stem)
    emotion = EMOTIONS.get(match[1].lower()) if match else None
    if match is None or emotion is None:
        return f"its name begins with no emotion's code ({', '.join(EMOTIONS)}) and a number"
    subject = f"s{named.pop()}"
    first = next(index for index, number in enumerate(subjects) if number)
    below = [part for part, number in zip(folders, subjects, strict=True) if not number][first:]
    above = [part for part in folders[:first] if _language(part) in LANGUAGES]
    language = _language("/".join(below or above))
    odd = []
    if sum(map(bool, subjects)) > 1:
        odd.append("in a subject's folder that is nested in itself: read as one")
    if len(below) > 1:
        odd.append("more than one folder below the subject's: all are taken for the language")
    return Take(
        subject=subject,
        emotion=emotion,
        take=str(int(match[2])),
        attributes={"language": language} if language else {},
        recording=(subject, language, file.stem.lower()),
        odd=tuple(odd),
    )


def _language(written: str) -> str:
    return next((name for name in LANGUAGES if name.lower() == written.lower()), written)
