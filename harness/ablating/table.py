"""The table of an ablation, in the order of the paper's: published numbers, rivals, the system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.ablating.config import RIVAL, VARIANT, WHOLE
from harness.literature import published_rows
from harness.page.cautions import in_short
from harness.page.headline import NO_WIDTH
from harness.page.tables import COUNT, NOTE, NUMBER, PERCENT, Column, Table
from harness.protocols import CROSS
from harness.published import KFOLD, LOSO, PUBLISHED

Row = Mapping[str, Any]
COLUMNS = (
    Column("system", "system"),
    Column("protocol", "protocol"),
    Column("clips", "clips", COUNT),
    Column("accuracy", "recognised, %", PERCENT),
    Column("low", "nominal 95 % from", PERCENT),
    Column("high", "to", PERCENT),
    Column("figure", "figure; interval"),
    Column("difference", "difference, points", PERCENT),
    Column("difference_low", "from", PERCENT),
    Column("difference_high", "to ", PERCENT),
    Column("p", "p", NUMBER),
    Column("p_holm", "Holm's p", NUMBER),
    Column("family", "family"),
    Column("parameters", "trained parameters", COUNT),
    Column("train_seconds", "training and testing, s", COUNT),
    Column("status", "status", NOTE),
)


def ablation_table(rows: Sequence[Row], *, corpus: str, kind: str) -> Table:
    """Return the table: by protocol, LOSO before K-fold as in the paper's tables 1 and 2.

    Args:
        rows: as `harness.ablating.results.told_rows` gives them.
        corpus: its reader's name: published numbers are shown of this one alone, or of both where
            none are of it.
        kind: `loso` or `kfold`: whose published numbers stand directly before ours.
    """
    known = {number.corpus for number in PUBLISHED}
    shown = [corpus] if corpus in known else sorted(known, reverse=True)
    ours = [
        *(row for row in rows if row["kind"] == RIVAL),
        *(row for row in rows if row["kind"] == WHOLE),
        *(row for row in rows if row["kind"] == VARIANT),
    ]
    cells = []
    for protocol, own in ((LOSO, kind != "kfold"), (KFOLD, kind == "kfold")):
        # Nobody published a number of a system that was trained on another corpus.
        quoted = [row for name in shown for row in published_rows(name) if kind != CROSS]
        cells += [_quoted(row) for row in quoted if row["protocol"] == protocol]
        cells += [_own(row) for row in ours] if own else []
    return Table(
        name="ablation",
        caption="Published numbers as quoted by Priyasad et al. 2019, rivals and variants on the "
        "same splits; differences are paired, to the whole system.",
        columns=COLUMNS,
        rows=cells,
    )


def _quoted(row: Row) -> list[Any]:
    name = f"{row['system']}, quoted, on {row['corpus']}"
    of = f"{row['metric']}, as published" + (
        "" if row["low"] is None else "; Wilson, ignores subjects"
    )
    figures = [row["clips"], row["accuracy"], row["low"], row["high"], of]
    return [name, row["protocol"], *figures, *[None] * 8, "published"]


def _own(row: Row) -> list[Any]:
    difference = row["difference"] or {}
    done = row["status"] == "done"
    low, high = with_width(row["ci95_low"], row["ci95_high"]) if done else (None, None)
    short = in_short(row["protocol_warnings"] or ())
    return [
        row["title"],
        None if row["protocol"] is None else row["protocol"] + (f" [{short}]" if short else ""),
        row["clips_usable"],
        row["clip_accuracy_subject_mean"] if done else None,
        low,
        high,
        ("mean over subjects" + ("" if low is None else "; t over them")) if done else None,
        difference.get("value"),
        *with_width(difference.get("low"), difference.get("high")),
        row["p"],
        row.get("p_holm"),
        None if row["kind"] == WHOLE or row["p"] is None else row["family"],
        row["parameters"] if done else None,
        round(row["train_seconds"], 1) if done else None,
        row["status"] if done else f"{row['status']}: {row['reason']}",
    ]


def with_width(low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """Return an interval, or nothing where all subjects are alike: that is no certainty."""
    if low is None or high is None or high - low < NO_WIDTH:
        return None, None
    return low, high


def conclusions_table(rows: Sequence[Row]) -> Table:
    """Return what can and cannot be concluded, row by row."""
    return Table(
        name="conclusions",
        caption="What each row allows to conclude.",
        columns=(
            Column("row", "row"),
            Column("conclusion", "what can and cannot be concluded", NOTE),
            Column("note", "what it is", NOTE),
        ),
        rows=[[row["title"], row["conclusion"], row["note"] or None] for row in rows],
    )


def changes_table(rows: Sequence[Row]) -> Table:
    """Return every setting that a row changes, with its value in the whole system."""
    cells = [
        [row["title"], setting, str(one), str(other)]
        for row in rows
        for setting, (one, other) in row["changed"].items()
    ]
    return Table(
        name="changes",
        caption="Settings in which a row differs from the whole system: all of them.",
        columns=(
            Column("row", "row"),
            Column("setting", "setting"),
            Column("whole", "whole system"),
            Column("here", "here"),
        ),
        rows=cells,
    )
