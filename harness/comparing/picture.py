"""A comparison as a picture: how each subject moved, and how each emotion did."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.drawing import ACCENT, INK, MIDDLE, NO_DATES, WIDTH, drawing_style, label, room_for
from pipelines.errors import UsageError, require
from pipelines.storage import write_whole

ROW, GAP, HEAD, FOOT = 0.2, 0.6, 0.62, 0.62
"""Inches: a subject or an emotion, between two parts, above and below them."""
LINE = 0.14
"""Inches: one of text."""
LETTERS = 92
"""Of a line of text."""
SUFFIXES = (*(f".{kind}" for kind in NO_DATES),)


def check_picture(target: Path) -> None:
    """Refuse a picture that could not be written, before anything is computed.

    Raises:
        UsageError: its name tells of another form, or its folder is not there.
    """
    require(
        target.suffix in SUFFIXES,
        f"--picture ({target}) must end with one of {', '.join(SUFFIXES)}",
    )
    require(target.parent.is_dir(), f"--picture ({target}): there is no folder {target.parent}")


def save_picture(result: Mapping[str, Any], target: Path) -> None:
    """Write what `harness.comparing.comparison.compare` found, one part a later run.

    Raises:
        UsageError: the file can't be written.
    """
    kind = target.suffix.removeprefix(".")
    file = io.BytesIO()
    with drawing_style():
        draw_comparison(result).savefig(file, format=kind, metadata=NO_DATES[kind])
    try:
        write_whole(target, lambda path: path.write_bytes(file.getvalue()))
    except OSError as error:
        raise UsageError(f"--picture ({target}) can't be written: {error.strerror}") from error


def draw_comparison(result: Mapping[str, Any]) -> Figure:
    """Draw subjects as pairs of points and emotions as differences with their intervals."""
    notes = [
        line
        for note in result["warnings"]
        for line in textwrap.wrap(note, LETTERS, break_on_hyphens=False)
    ]
    pairs = result["comparisons"]
    heights = [
        HEAD + ROW * (len(pair["per_subject"]) + len(pair["per_emotion"])) + GAP + FOOT
        for pair in pairs
    ]
    height = sum(heights) + LINE * len(notes) + (0.1 if notes else 0)
    figure = Figure(figsize=(WIDTH, height))
    top = height
    for pair, part in zip(pairs, heights, strict=True):
        _draw_pair(figure, pair, top)
        top -= part
    for number, line in enumerate(notes, 1):
        figure.text(0.1 / WIDTH, (top - LINE * number) / height, line, fontsize=7, color=INK)
    return figure


def _draw_pair(figure: Figure, pair: Mapping[str, Any], top: float) -> None:
    subjects, emotions = pair["per_subject"], pair["per_emotion"]
    names = [label(row["subject"]) for row in subjects], [label(row["emotion"]) for row in emotions]
    left = room_for([*names[0], *names[1]])
    height = figure.get_figheight()
    figure.text(0.1 / WIDTH, (top - 0.2) / height, _title(pair), fontsize=8.5, weight="bold")
    figure.text(0.1 / WIDTH, (top - 0.36) / height, _interval(pair), fontsize=8)
    below = top - HEAD - ROW * len(subjects)
    axes = _axes(figure, left, below, ROW * len(subjects))
    _draw_subjects(axes, pair, names[0])
    below -= GAP + ROW * len(emotions)
    _draw_emotions(_axes(figure, left, below, ROW * len(emotions)), emotions, names[1])


def _axes(figure: Figure, left: float, bottom: float, height: float) -> Axes:
    whole = figure.get_figheight()
    return figure.add_axes(
        (left / WIDTH, bottom / whole, (WIDTH - left - 0.15) / WIDTH, height / whole)
    )


def _title(pair: Mapping[str, Any]) -> str:
    return f"{label(pair['run'])} minus {label(pair['against'])}"


def _interval(pair: Mapping[str, Any]) -> str:
    mean = pair["difference_subject_mean"]
    told = f"{100 * mean['value']:+.1f} points, mean over {len(pair['per_subject'])} subjects"
    if mean["low"] is None or mean["low"] == mean["high"]:
        return told
    return f"{told}; nominal 95 %: {100 * mean['low']:+.1f} to {100 * mean['high']:+.1f} (t)"


def _draw_subjects(axes: Axes, pair: Mapping[str, Any], names: Sequence[str]) -> None:
    rows = pair["per_subject"]
    places = range(len(rows))
    first, later = ([100 * row[which] for row in rows] for which in ("first", "later"))
    axes.hlines(places, first, later, color=MIDDLE, linewidth=1.2, zorder=1)
    axes.scatter(
        first, places, s=58, facecolor="white", edgecolor=INK, label=label(pair["against"])
    )
    axes.scatter(later, places, s=26, marker="D", color=ACCENT, label=label(pair["run"]))
    axes.set(xlim=(-2, 102), xlabel="clips recognised, %")
    _name_rows(axes, names)
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=2,
        borderaxespad=0,
        handletextpad=0.2,
        fontsize=7.5,
    )


def _draw_emotions(axes: Axes, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    for place, row in enumerate(rows):
        if row["low"] is not None:
            axes.hlines(place, 100 * row["low"], 100 * row["high"], color=INK, linewidth=1.1)
        axes.scatter(100 * row["difference"], place, s=26, marker="D", color=ACCENT, zorder=3)
    axes.axvline(0, color=MIDDLE, linestyle="--", linewidth=1)
    axes.set(xlabel="difference of recall in points; bars: cluster bootstrap, nominal 95 %")
    axes.xaxis.label.set_fontsize(7.5)
    _name_rows(axes, names)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
