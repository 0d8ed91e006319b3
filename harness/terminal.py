"""What a study says at its end, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.tracking import Tracker


def print_summary(summary: Mapping[str, Any], folder: Path, tracker: Tracker) -> None:
    """Print the table of subjects, the headline, the run folder and how to open MLflow."""
    console = Console(highlight=False, soft_wrap=True)
    if "per_subject" in summary:
        console.print(_table(summary))
    for line in _lines(summary):
        console.print(line, markup=False)
    console.print(f"\nrun folder: {folder}", markup=False)
    if (page := folder / "report.html").exists():
        console.print(f"the page:   {page}", markup=False)
    if command := tracker.browse_command():
        console.print(f"browse it:  {command}", markup=False)


def _table(summary: Mapping[str, Any]) -> Table:
    title = f"{summary['protocol']} on {summary['corpus']}"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("subject")
    share = "majority-vote accuracy" if summary["predicts"] == "segment" else "accuracy"
    for heading in ("clips", share, "UAR"):
        table.add_column(heading, justify="right")
    for row in summary["per_subject"]:
        table.add_row(
            row["subject"], str(row["clips"]), _percent(row["clip_accuracy"]), _percent(row["uar"])
        )
    return table


def _lines(summary: Mapping[str, Any]) -> list[str]:
    done = f"{summary['splits_done']} of {summary['splits_expected']} splits done"
    used = f"{summary['clips_usable']} of {summary['clips']} clips used"
    lines = [f"{done}, {used}"]
    if summary["complete"]:
        lines += [
            f"pooled accuracy        {_percent(summary['clip_accuracy'])}",
            f"pooled UAR             {_percent(summary['uar'])}",
            f"mean over subjects     {_percent(summary['clip_accuracy_subject_mean'])}  "
            f"{_interval(summary)}",
        ]
        if summary["clip_accuracy_all"] != summary["clip_accuracy"]:
            lines.append(f"with lost clips wrong  {_percent(summary['clip_accuracy_all'])}")
    lines += [f"warning: {warning}" for warning in summary["warnings"]]
    lines += [
        f"failed: {failed['split_id']}: {failed['error']}" for failed in summary["splits_failed"]
    ]
    return lines


def _interval(summary: Mapping[str, Any]) -> str:
    if summary["ci95_low"] is None:
        return "(one subject gives no interval)"
    low, high = _percent(summary["ci95_low"]), _percent(summary["ci95_high"])
    return f"(95 % interval over {len(summary['per_subject'])} subjects: {low} to {high})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
