"""Which clips hold the same recording, whatever their files look like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pipelines.fingerprint import BITS, HOP, RATE, SILENCE, Words

MOST_BITS_DIFFER = 0.3
"""Share of bits, of two pieces that are one recording. By chance it is a half."""
LEAST_SECONDS = 0.8
"""Of sound that two clips must share."""
_LEAST_WORDS_ALIKE = 2
"""Equal words at one shift that make it worth comparing all of them."""
_MOST_CLIPS_A_WORD = 50
"""A word that more clips hold is a sound that everybody makes."""


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
    """Return all pairs of clips that share at least `LEAST_SECONDS` of one recording, in order.

    Pairs are compared only where some of their words are equal, found by sorting all words: time
    grows with the sound there is, not with its square.
    """
    found: dict[tuple[str, str], SameSound] = {}
    for (clip_id, other, shift), count in _shifts(prints).items():
        if count < _LEAST_WORDS_ALIKE:
            continue
        pair = _compare(clip_id, other, prints[clip_id], prints[other], shift)
        if pair is None:
            continue
        held = found.get((clip_id, other))
        if held is None or pair.bits_differ < held.bits_differ:
            found[clip_id, other] = pair
    return sorted(found.values())


def _shifts(prints: Mapping[str, Words]) -> Counter[tuple[str, str, int]]:
    """Count, for two clips and a shift between them, the words that they have in common."""
    clip_ids = sorted(clip_id for clip_id, words in prints.items() if len(words))
    if not clip_ids:
        return Counter()
    words = np.concatenate([prints[clip_id] for clip_id in clip_ids])
    owners = np.repeat(np.arange(len(clip_ids)), [len(prints[c]) for c in clip_ids])
    places = np.concatenate([np.arange(len(prints[clip_id])) for clip_id in clip_ids])
    order = np.argsort(words, kind="stable")
    starts = np.flatnonzero(np.diff(words[order]))
    counted: Counter[tuple[str, str, int]] = Counter()
    for group in np.split(order, starts + 1):
        if words[group[0]] == SILENCE or not 1 < len({*owners[group]}) <= _MOST_CLIPS_A_WORD:
            continue
        for one, other in combinations(group, 2):
            if owners[one] != owners[other]:
                shift = int(places[other] - places[one])
                counted[clip_ids[owners[one]], clip_ids[owners[other]], shift] += 1
    return counted


def _compare(clip_id: str, other: str, a: Words, b: Words, shift: int) -> SameSound | None:
    """Compare all that overlaps when the first clip begins `shift` words into the other."""
    first, last = max(0, -shift), min(len(a), len(b) - shift)
    a, b = a[first:last], b[first + shift : last + shift]
    both = (a != SILENCE) & (b != SILENCE)
    seconds = int(both.sum()) * HOP / RATE
    if seconds < LEAST_SECONDS:
        return None
    differing = np.unpackbits((a ^ b)[both].view(np.uint8)).sum() / (BITS * int(both.sum()))
    if differing > MOST_BITS_DIFFER:
        return None
    return SameSound(clip_id, other, shift * HOP / RATE, round(seconds, 3), round(differing, 4))
