"""Which clips hold the same recording, whatever their files look like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.fingerprint import BITS, HOP, RATE, SILENCE, Words

MOST_BITS_DIFFER = 0.28
"""Share of bits, of two pieces that are one recording. By chance it is a half."""
LEAST_SECONDS = 0.8
"""Of words that two clips must share; a shorter clip must be in the other as good as whole."""
LEAST_WHOLE = 0.8
"""Share of a short clip's words that counts as the whole: codecs add and take at the ends."""
_MASKS = (0xFFFFFF00, 0xFFFF00FF, 0xFF00FFFF, 0x00FFFFFF)
"""Words are looked up by 24 of their bits: a copy that lost much has few that are equal in 32."""
_LEAST_ALIKE = 2
"""Words equal under a mask, at one shift, that make it worth comparing all of them."""
_NEIGHBOURS = 24
"""Occurrences of a word that each one is paired with: some words are everybody's. Of many copies
of one file each is still paired with the next."""
_COMPARED_AT_ONCE = 2**22
"""Words: bounds the memory of a comparison."""
_REPEATS_AFTER, _REPEATS_FOR = 16, 24
"""Words: a sound that comes again so much later, for so long, is a tone or the mains' hum. Two
clips may hold it and be no copies of each other."""
_Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, order=True)
class SameSound:
    """Two clips that share a piece of sound."""

    clip_id: str
    other: str
    shift_s: float
    """Where the first clip's beginning lies in the other."""
    seconds: float
    """Of the sound in common."""
    bits_differ: float


def same_sound(prints: Mapping[str, Words]) -> list[SameSound]:
    """Return pairs of clips that share a piece of one recording, in order.

    Words that are (nearly) equal propose two clips and a shift, found by sorting all words: time
    grows with the sound there is, not with its square. Then all that overlaps is compared. Of
    more than some twenty copies of one recording not every pair is listed, but each copy with the
    next ones by name: whichever way the copies are divided, a listed pair is divided.

    Args:
        prints: clip_id -> what `pipelines.fingerprint` makes of its sound.
    """
    clip_ids = sorted(clip_id for clip_id, words in prints.items() if np.any(words != SILENCE))
    if len(clip_ids) < 2:
        return []
    sounds = _Sounds([prints[clip_id] for clip_id in clip_ids])
    found: dict[tuple[str, str], SameSound] = {}
    for one, other, shift, words, differ in sounds.agreeing(*sounds.proposed()):
        pair = (clip_ids[one], clip_ids[other])
        if pair not in found or differ < found[pair].bits_differ:
            seconds = round(words * HOP / RATE, 3)
            found[pair] = SameSound(*pair, shift * HOP / RATE, seconds, round(differ, 4))
    return sorted(found.values())


def most_bits_differ(words: _Integers) -> npt.NDArray[np.float64]:
    """Return the share of bits that may differ over so many words: less where there are few.

    Neighbouring words are alike, so that the share scatters widely over a short piece. The curve
    lies well below what unlike pieces of one speaker's sound come to (docs/protocols.md).
    """
    return np.minimum(MOST_BITS_DIFFER, 0.4 - 1.4 / np.sqrt(np.maximum(words, 1)))


