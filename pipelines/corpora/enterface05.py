"""eNTERFACE'05: 43 people, six emotions, five sentences of its own for each (Martin et al. 2006).

`subject N/<emotion>/sentence K/sN_an_K.avi`. Some names are wrong (subject 11's say s12, two of
subject 2's are swapped), the folders are right: they alone are believed.
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
EXPECTED = "subject 1/anger/sentence 1/s1_an_1.avi and so on for 44 subjects"
LONG_FILES = 6
"""The subject whose six files hold an emotion each, with no level of sentences: of no use here."""
PUBLISHED = Published(
    subjects=tuple(f"s{number}" for number in range(1, 45) if number != LONG_FILES),
    # Subject 23 lacks happiness 1 to 3.
    per_emotion={e: 43 * 5 - (3 if e == "happiness" else 0) for e in EMOTIONS.values()},
    paper="1166 clips of 42 subjects",
)
_SUBJECT = re.compile(r"s(?:ubject)?[ _-]*0*([1-9]\d*)", re.IGNORECASE)
_SENTENCE = re.compile(r"sentence[ _-]*0*([1-9]\d*)", re.IGNORECASE)
_NAME = re.compile(r"s(\d+)_([a-z]+)_(\d+)", re.IGNORECASE)


@dataclass
class Enterface05Config(CorpusSettings):
    """The eNTERFACE'05 audio-visual emotion database."""

    name: str = "enterface05"


def read(config: Enterface05Config) -> CorpusListing:
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
    """Return what the folders of a path say; its name is only compared with them."""
    subjects = _numbers(file.folders, _SUBJECT)
    if not subjects:
        return "in no subject's folder (subject 1 to subject 44)"
    if len(subjects) > 1:
        return "in the folders of two subjects, one inside the other"
    subject = subjects.pop()
    sentences = _numbers(file.folders, _SENTENCE)
    if not sentences:
        long = subject == LONG_FILES
        return (
            "subject 6's long file of a whole emotion: it has no level of sentences"
            if long
            else "in no sentence's folder (sentence 1 to sentence 5)"
        )
    emotions = {part.lower() for part in file.folders} & set(EMOTIONS.values())
    if len(sentences) > 1 or len(emotions) != 1:
        return f"not in one folder of an emotion ({', '.join(EMOTIONS.values())}) and a sentence"
    emotion, sentence = emotions.pop(), sentences.pop()
    return Take(
        subject=f"s{subject}",
        emotion=emotion,
        sentence=f"{emotion}/{sentence}",
        # A sentence's folder holds one recording, whatever its files are called.
        recording=(subject, emotion, sentence),
        odd=_name_against_folders(file.stem, subject, emotion, sentence),
    )


def _numbers(folders: tuple[str, ...], pattern: re.Pattern[str]) -> set[int]:
    return {int(match[1]) for part in folders if (match := pattern.fullmatch(part))}


def _name_against_folders(stem: str, subject: int, emotion: str, sentence: int) -> tuple[str, ...]:
    match = _NAME.fullmatch(stem)
    if match is None or match[2].lower() not in EMOTIONS:
        return ("its name is not written as sN_an_K: the folders are believed",)
    pairs = (
        (f"s{int(match[1])}", f"s{subject}", f"subject {subject}"),
        (EMOTIONS[match[2].lower()], emotion, emotion),
        (f"sentence {int(match[3])}", f"sentence {sentence}", f"sentence {sentence}"),
    )
    return tuple(
        f"named {named} in the folder of {folder}: the folder is believed"
        for named, meant, folder in pairs
        if named != meant
    )
