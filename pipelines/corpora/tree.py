"""From the files of a corpus to its clips: what the readers of known corpora share.

A reader says what one file's path means; here the clips are put together, second copies are found,
and the whole is compared with what was published.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from pipelines.corpora.clip_ids import clip_ids
from pipelines.corpora.folder import SOUND_SUFFIXES, CorpusFile, CorpusFolder, printable
from pipelines.errors import UsageError, require
from pipelines.records import Clip

MOST_NAMED = 8
"""Subjects or suffixes that one message names."""


@dataclass
class CorpusSettings:
    """Where the files of a corpus are."""

    name: str
    root: str = ""
    """A folder, or an address in object storage."""
    outside_links: bool = False
    """Follow links that lead out of the root; without it they are refused."""

    def __post_init__(self) -> None:
        require(
            bool(self.name) and "/" not in self.name,
            f"corpus.name ({self.name}) must be a plain name: it names folders and MLflow tags",
        )


@dataclass(frozen=True)
class Remark:
    """What is to be known of one file, or of the corpus as a whole (no path)."""

    path: str
    """Relative to the corpus root, POSIX."""
    what: str
    """The same words for the same case, so that remarks can be counted."""
    detail: str = ""


@dataclass(frozen=True)
class Published:
    """What the authors of a corpus say is in it."""

    subjects: tuple[str, ...]
    per_emotion: Mapping[str, int]
    """Clips of each emotion."""
    paper: str = ""
    """What Priyasad et al. 2019 used of it (section 4)."""

    @property
    def clips(self) -> int:
        """How many clips there are."""
        return sum(self.per_emotion.values())


@dataclass(frozen=True)
class CorpusListing:
    """The clips of a corpus, and all that is not as a reader would expect."""

    name: str
    root: str
    clips: tuple[Clip, ...]
    """Sorted by id."""
    left_out: tuple[Remark, ...] = ()
    """Every media file of the tree that is no clip, with the reason."""
    irregular: tuple[Remark, ...] = ()
    """What is odd, and what was made of it."""
    published: Published | None = None


@dataclass(frozen=True, kw_only=True)
class Take:
    """What the path of a file says of the recording in it."""

    subject: str
    emotion: str
    sentence: str | None = None
    take: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    recording: Hashable
    """Two files with the same value are the same recording."""
    odd: tuple[str, ...] = ()
    """What is irregular about the path, and what was made of it."""


TakeReader = Callable[[CorpusFile], Take | str]
"""Returns what a video file's path says, or why it is no clip."""


def read_folder(
    settings: CorpusSettings, *, expected: str, take_of: TakeReader, published: Published
) -> CorpusListing:
    """Return the clips under `settings.root`, whatever folders are around them; see `read_tree`.

    Raises:
        UsageError: there is no such folder, or no clip in it.
    """
    folder = CorpusFolder.open(settings.root, expected, outside_links=settings.outside_links)
    return read_tree(
        folder, folder.files(), settings, expected=expected, take_of=take_of, published=published
    )


def read_tree(
    folder: CorpusFolder,
    files: Sequence[CorpusFile],
    settings: CorpusSettings,
    *,
    expected: str,
    take_of: TakeReader,
    published: Published,
) -> CorpusListing:
    """Return the clips among the files of a folder. `expected` says its layout in a few words.

    Raises:
        UsageError: no file fits; says what was expected and what was found. Or links lead out of
            the root, and nobody said that they may: without them people could be missing unseen.
    """
    require(
        not folder.leading_out,
        f"links lead out of corpus.root ({settings.root}): {_some(folder.leading_out)}; follow "
        "them with corpus.outside_links=true, or take them away",
    )
    takes, left_out = _takes(files, take_of)
    kept, copies, irregular = _one_of_each(takes)
    left_out += copies
    if not kept:
        raise UsageError(
            f"corpus.root ({settings.root}) holds no clip of {settings.name}: expected {expected}; "
            f"found {_what_is_there(files, left_out)}"
        )
    irregular += [Remark(file.path, odd) for file, take in kept for odd in take.odd]
    irregular += not_looked_into(folder)
    ids = clip_ids([PurePosixPath(file.path) for file, _ in kept])
    clips = [
        Clip(
            clip_id=clip_id,
            path=folder.address(file.path),
            subject=take.subject,
            emotion=take.emotion,
            sentence=take.sentence,
            take=take.take,
            attributes=take.attributes,
            corpus=settings.name,
        )
        for clip_id, (file, take) in zip(ids, kept, strict=True)
    ]
    return CorpusListing(
        name=settings.name,
        root=settings.root,
        clips=tuple(sorted(clips, key=lambda clip: clip.clip_id)),
        left_out=tuple(sorted(left_out, key=lambda remark: remark.path)),
        irregular=(
            *differences(clips, published),
            *sorted(irregular, key=lambda remark: remark.path),
        ),
        published=published,
    )


