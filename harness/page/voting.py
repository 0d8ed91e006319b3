"""How the segments of a clip voted: how unanimous, how often tied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.drawing import ACCENT, INK, Drawing, panel
from harness.page.run_folder import KEYS, RunFolder
from harness.page.section import Section
from harness.page.tables import COUNT, PERCENT, Column, Table

EDGES = (0.0, 0.4, 0.6, 0.8, 1.0)
BANDS = ("up to 40 %", "to 60 %", "to 80 %", "under 100 %", "100 %")
"""Share of a clip's segments that voted as the clip was decided."""


def votes_section(run: RunFolder) -> Section | None:
    """Agreement of segments against being right; ties and how they ended."""
    if run.predictions is None or not run.complete:
        return None
    if not run.votes:
        return Section(
            anchor="votes",
            title="Votes and ties",
            text=[
                "There is nothing to vote on: "
                + (
                    "each clip has one prediction."
                    if run.segments is not None
                    else "the predictions are of clips, not of segments."
                )
            ],
        )
    clips = agreement(run)
    ties = clips[clips.tie]
    rate = run.summary["tie_rate"]
    least, most = clips.segments.min(), clips.segments.max()
    had = (
        f"{least}"
        if least == most
        else f"{least} to {most} ({clips.segments.median():.0f} in the median)"
    )
    # Repeats and seeds test a clip several times, and its segments vote each time.
    what = "votes" if clips.clip_id.duplicated().any() else "clips"
    text = [
        f"A clip's emotion is what most of its segments vote for. Clips had {had} segments.",
        f"Ties: {len(ties)} of {len(clips)} {what} ({100 * rate:.1f} %)"
        + (f", of which {int(ties.right.sum())} came out right" if len(ties) else "")
        + ". A tie goes to the tied emotion with the highest summed probability.",
    ]
    if run.summary.get("clip_accuracy_by_mean") is not None:
        by_mean, by_vote = run.summary["clip_accuracy_by_mean"], run.summary["clip_accuracy"]
        text.append(
            f"By the highest mean probability in place of the vote {100 * by_mean:.1f} % would be "
            f"right, by the vote {100 * by_vote:.1f} %."
        )
    table = _table(clips, what)
    return Section(
        anchor="votes",
        title="Votes and ties",
        text=text,
        drawings=[
            Drawing(
                "votes",
                "How far the segments of a clip agreed, and whether the clip was right.",
                _bars(table, what),
            )
        ],
        tables=[table],
    )


def voted(run: RunFolder) -> pd.DataFrame:
    """Return the segments with what each voted for, in the column `vote`."""
    assert run.segments is not None
    choices = run.segments[[f"p_{name}" for name in run.classes]].to_numpy().argmax(axis=1)
    return run.segments.assign(vote=np.array(run.classes, dtype=object)[choices])


def keys_of(run: RunFolder) -> list[str]:
    """Return the columns that join a clip's segments with its prediction.

    Segments that were dealt out to several splits vote together, under no split's name.
    """
    assert run.predictions is not None
    assert run.segments is not None
    keys = [key for key in KEYS if key in run.predictions and key in run.segments]
    divided = not set(run.predictions.split_id) <= set(run.segments.split_id)
    return [key for key in keys if not (divided and key == "split_id")]


def agreement(run: RunFolder) -> pd.DataFrame:
    """Return the predictions with `segments`, `share` (who voted so) and `right`."""
    assert run.predictions is not None
    keys = keys_of(run)
    votes = voted(run)[[*keys, "vote"]].merge(run.predictions[[*keys, "predicted"]], on=keys)
    votes["agrees"] = votes.vote == votes.predicted
    of_clip = votes.groupby(keys).agrees
    table = pd.DataFrame({"share": of_clip.mean(), "segments": of_clip.size()}).reset_index()
    clips = run.predictions.merge(table, on=keys)
    return clips.assign(right=clips.predicted == clips.emotion)


def _table(clips: pd.DataFrame, what: str) -> Table:
    band = np.where(
        clips.share == 1, len(EDGES) - 1, np.digitize(clips.share, EDGES, right=True) - 1
    )
    rows: list[list[Any]] = []
    for number, name in enumerate(BANDS):
        right = clips.right[band == number]
        share = float(right.mean()) if len(right) else None
        rows.append([name, len(right), int(right.sum()), int((~right).sum()), share])
    return Table(
        name="votes",
        caption="Clips by the share of their segments that voted for the emotion decided on."
        if what == "clips"
        else "Votes on clips, each time that they were tested, by the share of segments that voted "
        "for the emotion decided on.",
        columns=[
            Column("agreement", "segments that agree"),
            Column(what, what, COUNT),
            Column("right", "right", COUNT),
            Column("wrong", "wrong", COUNT),
            Column("accuracy", "right, %", PERCENT),
        ],
        rows=rows,
    )


def _bars(table: Table, what: str) -> Figure:
    figure, axes = panel(2.3, left=0.55, top=0.3)
    right = np.array([row[2] for row in table.rows])
    wrong = np.array([row[3] for row in table.rows])
    place = np.arange(len(BANDS))
    axes.bar(place, right, color=ACCENT, edgecolor=INK, linewidth=0.6, label="right")
    axes.bar(
        place,
        wrong,
        bottom=right,
        color="white",
        edgecolor=INK,
        linewidth=0.6,
        hatch="////",
        label="wrong",
    )
    for x, total, hits in zip(place, right + wrong, right, strict=True):
        if total:
            axes.annotate(
                f"{100 * hits / total:.0f} % right",
                (x, total),
                ha="center",
                va="bottom",
                fontsize=7.5,
            )
    axes.set_xticks(place, BANDS)
    axes.set(xlabel="segments that voted as the clip was decided", ylabel=what)
    axes.set_ylim(0, 1.14 * (right + wrong).max())
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 0.98), ncols=2, borderaxespad=0.1)
    return figure
