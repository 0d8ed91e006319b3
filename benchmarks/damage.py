"""Broken media files made from good ones, with what is known of each; the same each time."""

from __future__ import annotations

import os
import random
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.clip_forms import USUAL, Form, Recording, encode, still
from pipelines.records import REASONS, TRANSIENT_REASONS

Truth = frozenset[str]
"""Reasons of which one is true of a file; "" and the others that an `ok` clip carries included."""

USABLE: Truth = frozenset({"", "no_voice", "padded"})
ANYTHING: Truth = (
    frozenset(REASONS)
    - TRANSIENT_REASONS
    - {"missing_file", "empty_file", "decoder_crashed", "too_short"}
)
"""Of a file with a few wrong bits: it may be as good as before, or good for nothing."""
SHORTER: Truth = USABLE | {"no_face", "too_few_faces", "no_audio", "no_video", "decode_error"}
"""Of a cut file that declares no length: it is a shorter clip, if there is enough of it."""
LONG_S = 600
DECLARING = frozenset({".avi", ".mp4", ".mov", ".mkv", ".flv"})


@dataclass(frozen=True)
class BrokenFile:
    """A file that was made, and the reasons that are true of it."""

    path: Path
    kind: str
    truth: Truth


@dataclass
class Breaker:
    """Makes broken files of recordings in every usual form."""

    recordings: list[Recording]
    folder: Path
    seed: int = 0
    _whole: dict[tuple[int, str], bytes] = field(default_factory=dict)
    _long: dict[str, Path] = field(default_factory=dict)

    def make(self, count: int) -> Iterator[BrokenFile]:
        """Write `count` files, all kinds in turn; the first twelve hold each kind once."""
        made: Counter[str] = Counter()
        for index in range(count):
            kind = ORDER[index % len(ORDER)]
            chance = random.Random(f"{self.seed} {index}")
            # Every kind meets every form in turn, and no two kinds begin with the same.
            form = USUAL[(made[kind] + list(KINDS).index(kind)) % len(USUAL)]
            made[kind] += 1
            number = chance.randrange(len(self.recordings))
            path = self.folder / f"{index:04d} {kind} {Path(form.name).suffix[1:]}"
            path = path.with_suffix(Path(form.name).suffix)
            truth = KINDS[kind](self, path, form, number, chance)
            yield BrokenFile(path, kind, truth)

    def whole(self, number: int, form: Form) -> bytes:
        """The bytes of a good file."""
        key = number, form.name
        if key not in self._whole:
            path = self.folder / f".whole{Path(form.name).suffix}"
            encode(self.recordings[number], form, path)
            self._whole[key] = path.read_bytes()
            path.unlink()
        return self._whole[key]

    def cut(self, path: Path, form: Form, number: int, chance: random.Random) -> Truth:
        """Only the first tenths of the file."""
        tenths = chance.randrange(1, 10)
        data = self.whole(number, form)
        path.write_bytes(data[: len(data) * tenths // 10])
        if path.suffix not in DECLARING:
            return SHORTER
        # A last tenth may hold less than what is tolerated.
        return frozenset({"truncated"}) if tenths < 9 else USABLE | {"truncated"}

    def flip_header(self, path: Path, form: Form, number: int, chance: random.Random) -> Truth:
        """Some bits of what describes the streams."""
        data = bytearray(self.whole(number, form))
        index = data.find(b"moov")
        first, last = (index, len(data)) if index > 0 else (0, min(8192, len(data) // 8))
        _flip(data, first, last, chance)
        path.write_bytes(data)
        return ANYTHING

    def flip_body(self, path: Path, form: Form, number: int, chance: random.Random) -> Truth:
        """Some bits of picture and sound."""
        data = bytearray(self.whole(number, form))
        _flip(data, len(data) // 8, len(data), chance)
        path.write_bytes(data)
        return ANYTHING

    def zeroed(self, path: Path, form: Form, number: int, chance: random.Random) -> Truth:
        """A span of zeros, as a bad copy leaves it."""
        data = bytearray(self.whole(number, form))
        length = chance.randrange(16, len(data) // 3)
        first = chance.randrange(0, len(data) - length)
        data[first : first + length] = bytes(length)
        path.write_bytes(data)
        return ANYTHING

    def empty(self, path: Path, form: Form, number: int, chance: random.Random) -> Truth:
        """No bytes."""
        path.touch()
        return frozenset({"empty_file"})

    def text(self, path: Path, form: Form, number: int, chance: random.Random) -> Truth:
        """Words in a file that is called a film."""
        words = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "\n")
        path.write_text(" ".join(chance.choices(words, k=chance.randrange(1, 5000))))
        return frozenset({"not_media"})

    def silent(self, path: Path, form: Form, number: int, chance: random.Random) -> Truth:
        """No audio track."""
        encode(self.recordings[number], replace(form, audio=None), path)
        return frozenset({"no_audio"})

    def blind(self, path: Path, form: Form, number: int, chance: random.Random) -> Truth:
        """No video track."""
        encode(self.recordings[number], replace(form, video=None), path)
        return frozenset({"no_video"})

    def declared_longer(self, path: Path, form: Form, number: int, chance: random.Random) -> Truth:
        """A header that declares more than there is: what was lost can't be told from a cut."""
        if path.suffix not in DECLARING:
            return self.cut(path, form, number, chance)
        factor = chance.uniform(2, 50)
        path.write_bytes(_redeclare(self.whole(number, form), path.suffix, factor))
        return frozenset({"truncated"})

    def declared_shorter(self, path: Path, form: Form, number: int, chance: random.Random) -> Truth:
        """A header that declares less than there is."""
        if path.suffix not in DECLARING:
            return self.cut(path, form, number, chance)
        path.write_bytes(
            _redeclare(self.whole(number, form), path.suffix, chance.uniform(0.1, 0.6))
        )
        return USABLE

    def one_frame(self, path: Path, form: Form, number: int, chance: random.Random) -> Truth:
        """One picture beside the whole sound."""
        encode(self.recordings[number], replace(form, frames=1), path)
        return USABLE | {"no_face"}

    def ten_minutes(self, path: Path, form: Form, number: int, chance: random.Random) -> Truth:
        """A recording that was never stopped."""
        suffix = path.suffix
        if suffix not in self._long:
            self._long[suffix] = path
            # MPEG-1 knows no rate below 23.976.
            mpeg = replace(form, video="mpeg1video", frame_rate=25) if suffix == ".mpg" else form
            long = replace(mpeg, sample_rate=16000, options=(("bf", "0"),))
            encode(still(LONG_S), long, path)
        else:
            os.link(self._long[suffix], path)
        return frozenset({"too_long"})


Make = Callable[[Breaker, Path, Form, int, random.Random], Truth]
KINDS: dict[str, Make] = {
    name: getattr(Breaker, name)
    for name in (
        "cut", "flip_header", "flip_body", "zeroed", "empty", "text", "silent", "blind",
        "declared_longer", "declared_shorter", "one_frame", "ten_minutes",
    )
}  # fmt: skip
ORDER = (*KINDS, *("cut", "flip_header", "flip_body", "zeroed") * 2)
"""Each kind once in a round, those that depend on chance three times."""


def _flip(data: bytearray, first: int, last: int, chance: random.Random) -> None:
    for _ in range(2 ** chance.randrange(7)):
        data[chance.randrange(first, last)] ^= 1 << chance.randrange(8)


def _redeclare(data: bytes, suffix: str, factor: float) -> bytes:
    """Multiply the length that a header declares."""
    changed = bytearray(data)
    for mark, offset, form in _LENGTHS[suffix]:
        at = data.find(mark)
        while at >= 0:
            (length,) = struct.unpack_from(form, data, at + offset)
            struct.pack_into(form, changed, at + offset, type(length)(length * factor))
            at = data.find(mark, at + 1) if suffix == ".avi" else -1
    return bytes(changed)


_LENGTHS: dict[str, tuple[tuple[bytes, int, str], ...]] = {
    # In each strh of an AVI, and in its avih.
    ".avi": ((b"strh", 40, "<I"), (b"avih", 24, "<I")),
    ".mp4": ((b"mvhd", 20, ">I"),),
    ".mov": ((b"mvhd", 20, ">I"),),
    ".mkv": ((b"\x44\x89\x88", 3, ">d"),),
    ".flv": ((b"\x00\x08duration\x00", 11, ">d"),),
}
