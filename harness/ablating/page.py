"""The page of an ablation: one file, with its figure and tables beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from harness.ablating.config import WHOLE
from harness.ablating.results import DECLARED
from harness.ablating.table import ablation_table, changes_table, conclusions_table, with_width
from harness.drawing import (
    ACCENT,
    INK,
    MIDDLE,
    Drawing,
    drawing_style,
    panel,
    room_for,
    save,
)
from harness.literature import NOTES
from harness.page.cautions import marked_section
from harness.page.headline import DRAWN, SYNTHETIC, Headline
from harness.page.render import FIGURES, TABLES, page_html
from harness.page.section import Section
from pipelines.storage import write_text

PAGE = "ablation.html"
WHAT_IT_IS = (
    "of a person's clips recognised by the whole system: the mean over subjects. Below, how its "
    "variants and rivals differ from it on the same splits."
)
OTHER_CLIPS = (
    "Published numbers are of other clips than ours: they are to be read, not ranked. Our rows are "
    "of the same splits, and their differences of the same clips."
)
INCOMPLETE = "The whole system is incomplete: there is nothing to compare with."
LETTERS = 24
"""Of a line of a row's title beside the figure."""
Row = Mapping[str, Any]


def write_ablation_page(folder: Path, result: Row) -> Path:
    """Write ablation.html, figures/ and tables/.

    Args:
        folder: of the ablation.
        result: what ablation.json holds.
    """
    rows = result["rows"]
    table = ablation_table(rows, corpus=result["reader"], kind=result["protocol_kind"])
    tables = [table, conclusions_table(rows), changes_table(rows)]
    with drawing_style():
        drawings = _drawings(rows)
        sections = [
            Section(
                anchor="differences",
                title="What each row adds or takes away",
                text=_text(result),
                drawings=drawings,
            ),
            Section(
                anchor="table",
                title="Beside published numbers",
                text=[OTHER_CLIPS, *(f"{note[0].upper()}{note[1:]}." for note in NOTES[1:])],
                tables=[tables[0]],
            ),
            Section(
                anchor="conclusions",
                title="What can and cannot be concluded",
                tables=[tables[1]],
            ),
            Section(anchor="changes", title="What each row changes", tables=[tables[2]]),
        ]
        cautions = rows[0]["protocol_warnings"] or ()
        sections = [marked_section(section, cautions) for section in sections]
        page = page_html(_head(result), sections, complete=result["complete"])
        for drawing in (drawing for section in sections for drawing in section.drawings):
            save(drawing, folder / FIGURES)
    for each in (table for section in sections for table in section.tables):
        write_text(folder / TABLES / f"{each.name}.csv", each.csv())
        write_text(folder / TABLES / f"{each.name}.tex", each.latex())
    write_text(folder / PAGE, page)
    return folder / PAGE


def _head(result: Row) -> Headline:
    whole = result["rows"][0]
    number, interval = "", ""
    if result["complete"]:
        number = f"{100 * whole['clip_accuracy_subject_mean']:.1f} %"
        low, high = with_width(whole["ci95_low"], whole["ci95_high"])
        if low is not None and high is not None:
            interval = f"t interval, nominal 95 %: {100 * low:.1f} to {100 * high:.1f} %"
    done = sum(row["status"] == "done" for row in result["rows"])
    return Headline(
        title=f"Ablation: {whole['protocol']} on {whole['corpus']}",
        number=number,
        interval=interval,
        meaning=WHAT_IT_IS if result["complete"] else INCOMPLETE,
        cautions=whole["protocol_warnings"] or (),
        warnings=[
            *([DRAWN] if SYNTHETIC in str(whole["corpus"]).split() else []),
            *result["warnings"],
            *(
                f"{row['title']}: {row['status']}: {row['reason']}"
                for row in result["rows"]
                if row["status"] != "done"
            ),
        ],
        facts=[
            ("ablation", result["name"]),
            ("corpus", str(whole["corpus"])),
            ("protocol", str(whole["protocol"])),
            ("subjects", str(whole["subjects"])),
            ("rows", f"{done} of {len(result['rows'])} done"),
        ],
        failures=(),
        figures=None,
    )


def _text(result: Row) -> list[str]:
    titles = {row["row"]: row["title"] for row in result["rows"]}
    declared = [titles.get(name, f"{name} (not run)") for name in result["family"]]
    text = [
        "Differences are paired: of the mean over subjects, on the same clips, with the t interval "
        "over subjects, nominal 95 %.",
    ]
    if declared:
        text.append(
            f"Declared beforehand, and corrected for each other by Holm: {', '.join(declared)}. "
            "The rivals are a second family; all other rows are a third, exploratory."
        )
    if not result["several_seeds"]:
        text.append(
            "Each row was trained once in each split: how far other first weights would move it is "
            "not known; protocol.seeds=5 tells."
        )
    return text


def _drawings(rows: Sequence[Row]) -> list[Drawing]:
    compared = [row for row in rows if row["difference"] is not None]
    if not compared:
        return []
    return [
        Drawing(
            "differences",
            "Difference to the whole system in points, with the t interval over subjects. Filled: "
            "declared beforehand; open: rivals, and exploratory rows.",
            _forest(compared),
        )
    ]


def _forest(rows: Sequence[Row]) -> Figure:
    names = [textwrap.fill(row["title"], LETTERS, max_lines=2, placeholder="…") for row in rows]
    left = room_for([line for name in names for line in name.splitlines()])
    figure, axes = panel(0.28 * len(rows) + 0.6, left=left, top=0.1)
    for place, row in enumerate(rows):
        difference = row["difference"]
        if difference["low"] is not None:
            ends = 100 * difference["low"], 100 * difference["high"]
            axes.hlines(place, *ends, color=INK, linewidth=1.1)
        filled = row["family"] == DECLARED
        axes.scatter(
            100 * difference["value"],
            place,
            s=28,
            marker="D" if filled else "o",
            facecolor=ACCENT if filled else "white",
            edgecolor=ACCENT,
            zorder=3,
        )
    axes.axvline(0, color=MIDDLE, linestyle="--", linewidth=1)
    axes.set(xlabel=f"points, against {WHOLE}", ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis="y", length=0)
    return figure
