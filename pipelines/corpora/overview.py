"""A corpus at a glance, as text of 80 columns: who shows what, what is odd, what is left out."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill

from pipelines.corpora.tree import CorpusListing, Published, Remark
from pipelines.records import Clip

WIDTH = 80
MOST_FILES = 3
"""Files that are named under one remark; the others are counted."""
MOST_VALUES = 8
"""An attribute of more values than this (age) divides nobody into groups."""
ALL = "all"


def describe(listing: CorpusListing) -> str:
    """Return the table of clips by subject and emotion, and all remarks, to be printed."""
    clips = listing.clips
    subjects = {clip.subject for clip in clips}
    unused = (
        f" ({len(listing.left_out)} of {len(listing.left_out) + len(clips)} files left out)"
        if listing.left_out
        else ""
    )
    blocks = [
        [
            f"{listing.name}: {_many(len(clips), 'clip')} of {_many(len(subjects), 'subject')} "
            f"in {listing.root}{unused}"
        ],
        *_tables(clips),
        [*_attributes(clips), *_beside(listing)],
        list(_remarks("irregular", listing.irregular)),
        list(_remarks("left out", listing.left_out)),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def natural(text: str) -> list[tuple[int, str]]:
    """Return a sorting key by which s2 comes before s10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _tables(clips: Sequence[Clip]) -> Iterator[list[str]]:
    """Yield the table, in parts where there are more emotions than fit beside each other."""
    counts: Counter[tuple[str | None, str | None]] = Counter()
    for clip in clips:
        for subject in (clip.subject, None):  # None: the sum over all
            counts.update([(subject, clip.emotion), (subject, None)])
    subjects = [*sorted({clip.subject for clip in clips}, key=natural), None]
    emotions = [*sorted({clip.emotion for clip in clips}), None]
    first = max(len("subject"), *(len(subject or ALL) for subject in subjects))
    widths = {e: max(len(e or ALL), len(str(counts[None, e]))) for e in emotions}
    for columns in _parts(widths, WIDTH - first):
        yield [
            "subject".ljust(first) + "".join(f" {e or ALL:>{widths[e]}}" for e in columns),
            *(
                (subject or ALL).ljust(first)
                # A point, so that what is missing stands out among the figures.
                + "".join(f" {counts[subject, e] or '·':>{widths[e]}}" for e in columns)
                for subject in subjects
            ),
        ]


def _parts(widths: Mapping[str | None, int], room: int) -> list[list[str | None]]:
    parts: list[list[str | None]] = [[]]
    left = room
    for name, width in widths.items():
        if parts[-1] and width + 1 > left:
            parts.append([])
            left = room
        parts[-1].append(name)
        left -= width + 1
    return parts


def _attributes(clips: Sequence[Clip]) -> Iterator[str]:
    for name in sorted({name for clip in clips for name in clip.attributes}):
        values = Counter(clip.attributes.get(name, "not said") for clip in clips)
        if len(values) <= MOST_VALUES:
            counts = ", ".join(f"{value} {count}" for value, count in values.most_common())
            yield _wrapped(f"{name}: {counts}")


def _beside(listing: CorpusListing) -> Iterator[str]:
    """Yield what others had of the corpus."""
    published = listing.published
    if published is None:
        return
    yield _wrapped(f"published: {_published(published)}")
    if published.paper:
        yield _wrapped(
            f"Priyasad et al. 2019 used {published.paper}: a part that they do not name; "
            f"{len(listing.clips)} clips are used here"
        )


def _published(published: Published) -> str:
    of_emotion: dict[int, list[str]] = defaultdict(list)
    for emotion, count in published.per_emotion.items():
        of_emotion[count].append(emotion)
    common = max(of_emotion, key=lambda count: len(of_emotion[count]))
    others = [f"{e} {count}" for count, es in of_emotion.items() if count != common for e in es]
    exceptions = f" ({', '.join(others)})" if others else ""
    return (
        f"{_many(published.clips, 'clip')} of {_many(len(published.subjects), 'subject')}, "
        f"{common} of each emotion{exceptions}"
    )


def _remarks(title: str, remarks: Sequence[Remark]) -> Iterator[str]:
    """Yield what is remarked, each case once with how many files it is true of."""
    if not remarks:
        return
    files = sum(remark.path != "" for remark in remarks)
    yield f"{title}: {_many(files, 'file')}" if files else f"{title}:"
    cases: dict[str, list[Remark]] = defaultdict(list)
    for remark in remarks:
        cases[remark.what].append(remark)
    for what, of_case in cases.items():
        named = [remark for remark in of_case if remark.path]
        count = f"{_many(len(named), 'file')}: " if named else ""
        yield _wrapped(f"- {count}{what}", "  ")
        for remark in named[:MOST_FILES]:
            yield f"    {remark.path}" + (f" ({remark.detail})" if remark.detail else "")
        if len(named) > MOST_FILES:
            yield f"    and {len(named) - MOST_FILES} more"


def _wrapped(text: str, indent: str = "  ") -> str:
    return fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
