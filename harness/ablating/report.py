"""An ablation at its end, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

from harness.ablating.config import WHOLE
from harness.terminal import beside, percent, plain_console, plain_table, span

Row = Mapping[str, Any]


def print_ablation(result: Row, folder: Path, page: Path) -> None:
    """Print every row with its difference to the whole system, then what each allows to say."""
    console = plain_console()
    whole = result["rows"][0]
    table = plain_table(
        f"{whole['protocol']} on {whole['corpus']}{beside(whole)}",
        "row",
        "clips",
        "subject mean",
        "points to whole",
        "nominal 95 %",
        "p by Holm",
        "trained parameters",
        "training",
    )
    for row in result["rows"]:
        table.add_row(Text(row["title"]), *_cells(row))
    console.print(table)
    for row in result["rows"]:
        if row["row"] != WHOLE:
            console.print(f"{row['title']}: {row['conclusion']}", markup=False)
    for warning in result["warnings"]:
        console.print(f"warning: {warning}", markup=False)
    console.print(f"\nfolder:     {folder}", markup=False)
    console.print(f"the page:   {page}", markup=False)


def _cells(row: Row) -> list[str]:
    if row["status"] != "done":
        return ["", row["status"], "", "", "", "", ""]
    difference = row["difference"] or {}
    points = difference.get("value")
    low, high = difference.get("low"), difference.get("high")
    return [
        str(row["clips_usable"]),
        percent(row["clip_accuracy_subject_mean"]),
        "" if points is None else f"{100 * points:+.1f}",
        "" if low is None else span(low, high).replace(" %", ""),
        "" if row.get("p_holm") is None else f"{row['p_holm']:.3g}",
        f"{row['parameters']:,}",
        f"{row['train_seconds']:.0f} s",
    ]
