"""RML: eight people, six languages, six emotions (Wang and Guan 2008).

`rml-1/{s1..s5}/an1.avi`, `rml-2/{s6..s8}/...`; speakers of several languages have a folder for
each. Names repeat across subjects and languages, so the folder alone says who speaks. One copy
that goes round nests each subject's folder in itself (`s1/s1/`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipelines.corpora.folder import CorpusFile
from pipelines.corpora.tree import CorpusListing, CorpusSettings, Published, Take, read_folder

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
_SUBJECT = re.compile(
    r"s(?:ubject|peaker)?[ _-]*0*([1-9]\d*)(?:[ _-]*\(?([a-z]+)\)?)?", re.IGNORECASE
)
"""`s3`, and where each language has a subject's folder of its own, `s3_Urdu` or `s3 (Urdu)`."""
_COPY = re.compile(r"^copy of |[ _-]+(copy|\(\d+\))$", re.IGNORECASE)
"""What file managers add to the name of a folder that is there twice."""
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
    return read_folder(
        config,
        expected=EXPECTED,
        take_of=take_of,
        published=PUBLISHED,
    )


def take_of(file: CorpusFile) -> Take | str:
    """Return what a path says: the subject by folder, the language by the folder below it.

    A folder above the subject's is a language if it has the name of one.
    """
    places = [_place(part) for part in file.folders]
    named = {number for number, _ in places if number}
    if not named:
        return "in no subject's folder (s1 to s8)"
    if len(named) > 1:
        return "in the folders of two subjects, one inside the other"
    match = _NAME.fullmatch(file.stem)
    emotion = EMOTIONS.get(match[1].lower()) if match else None
    if match is None or emotion is None:
        return f"its name begins with no emotion's code ({', '.join(EMOTIONS)}) and a number"
    subject = f"s{named.pop()}"
    first = next(index for index, (number, _) in enumerate(places) if number)
    below = [word for number, word in places[first:] if word and not number]
    known = {word for _, word in places if word in LANGUAGES}
    language = known.pop() if len(known) == 1 else "/".join(dict.fromkeys(below))
    odd = []
    if sum(bool(number) for number, _ in places) > 1:
        odd.append("in a subject's folder that is nested in itself: read as one")
    if language and language not in LANGUAGES:
        odd.append(f"its folder ({language}) has the name of no language of the corpus: kept so")
    take = str(int(match[2]))
    return Take(
        subject=subject,
        emotion=emotion,
        take=take,
        attributes={"language": language} if language else {},
        recording=(subject, language, emotion, take),
        odd=tuple(odd),
    )


def _place(folder: str) -> tuple[str, str]:
    """Return the subject's number in the name of a folder, and the language; "" where none."""
    match = _SUBJECT.fullmatch(folder)
    if match is None:
        return "", _language(folder)
    language = _language(match[2] or "")
    return (match[1], language) if not language or language in LANGUAGES else ("", folder)


def _language(written: str) -> str:
    """Return the language that a folder is named after, or the name as it is."""
    bare = _COPY.sub("", written)
    return next((name for name in LANGUAGES if name.lower() == bare.lower()), written)
