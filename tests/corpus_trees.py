"""Trees of files as the authors of the corpora hand them out, of one tiny clip under many names."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from media_files import write_clip

from pipelines.corpora.tree import CorpusListing, Remark
from pipelines.records import Clip

SIX = {
    "an": "anger",
    "di": "disgust",
    "fe": "fear",
    "ha": "happiness",
    "sa": "sadness",
    "su": "surprise",
}


def plant(root: Path, paths: Iterable[str]) -> Path:
    """Put the clip under each of the paths, relative to `root`."""
    clip = _clip()
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            file.hardlink_to(clip)
        except FileExistsError:
            raise
        except OSError:  # another file system
            shutil.copy(clip, file)
    return root


def spoil(root: Path, paths: Iterable[str]) -> None:
    """Put files that are no clips under the paths."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"no clip")


_FOLDER = tempfile.TemporaryDirectory()


@cache
def _clip() -> Path:
    return write_clip(
        Path(_FOLDER.name) / "clip.avi",
        video="mpeg4",
        audio="pcm_s16le",
        seconds=0.4,
        width=64,
        height=48,
        audio_rate=8000,
    )


# The authors' two parts: clips by emotion, and the folders that this tree spreads them over.
RML_PARTS = {
    "rml-1": (
        (66, 67, 67, 73, 66, 68),
        ("s1/English", "s1/Mandarin", "s2", "s3/Punjabi", "s3/Urdu", "s4", "s5"),
    ),
    "rml-2": ((54, 53, 53, 47, 54, 52), ("s6", "s7/Italian", "s7/Persian", "s8")),
}


def rml_paths() -> Iterator[str]:
    """720 clips, 407 and 313 of them in the parts, with names that repeat from folder to folder."""
    for part, (counts, folders) in RML_PARTS.items():
        for code, count in zip(SIX, counts, strict=True):
            for index in range(count):
                folder = folders[index % len(folders)]
                yield f"{part}/{folder}/{code}{index // len(folders) + 1}.avi"


def enterface_paths() -> Iterator[str]:
    """1293 files, with the wrong names that are known of them."""
    for subject in range(1, 45):
        for code, emotion in SIX.items():
            folder = f"enterface database/subject {subject}/{emotion}"
            if subject == 6:
                yield f"{folder}/s6_{code}.avi"
                continue
            for sentence in range(1, 6):
                if (subject, code) == (23, "ha") and sentence <= 3:
                    continue
                name = _enterface_name(subject, code, sentence)
                yield f"{folder}/sentence {sentence}/{name}.avi"


def _enterface_name(subject: int, code: str, sentence: int) -> str:
    if subject == 11:
        return f"s12_{code}_{sentence}"
    if (subject, code, sentence) == (16, "su", 3):
        return "s16_su_3avi"
    if subject == 2 and code == "an" and sentence <= 2:
        return f"s2_an_{3 - sentence}"
    sixteen = (code in ("an", "di", "fe")) or (code == "ha" and sentence == 1)
    if subject == 3 and sixteen:
        return f"s_3_{code}_{sentence}"
    return f"s{subject}_{code}_{sentence}"


def ravdess_paths(modality: str = "01", channel: str = "01") -> Iterator[str]:
    """1440 spoken takes, or 1012 sung ones."""
    for actor in range(1, 25):
        if channel == "02" and actor == 18:
            continue
        for emotion in range(1, 9 if channel == "01" else 7):
            for level in (1,) if emotion == 1 else (1, 2):
                for statement in (1, 2):
                    for repetition in (1, 2):
                        codes = (emotion, level, statement, repetition, actor)
                        name = "-".join(f"{code:02d}" for code in codes)
                        suffix = ".wav" if modality == "03" else ".mp4"
                        yield f"Actor_{actor:02d}/{modality}-{channel}-{name}{suffix}"


def savee_names() -> Iterator[str]:
    """The 120 names of each speaker's clips."""
    for code in ("a", "d", "f", "h", "n", "sa", "su"):
        for number in range(1, 31 if code == "n" else 16):
            yield f"{code}{number:02d}"


def by_id(listing: CorpusListing) -> dict[str, Clip]:
    """The clips by their ids, all different."""
    clips = {clip.clip_id: clip for clip in listing.clips}
    assert len(clips) == len(listing.clips)
    return clips


def counts(clips: Sequence[Clip], of: str) -> Counter[str]:
    """How many clips there are of each subject, emotion or sentence."""
    return Counter(str(getattr(clip, of)) for clip in clips)


def reasons(remarks: Sequence[Remark]) -> dict[str, str]:
    """Each file that is remarked on, with the words; each once."""
    said = {remark.path: remark.what for remark in remarks}
    assert len(said) == len(remarks)
    return said
