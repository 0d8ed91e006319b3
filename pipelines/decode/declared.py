"""What a container declares of itself: its size in bytes, and its length in seconds."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import InputContainer

INDEXED = frozenset({"avi", "mov", "mp4", "matroska", "webm", "flv"})
"""Containers that let a decoder find every frame, and whose headers have a place for a length."""

_HEAD = 2**16
"""Bytes at the start within which Matroska and FLV tell their length."""
_MATROSKA_DURATION = re.compile(rb"\x44\x89(?:\x84.{4}|\x88.{8})", re.DOTALL)
_FLV_DURATION = re.compile(rb"\x00\x08duration\x00(.{8})", re.DOTALL)
_SAME_S = 0.25
"""Two declared lengths that differ by less than this are the same."""


@dataclass(frozen=True)
class Declared:
    """Lengths in seconds; ends are on the container's own clock."""

    whole_s: float | None
    """Of the file; None where nothing is declared."""
    ends_s: Mapping[int, float] = field(default_factory=dict)
    """By number of the stream, where the container keeps one for each."""

    def of_another(self, streams: set[int]) -> bool:
        """Whether the file's length is that of a stream other than the given ones."""
        others = [end for index, end in self.ends_s.items() if index not in streams]
        return any(abs(end - (self.whole_s or 0.0)) < _SAME_S for end in others)


def declared_lengths(container: InputContainer, path: Path) -> Declared:
    """What the header says, and never what FFmpeg guesses from bit rates or the last packet."""
    import av

    names = frozenset(container.format.name.split(","))
    if "avi" in names:
        # Of a cut file FFmpeg guesses the duration; its header counts ticks.
        ends = _ends(container, by_count=True)
        return Declared(max(ends.values(), default=None), ends)
    if "mov" in names:
        ends = _ends(container)
        with path.open("rb") as file:
            whole_s = _movie_seconds(file, path.stat().st_size)
        return Declared(whole_s or max(ends.values(), default=None), ends)
    if not names & INDEXED or not container.duration:
        return Declared(None)
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if "flv" in names:
        found = _FLV_DURATION.search(head)
        told = found is not None and struct.unpack(">d", found[1])[0] > 0
    else:
        told = _MATROSKA_DURATION.search(head) is not None
    return Declared(container.duration / av.time_base if told else None)


def _ends(container: InputContainer, by_count: bool = False) -> dict[int, float]:
    """Declared ends of the streams; not those of a fragmented MP4, which FFmpeg adds up itself."""
    ends = {}
    for stream in container.streams:
        ticks = stream.frames if by_count else stream.duration
        if stream.frames and ticks and stream.time_base:
            ends[stream.index] = float(((stream.start_time or 0) + ticks) * stream.time_base)
    return ends


def _movie_seconds(file: IO[bytes], size: int) -> float:
    """The length in the header of an MP4 (mvhd), which FFmpeg does not look at; 0 if unknown."""
    for kind, at, length in _boxes(file, size):
        if kind == b"moov":
            file.seek(at)
            head = file.read(min(length, 256))
            found = head.find(b"mvhd")
            if found < 0 or len(head) < found + 40:
                return 0.0
            form, offset = (">IQ", 24) if head[found + 4] == 1 else (">II", 16)
            scale, ticks = struct.unpack_from(form, head, found + offset)
            unknown = ticks in (2**32 - 1, 2**64 - 1)
            return 0.0 if unknown or not scale else float(ticks / scale)
    return 0.0


def cut_bytes(path: Path) -> str:
    """Say how many of its bytes a file lacks; "" where it is whole or does not tell."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            declared = _declared_bytes(file, size)
        except (struct.error, IndexError):
            return ""  # a header of a few bytes
    return f"the file has {size} of {declared} bytes" if declared > size else ""


def _declared_bytes(file: IO[bytes], size: int) -> int:
    """The size that the outermost structure of AVI, MP4 or Matroska declares; 0 if unknown."""
    head = file.read(64)
    if head[:4] == b"RIFF":
        (inside,) = struct.unpack("<I", head[4:8])
        return 8 + inside if 0 < inside < 2**32 - 1 else 0
    if head[:4] == b"\x1aE\xdf\xa3":
        length, inside = _matroska_size(head, 4)
        start = length + inside
        if head[start : start + 4] != b"\x18\x53\x80\x67":
            return size + 1 if start >= size else 0
        length, inside = _matroska_size(head, start + 4)
        return length + inside if inside >= 0 else 0
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        boxes = list(_boxes(file, size))
        return boxes[-1][1] + boxes[-1][2] if boxes and all(box[2] for box in boxes) else 0
    return 0


def _matroska_size(data: bytes, at: int) -> tuple[int, int]:
    """Where a variable-length size at `at` ends, and the size; -1 for an unknown one."""
    first = data[at]
    length = 9 - first.bit_length()
    if length > 8 or at + length > len(data):
        raise IndexError
    value = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return at + length, -1 if value == (1 << 7 * length) - 1 else value


def _boxes(file: IO[bytes], size: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and declared length of the outermost boxes of an MP4, as far as they make sense.

    A length of 0 is that of a box that is open, or damaged.
    """
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        (length,) = struct.unpack(">I", head[:4])
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack(">Q", head[8:])
        yield head[4:8], at, length if length >= 8 else 0
        if length < 8:
            return
        at += length