_Found = tuple[CorpusFile, Take]


def _takes(files: Sequence[CorpusFile], take_of: TakeReader) -> tuple[list[_Found], list[Remark]]:
    takes: list[_Found] = []
    left_out: list[Remark] = []
    for file in files:
        if not file.is_media:
            continue
        if printable(file.path) != file.path:
            reading: Take | str = "its name is not UTF-8: rename it"
        elif file.suffix in SOUND_SUFFIXES:
            reading = "sound alone: clips are read from video files"
        else:
            reading = take_of(file)
        if isinstance(reading, str):
            left_out.append(Remark(printable(file.path), reading))
        else:
            takes.append((file, reading))
    return takes, left_out


def _one_of_each(takes: Iterable[_Found]) -> tuple[list[_Found], list[Remark], list[Remark]]:
    """Keep one file of each recording: a clip under two ids is counted, or leaks, twice.

    Returns:
        What is kept, what is left out, and what is irregular about it.
    """
    recordings: dict[Hashable, list[_Found]] = defaultdict(list)
    for file, take in takes:
        recordings[take.recording].append((file, take))
    kept: list[_Found] = []
    left_out: list[Remark] = []
    irregular: list[Remark] = []
    for found in recordings.values():
        # Of the files that are not empty, the one that is named as it should be, nearest the root.
        first, *others = sorted(
            found,
            key=lambda pair: (
                pair[0].size == 0,
                len(pair[1].odd),
                len(pair[0].folders),
                pair[0].path,
            ),
        )
        kept.append(first)
        for file, _ in others:
            used = first[0]
            if file.suffix != used.suffix:
                words = "the same recording in another container is used"
            elif file.size == used.size:
                words = "a second copy: a file of the same name and size is used"
            else:
                words = "a second file of the same recording, of another size: one is used"
                sizes = f"{used.size} bytes, {file.path} has {file.size}"
                irregular.append(
                    Remark(used.path, "another file of the recording differs in size", sizes)
                )
            left_out.append(Remark(file.path, words, used.path))
    return kept, left_out, irregular


def not_looked_into(folder: CorpusFolder) -> list[Remark]:
    """Return what the listing of a folder could not see, or was not to."""
    return [
        *(
            Remark(path, "this folder can't be read: whatever is in it is missing")
            for path in folder.unreadable
        ),
        *(
            Remark(
                path,
                "a link that leads out of corpus.root, and is not followed: "
                "corpus.outside_links=true follows it",
            )
            for path in folder.leading_out
        ),
    ]


def differences(clips: Sequence[Clip], published: Published) -> list[Remark]:
    """Return where a corpus differs from what was published of it; nothing is refused for it."""
    remarks = []
    subjects = Counter(clip.subject for clip in clips)
    missing = [subject for subject in published.subjects if subject not in subjects]
    if len(clips) != published.clips or missing:
        none = f", none of {_some(missing)}" if missing else ""
        remarks.append(
            Remark(
                "",
                f"{published.clips} clips of {len(published.subjects)} subjects were published: "
                f"{len(clips)} of {len(subjects)} are here{none}",
            )
        )
    emotions = Counter(clip.emotion for clip in clips)
    off = [
        f"{emotion} {emotions[emotion]} instead of {count}"
        for emotion, count in published.per_emotion.items()
        if emotions[emotion] != count
    ]
    if off:
        remarks.append(Remark("", f"clips by emotion: {', '.join(off)}"))
    remarks += [
        Remark("", f"subject {subject} is none of those published: its {count} clips are kept")
        for subject, count in sorted(subjects.items())
        if subject not in published.subjects
    ]
    return remarks


def _what_is_there(files: Sequence[CorpusFile], left_out: Sequence[Remark]) -> str:
    if not files:
        return "no file"
    suffixes = Counter(file.suffix or "no suffix" for file in files)
    counts = _some([f"{count} {suffix}" for suffix, count in suffixes.most_common()])
    if left_out:
        return f"{counts}; {left_out[0].path}: {left_out[0].what}"
    return f"{counts}, {printable(files[0].path)} first"


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
