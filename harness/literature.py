"""Published numbers as rows to stand beside ours."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harness.published import PUBLISHED, THE_PAPER, Published
from harness.statistics import wilson_interval

NOTES = (
    "no two rows are of the same clips: they are to be read, not ranked",
    "of the K-fold numbers it is not known whether people were kept apart",
    f"the LOSO number of {THE_PAPER} on RML is the mean of its confusion's diagonal: a UAR",
)


def published_rows(corpus: str) -> list[dict[str, Any]]:
    """Return the numbers on a corpus, with the interval that one on as many clips has.

    `low` and `high` are Wilson's, and null where the number of clips is not known.
    """
    return [_row(number) for number in PUBLISHED if number.corpus == corpus]


def _row(number: Published) -> dict[str, Any]:
    row = {**asdict(number), "low": None, "high": None, "label": "clips not known"}
    if number.clips is not None:
        interval = wilson_interval(number.accuracy * number.clips, number.clips)
        label = "Wilson, nominal 95 %: ignores subjects"
        row |= {"low": interval.low, "high": interval.high, "label": label}
    return row