class _Sounds:
    """The words of many clips, one after another."""

    def __init__(self, prints: list[Words]) -> None:
        self.lengths = np.array([len(words) for words in prints])
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.words = np.concatenate(prints).astype(np.uint32, copy=False)
        self.owners = np.repeat(np.arange(len(prints)), self.lengths)
        self.places = np.arange(len(self.words)) - self.starts[self.owners]
        audible = self.words != SILENCE
        self.audible = np.add.reduceat(audible, self.starts).astype(np.int64)
        self.longest = int(self.lengths.max())
        self._repeating: dict[int, bool] = {}

    def proposed(self) -> tuple[_Integers, _Integers, _Integers]:
        """Return first clips, second clips and the shifts at which they have words in common."""
        heard = np.flatnonzero(self.words != SILENCE)
        keys = np.concatenate([self._pairs(heard, np.uint32(mask)) for mask in _MASKS])
        keys, counts = np.unique(keys, return_counts=True)
        pairs, shifts = np.divmod(keys[counts >= _LEAST_ALIKE], 2 * self.longest)
        one, other = np.divmod(pairs, len(self.lengths))
        return one, other, shifts - self.longest

    def _pairs(self, heard: _Integers, mask: np.uint32) -> _Integers:
        """Return a number for the clips and the shift of any two words equal under a mask."""
        masked = self.words[heard] & mask
        order = np.argsort(masked, kind="stable")
        masked, heard = masked[order], heard[order]
        found = []
        first = np.arange(len(heard))
        for step in range(1, _NEIGHBOURS + 1):
            first = first[first + step < len(heard)]
            first = first[masked[first] == masked[first + step]]
            if not len(first):
                break
            # In order of the clips within a word, because the sort is stable.
            a, b = heard[first], heard[first + step]
            a, b = a[self.owners[a] != self.owners[b]], b[self.owners[a] != self.owners[b]]
            shifts = self.places[b] - self.places[a] + self.longest
            pairs = self.owners[a] * len(self.lengths) + self.owners[b]
            found.append(pairs * (2 * self.longest) + shifts)
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def agreeing(
        self, one: _Integers, other: _Integers, shifts: _Integers
    ) -> Iterator[tuple[int, int, int, int, float]]:
        """Compare all that overlaps; give clips, shift, words compared, share of bits differing."""
        begin = np.maximum(0, -shifts)
        length = np.minimum(self.lengths[one], self.lengths[other] - shifts) - begin
        least = np.minimum(
            LEAST_SECONDS * RATE / HOP,
            LEAST_WHOLE * np.minimum(self.audible[one], self.audible[other]),
        )
        likely = np.flatnonzero(length >= np.maximum(least, 1))
        per_round = max(1, _COMPARED_AT_ONCE // self.longest)
        for start in range(0, len(likely), per_round):
            some = likely[start : start + per_round]
            a = self.starts[one[some]] + begin[some]
            b = self.starts[other[some]] + begin[some] + shifts[some]
            words, differing = self._compare(a, b, length[some])
            share = differing / np.maximum(BITS * words, 1)
            alike = (words >= least[some]) & (share <= most_bits_differ(words))
            for index in np.flatnonzero(alike):
                number = some[index]
                clips = int(one[number]), int(other[number])
                if not (self.repeats(clips[0]) or self.repeats(clips[1])):
                    yield *clips, int(shifts[number]), int(words[index]), float(share[index])

    def repeats(self, clip: int) -> bool:
        """Whether a clip's sound is like itself at another time, and so like no one recording."""
        if clip not in self._repeating:
            self._repeating[clip] = self._repeats(int(self.starts[clip]), int(self.lengths[clip]))
        return self._repeating[clip]

    def _repeats(self, start: int, length: int) -> bool:
        after = np.arange(_REPEATS_AFTER, length - _REPEATS_FOR + 1)
        if not len(after):
            return False
        begin = np.full(len(after), start)
        words, differing = self._compare(begin, begin + after, length - after)
        alike = differing <= BITS * words * most_bits_differ(words)
        return bool(np.any(alike & (words >= _REPEATS_FOR)))

    def _compare(
        self, a: _Integers, b: _Integers, length: _Integers
    ) -> tuple[_Integers, _Integers]:
        """Count the words audible in both of some pieces, and the bits in which those differ."""
        ends = np.cumsum(length)
        within = np.arange(ends[-1]) - np.repeat(ends - length, length)
        left, right = (
            self.words[np.repeat(a, length) + within],
            self.words[np.repeat(b, length) + within],
        )
        both = (left != SILENCE) & (right != SILENCE)
        bits = np.where(both, np.bitwise_count(left ^ right), 0)
        first = ends - length
        return (
            np.add.reduceat(both.astype(np.int64), first),
            np.add.reduceat(bits.astype(np.int64), first),
        )
