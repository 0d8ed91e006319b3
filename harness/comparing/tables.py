"""A comparison of studies, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.terminal import beside, percent, plain_console, plain_table, span

LISTED = 20
"""Changed clips that are shown; all of them are in --json."""
Row = Mapping[str, Any]


def print_comparison(result: Row) -> None:
    """Print what `comparison.compare` and `published.published_rows` came to."""
    console = plain_console()
    if "comparisons" in result:
        title = f"on the same {result['clips']} clips of {result['subjects']} subjects"
        console.print(_runs(title, result["runs"]))
        for warning in result["warnings"]:
            console.print(f"warning: {warning}", markup=False)
        for one in result["comparisons"]:
            _print_pair(console, one, result["family"], _labels(one, result["runs"]))
    if "published" in result:
        _print_published(console, result["published"])


def _runs(title: str, runs: Sequence[Row]) -> Table:
    table = plain_table(
        title,
        "run",
        "protocol",
        "corpus",
        "splits done",
        "pooled",
        "subject mean",
        "nominal 95 %",
    )
    for run in runs:
        table.add_row(
            Text(run["run"]),
            Text(_protocol(run)),
            Text(run["corpus"]),
            f"{run['splits_done']} of {run['splits_expected']}",
            percent(run["clip_accuracy"]),
            percent(run["clip_accuracy_subject_mean"]),
            span(run["low"], run["high"]),
        )
    return table


def _protocol(run: Row) -> str:
    name: str = run["protocol"]
    return name + beside(run)


def _labels(one: Row, runs: Sequence[Row]) -> str:
    """Return what must stand beside a difference: what takes meaning from either number does."""
    both = [run for run in runs if run["run"] in (one["run"], one["against"])]
    return "".join(dict.fromkeys(beside(run) for run in both))


def _print_pair(console: Console, one: Row, family: Sequence[str], note: str) -> None:
    mean, pooled = one["difference_subject_mean"], one["difference_pooled"]
    lines = [
        "",
        f"{one['run']} minus {one['against']}{note}",
        f"mean over subjects     {_points(mean)}",
        f"pooled accuracy        {_points(pooled)}",
        f"permutation            {_p(one['permutation'])}",
        f"McNemar                {_p(one['mcnemar'])}"
        if one["mcnemar"]
        else f"McNemar                left out: {one['mcnemar_left_out']}",
        f"Holm                   over the family declared beforehand, the {len(family)} "
        f"comparison{'s' if len(family) > 1 else ''} named on the command line "
        f"({', '.join(family)})",
    ]
    for line in lines:
        console.print(line, markup=False)
    for key in ("subject", "emotion"):
        console.print(_differences(key, one))
    for key, what in (("wrong_to_right", "wrong -> right"), ("right_to_wrong", "right -> wrong")):
        _print_changes(console, what, one[key])


def _points(difference: Row) -> str:
    value = f"{100 * difference['value']:+.1f} points"
    told = f"{difference['method']}, {difference['label']}"
    if difference["low"] is None or difference["low"] == difference["high"]:
        return f"{value}  ({told})"
    return f"{value}  ({told}: {_reach(difference)})"


def _reach(row: Row) -> str:
    if row["low"] is None:
        return "none"
    if row["low"] == row["high"]:
        return "none: all alike"
    return f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}"


def _p(test: Row) -> str:
    label = f"; {test['label']}" if test["label"] else ""
    return (
        f"p = {test['p']:.3g}, by Holm {test['p_holm']:.3g}; the smallest possible is "
        f"{test['smallest_p']:.3g}  ({test['test']}{label})"
    )


def _differences(key: str, one: Row) -> Table:
    by_emotion = key == "emotion"
    table = plain_table(
        f"by {key}",
        key,
        "clips",
        one["against"],
        one["run"],
        "points",
        *(["nominal 95 %"] if by_emotion else []),
    )
    for row in one[f"per_{key}"]:
        table.add_row(
            Text(row[key]),
            str(row["clips"]),
            percent(row["first"]),
            percent(row["later"]),
            f"{100 * row['difference']:+.1f}",
            *([_reach(row)] if by_emotion else []),
        )
    return table


def _print_changes(console: Console, what: str, clips: Sequence[Row]) -> None:
    console.print(f"{what}: {len(clips)} clips", markup=False)
    for clip in clips[:LISTED]:
        before, after = ("/".join(clip[when]) for when in ("first", "later"))
        console.print(f"  {clip['clip_id']} ({clip['emotion']}): {before} -> {after}", markup=False)
    if len(clips) > LISTED:
        console.print(f"  and {len(clips) - LISTED} more: --json lists all", markup=False)


def _print_published(console: Console, published: Row) -> None:
    corpus = published["corpus"]
    table = plain_table(
        f"published numbers on {corpus}, each with its protocol",
        "",
        "protocol",
        "clips",
        "accuracy",
        "nominal 95 %",
    )
    for row in published["rows"]:
        clips = "not known" if row["clips"] is None else str(row["clips"])
        reach = "not known" if row["low"] is None else f"{span(row['low'], row['high'])}"
        if row["low"] is not None:
            reach += ", Wilson: ignores subjects"
        table.add_row(
            Text(row["system"]), row["protocol"], clips, f"{100 * row['accuracy']:.2f} %", reach
        )
    for run in published["runs"]:
        table.add_row(
            Text(f"{run['run']} on {run['corpus']}, mean over subjects"),
            Text(f"{_protocol(run)}, {run['splits_done']} of {run['splits_expected']} splits done"),
            str(run["clips"]),
            percent(run["clip_accuracy_subject_mean"]),
            f"{span(run['low'], run['high'])}, t over {run['subjects']} subjects",
        )
        table.add_row(Text(f"{run['run']}, UAR"), Text(_protocol(run)), "", percent(run["uar"]), "")
    console.print(table)
    for note in published["notes"]:
        console.print(note, markup=False)
    for run in published["runs"]:
        if run["corpus"] != corpus:
            console.print(f"warning: {run['run']} is not of {corpus}", markup=False)
