"""What a study says at its end, in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.tracking import Tracker

PIPE_WIDTH = 120


def print_summary(summary: Mapping[str, Any], folder: Path, tracker: Tracker | None = None) -> None:
    """Print the table of subjects, the headline, the run folder and how to open MLflow."""
    console = plain_console()
    if "per_subject" in summary:
        console.print(_subjects(summary))
    for line in _lines(summary):
        console.print(line, markup=False)
    if summary.get("subgroups"):
        console.print()
        console.print(_subgroups(summary["subgroups"], beside(summary)))
    console.print(f"\nrun folder: {folder}", markup=False)
    if (page := folder / "report.html").exists():
        console.print(f"the page:   {page}", markup=False)
    for line in tracker.browse_lines() if tracker else ():
        console.print(line, markup=False)


def plain_console() -> Console:
    """Return a console for text that holds no markup; a pipe is as wide as tables need."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(highlight=False, soft_wrap=True, width=width)


def title_of(summary: Mapping[str, Any]) -> str:
    """Return protocol and corpus, with what makes the numbers no measure of unseen people."""
    whose = ", external system" if summary["system"] == "external" else ""
    return f"{summary['protocol']} on {summary['corpus']}{whose}{beside(summary)}"


def beside(summary: Mapping[str, Any]) -> str:
    """Return what must stand directly beside each number; nothing where all is well."""
    # The first sentence: the others are among the warnings.
    return "".join(f" [{text.partition('. ')[0]}]" for text in summary["protocol_warnings"])


def percent(share: float | None) -> str:
    """Return a share in percent."""
    return "-" if share is None else f"{100 * share:.1f} %"


def span(low: float | None, high: float | None) -> str:
    """Return an interval in percent; none where it has no width."""
    if low is None or high is None:
        return "none"
    return "none: all alike" if low == high else f"{percent(low)} to {percent(high)}"


def plain_table(title: str, *headings: str) -> Table:
    """Return an empty table whose first column is text and whose others are numbers."""
    table = Table(title=Text(title), title_justify="left", title_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    return table


def _subjects(summary: Mapping[str, Any]) -> Table:
    share = "majority-vote accuracy" if summary["predicts"] == "segment" else "accuracy"
    missing = any(row["clips_missing"] for row in summary["per_subject"])
    headings = ["subject", "clips", share, "UAR", *(["without prediction"] if missing else [])]
    table = plain_table(title_of(summary), *headings)
    for row in summary["per_subject"]:
        cells = [str(row["clips"]), percent(row["clip_accuracy"]), percent(row["uar"])]
        table.add_row(
            Text(row["subject"]), *cells, *([str(row["clips_missing"])] if missing else [])
        )
    return table


def _subgroups(groups: Mapping[str, Sequence[Mapping[str, Any]]], note: str) -> Table:
    table = plain_table(
        f"by subgroup{note}",
        "",
        "subjects",
        "clips",
        "accuracy",
        "UAR",
        "subject mean",
        "nominal 95 %",
    )
    for name, rows in groups.items():
        for row in rows:
            table.add_row(
                Text(f"{name} {row['value']}"),
                str(row["subjects"]),
                str(row["clips"]),
                percent(row["clip_accuracy"]),
                percent(row["uar"]),
                percent(row["clip_accuracy_subject_mean"]),
                span(row["low"], row["high"]),
            )
    return table


def _lines(summary: Mapping[str, Any]) -> list[str]:
    lines = [counted(summary)]
    if summary["complete"]:
        lines += _headline(summary)
    elif "clip_accuracy_all" in summary:
        lines.append(
            f"at least               {percent(summary['clip_accuracy_all'])}{beside(summary)} of "
            "all clips "
            f"({percent(summary['coverage'])} have a prediction; the others count as wrong)"
        )
    lines += [f"warning: {warning}" for warning in summary["warnings"]]
    lines += [
        f"failed: {failed['split_id']}: {failed['error']}" for failed in summary["splits_failed"]
    ]
    return lines


def counted(summary: Mapping[str, Any]) -> str:
    """Return what a study is of: splits, clips, subjects."""
    done = f"{summary['splits_done']} of {summary['splits_expected']} splits done"
    used = f"{summary['clips_usable']} of {summary['clips']} clips used"
    if summary["system"] == "external":
        predicted = round(summary["coverage"] * summary["clips"])
        used = f"{predicted} of {summary['clips']} clips predicted"
    return f"{done}, {used}, {summary['subjects']} subjects"


def _headline(summary: Mapping[str, Any]) -> list[str]:
    by_subject, by_clip, wilson = summary["intervals"]
    note = beside(summary)
    lines = [
        f"mean over subjects     {percent(summary['clip_accuracy_subject_mean'])}{note}  "
        f"({_told(by_subject)})",
        f"pooled accuracy        {percent(summary['clip_accuracy'])}{note}  ({_told(by_clip)})",
        f"  over clips alone     {_told(wilson)}",
        f"pooled UAR             {percent(summary['uar'])}{note}  "
        f"(weighted F1 {percent(summary['weighted_f1'])})",
    ]
    if summary["clip_accuracy_all"] != summary["clip_accuracy"]:
        lines.append(
            f"with lost clips wrong  {percent(summary['clip_accuracy_all'])}{note}  "
            f"({percent(summary['coverage'])} of the clips have a prediction)"
        )
    if summary["predicts"] == "segment":
        lines += [
            f"by mean probability    {percent(summary['clip_accuracy_by_mean'])}{note}  "
            f"(in place of the vote, which tied in {percent(summary['tie_rate'])} of the clips)",
            f"single segments        {percent(summary['segment_accuracy'])}{note}  "
            f"(UAR {percent(summary['segment_uar'])})",
        ]
    lines.append(
        f"majority class         {percent(summary['majority_class_rate'])}  "
        f"({summary['majority_class']} each time; UAR by chance {percent(summary['chance'])})"
    )
    if summary["sentence_overlap"] is not None:
        lines.append(
            f"known sentences        {percent(summary['sentence_overlap'])}  "
            "(of the test clips say what a training clip says too)"
        )
    return lines + _spreads(summary)


def _told(interval: Mapping[str, Any]) -> str:
    told = f"{interval['method']}, {interval['label']}"
    # One without any width has said so in its label.
    empty = interval["low"] is None or interval["low"] == interval["high"]
    return told if empty else f"{told}: {span(interval['low'], interval['high'])}"


def _spreads(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, what in (("seeds", "seeds"), ("repeats", "drawings of the folds")):
        spread = summary[name]
        if spread:
            each = ", ".join(percent(row["clip_accuracy"]) for row in spread["each"])
            lines.append(
                f"between {name:<15}{percent(spread['mean'])} ± {100 * spread['sd']:.1f}"
                f"{beside(summary)} (mean and "
                f"standard deviation of {len(spread['each'])} {what}: {each})"
            )
    if summary["subject_sd"] is not None:
        lines.append(
            f"between subjects       ± {100 * summary['subject_sd']:.1f}{beside(summary)} "
            "(standard deviation)"
        )
    return lines
