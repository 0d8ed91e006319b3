"""A table once, in three forms: a page's cells, CSV with every digit, LaTeX for a paper."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pandas as pd

TEXT, NOTE, VOTES = "text", "note", "votes"
COUNT, PERCENT, NUMBER = "count", "percent", "number"
NOTHING = "–"  # noqa: RUF001


@dataclass(frozen=True)
class Column:
    """One column: its name in CSV, its heading for people, what its values are."""

    key: str
    heading: str
    kind: str = TEXT
    """`note` holds sentences; `percent` holds shares of 0-1 and shows per cent; `votes` holds
    `Vote`s."""

    @property
    def is_text(self) -> bool:
        """Whether it is read as words, from the left."""
        return self.kind in (TEXT, NOTE, VOTES)


@dataclass(frozen=True)
class Vote:
    """What one segment voted for."""

    label: str
    right: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of raw values; None where there is nothing to show."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    caution: str = ""
    """What must stand beside its numbers: the caption says it too, which CSV has not."""
    on_page: int | None = None
    """Rows that the page shows; None: all. The files hold all."""

    @property
    def shown(self) -> Sequence[Sequence[Any]]:
        """The rows that the page shows."""
        return self.rows[: self.on_page]

    def csv(self) -> str:
        """Return the table as CSV: shares of 0-1 with all their digits, empty for None.

        A caution is one more column.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        said = [self.caution] if self.caution else []
        writer.writerow([column.key for column in self.columns] + ["warning"] * len(said))
        for row in self.rows:
            writer.writerow([_raw(v, c) for v, c in zip(row, self.columns, strict=True)] + said)
        return text.getvalue()

    def latex(self) -> str:
        """Return the table as LaTeX (booktabs), as people read it."""
        headings = [column.heading for column in self.columns]
        cells = [[cell(v, c) for v, c in zip(r, self.columns, strict=True)] for r in self.rows]
        style = pd.DataFrame(cells, columns=headings).style
        text: str = (
            style.hide(axis="index")
            .format(escape="latex")
            .format_index(escape="latex", axis="columns")
            .to_latex(
                hrules=True,
                column_format="".join(_alignment(c) for c in self.columns),
            )
        )
        # After a line's end LaTeX takes a bracket for the length of a gap.
        text = re.sub(r"(?m)^\[", "{[}", text)
        return f"% {' '.join(self.caption.split())}\n{text}"


def _alignment(column: Column) -> str:
    if column.kind == NOTE:
        return r"p{0.4\linewidth}"
    return "l" if column.is_text else "r"


def in_a_row(votes: Sequence[Vote]) -> list[list[Vote]]:
    """Return votes in order, equal ones that follow each other together."""
    return [list(same) for _, same in groupby(votes)]


def cell(value: Any, column: Column) -> str:
    """Return a value as people read it."""
    if value is None or value != value:
        return NOTHING
    if column.kind == PERCENT:
        return f"{100 * value:.1f}"
    if column.kind == COUNT:
        return f"{value:.10g}"
    if column.kind == NUMBER:
        return f"{value:.3f}"
    if column.kind == VOTES:
        return " ".join(vote.label for vote in value)
    return str(value)


def _raw(value: Any, column: Column) -> Any:
    if value is None or value != value:
        return ""
    if column.kind == VOTES:
        return cell(value, column)
    # Sums of weights: a third three times is one.
    return round(value, 9) if column.kind == COUNT and isinstance(value, float) else value
