"""Which subject of the training part is held out in it, to choose epochs by."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from pipelines.records import Clip


def subject_ring(clips: Sequence[Clip]) -> list[str]:
    """Return the subjects in an order by a stable hash, which no name or number has chosen."""
    return sorted(
        {clip.subject for clip in clips},
        key=lambda subject: hashlib.sha256(subject.encode()).hexdigest(),
    )


def validation_subject(
    ring: Sequence[str], tested: Collection[str], number: int, rest: Sequence[Clip]
) -> str | None:
    """Return the inner held-out subject: the next on the ring, so that it rotates over splits.

    Somebody who alone shows a class is passed over: the training needs them more.

    Args:
        ring: all subjects.
        tested: those held out; after the last of them on the ring the search begins.
        number: of the split; where nobody is held out the search begins there.
        rest: clips that the split may train on.
    """
    available = {clip.subject for clip in rest}
    if len(available) < 2:
        return None  # nobody would be left to train on
    shown_by = {
        label: {clip.subject for clip in rest if clip.emotion == label}
        for label in {clip.emotion for clip in rest}
    }
    alone = {next(iter(people)) for people in shown_by.values() if len(people) == 1}
    places = [place for place, subject in enumerate(ring) if subject in tested]
    start = places[-1] + 1 if places else number
    turned = [ring[(start + step) % len(ring)] for step in range(len(ring))]
    candidates = [subject for subject in turned if subject in available]
    return next((subject for subject in candidates if subject not in alone), candidates[0])
