"""How well each person is recognised, and how far people lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from harness.drawing import ACCENT, INK, MIDDLE, SOFT, Drawing, label, panel, room_for
from harness.page.run_folder import RunFolder
from harness.page.section import Section
from harness.page.tables import COUNT, PERCENT, Column, Table
from harness.statistics import Interval, wilson_interval

ON_ONE_SHEET = 46
"""Subjects that one figure shows: more would not fit a printed page."""
Row = Mapping[str, Any]


def subjects_section(run: RunFolder) -> Section | None:
    """Bars with intervals, and the same as a table."""
    rows: Sequence[Row] = run.summary.get("per_subject", ())
    if not rows or run.predictions is None:
        return None
    distinct = run.predictions.groupby("subject")["clip_id"].nunique()
    intervals = [
        subject_interval(row["clip_accuracy"], int(distinct[row["subject"]])) for row in rows
    ]
    parts = -(-len(rows) // ON_ONE_SHEET)
    length = -(-len(rows) // parts)
    drawings = []
    for part in range(parts):
        span = slice(part * length, (part + 1) * length)
        number = "" if parts == 1 else f"_{part + 1}"
        words = "" if parts == 1 else f" Part {part + 1} of {parts}."
        drawings.append(
            Drawing(
                f"subjects{number}",
                "Accuracy of each subject's clips with Wilson's 95 % interval." + words,
                _bars(run, rows[span], intervals[span]),
            )
        )
    text = [
        _range(rows),
        "A subject's interval is Wilson's, over that subject's clips: it tells how well this one "
        "person's share is known, and says nothing of other people.",
    ]
    if not run.complete:
        text.insert(0, "Only of the splits that are done: no result of the study.")
    return Section(
        anchor="subjects",
        title="Subject by subject",
        text=text,
        drawings=drawings,
        tables=[_table(rows, intervals)],
    )


def subject_interval(share: float, clips: int) -> Interval:
    """Return Wilson's interval of one subject; where clips were tested often, of their mean."""
    return wilson_interval(share * clips, clips)


def _range(rows: Sequence[Row]) -> str:
    shares = np.array([row["clip_accuracy"] for row in rows])
    low, high = rows[int(shares.argmin())], rows[int(shares.argmax())]
    if shares.min() == shares.max():
        return f"{100 * shares[0]:.1f} %" + (", all subjects alike." if len(rows) > 1 else ".")
    return (
        f"From {100 * shares.min():.1f} % ({low['subject']}) to {100 * shares.max():.1f} % "
        f"({high['subject']}). Standard deviation {100 * shares.std(ddof=1):.1f} points."
    )


def _bars(run: RunFolder, rows: Sequence[Row], intervals: Sequence[Interval]) -> Figure:
    names = [label(row["subject"]) for row in rows]
    height = max(0.13, min(0.26, 7.5 / len(rows)))
    figure, axes = panel(height * len(rows) + 1.0, left=room_for(names), top=0.5)
    place = np.arange(len(rows))
    shares = np.array([100 * row["clip_accuracy"] for row in rows])
    ends = 100 * np.array([[i.low, i.high] for i in intervals]).T
    axes.barh(place, shares, height=0.62, color=SOFT, edgecolor=ACCENT, linewidth=0.7)
    axes.hlines(place, ends[0], ends[1], color=INK, linewidth=1.1, label="95 % (Wilson)")
    if run.complete:
        mean = 100 * run.summary["clip_accuracy_subject_mean"]
        axes.axvline(mean, color=INK, linestyle="--", linewidth=1, label=f"mean {mean:.1f} %")
        if run.summary["ci95_low"] is not None:
            axes.axvspan(
                100 * run.summary["ci95_low"],
                100 * run.summary["ci95_high"],
                facecolor="none",
                edgecolor=MIDDLE,
                hatch="////",
                linewidth=0,
                zorder=0,
                label="its 95 % interval",
            )
    chance = 100 * run.summary.get("chance", 1 / len(run.classes))
    axes.axvline(
        chance, color=MIDDLE, linestyle=":", linewidth=1.2, label=f"guessing {chance:.1f} %"
    )
    axes.set(xlim=(0, 100), ylim=(len(rows) - 0.4, -0.6), xlabel="clips recognised, %")
    axes.set_yticks(place, names, fontsize=8.5 if height > 0.17 else 7)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.1)
    return figure


def _table(rows: Sequence[Row], intervals: Sequence[Interval]) -> Table:
    columns = [
        Column("subject", "subject"),
        Column("clips", "clips", COUNT),
        Column("clip_accuracy", "accuracy, %", PERCENT),
        Column("wilson95_low", "nominal 95 % from", PERCENT),
        Column("wilson95_high", "to", PERCENT),
        Column("uar", "UAR, %", PERCENT),
        Column("clips_missing", "missing", COUNT),
    ]
    cells = [
        [
            row["subject"],
            row["clips"],
            row["clip_accuracy"],
            interval.low,
            interval.high,
            row["uar"],
            row.get("clips_missing", 0),
        ]
        for row, interval in zip(rows, intervals, strict=True)
    ]
    if not any(row[-1] for row in cells):
        columns, cells = columns[:-1], [row[:-1] for row in cells]
    return Table(
        name="per_subject",
        caption="Accuracy by subject with Wilson's 95 % interval, and UAR.",
        columns=columns,
        rows=cells,
    )
