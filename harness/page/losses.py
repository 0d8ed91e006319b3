"""What became of the clips that were not used, and of splits that failed."""

from __future__ import annotations

import pandas as pd

from harness.page.run_folder import RunFolder
from harness.page.section import Section
from harness.page.tables import COUNT, NOTE, PERCENT, Column, Table
from pipelines.records import REASONS

ON_PAGE = 40


def losses_section(run: RunFolder) -> Section | None:
    """Outcomes by reason, losses by emotion, each lost clip with its detail."""
    if run.outcomes is None:
        said = "This run folder does not tell what became of each clip (outcomes.csv)."
        return Section(anchor="dropped", title="What was left out, and why", text=[said])
    lost = run.outcomes[run.outcomes.status != "ok"]
    total = len(run.outcomes)
    text = [
        f"{total - len(lost)} of {total} clips were used."
        if len(lost)
        else f"Nothing: all {total} clips were used."
    ]
    if len(lost) and run.complete and run.summary.get("clip_accuracy_all") is not None:
        text.append(
            "A clip that could not be used was not recognised either: counted so, "
            f"{100 * run.summary['clip_accuracy_all']:.1f} % are right in place of "
            f"{100 * run.summary['clip_accuracy']:.1f} %."
        )
    tables = [_by_reason(run.outcomes)]
    if len(lost):
        tables += [_by_emotion(run.outcomes), _lost(lost)]
    return Section(anchor="dropped", title="What was left out, and why", text=text, tables=tables)


def _by_reason(outcomes: pd.DataFrame) -> Table:
    counts = outcomes.groupby(["status", "reason"]).size()
    order = sorted(counts.index, key=lambda key: (key[0] != "ok", -counts[key], key))
    return Table(
        name="outcomes",
        caption="What became of the clips.",
        columns=[
            Column("status", "outcome"),
            Column("clips", "clips", COUNT),
            Column("reason", "reason"),
            Column("meaning", "that is", NOTE),
        ],
        rows=[
            [
                "used" if status == "ok" else status,
                int(counts[status, reason]),
                reason,
                REASONS.get(reason, "") if reason else "",
            ]
            for status, reason in order
        ],
    )


def _by_emotion(outcomes: pd.DataFrame) -> Table:
    lost = (outcomes.status != "ok").groupby(outcomes.emotion).agg(["size", "sum"])
    return Table(
        name="lost_by_emotion",
        caption="Clips left out by true emotion: a loss that hits one emotion moves the figures.",
        columns=[
            Column("emotion", "emotion"),
            Column("clips", "clips", COUNT),
            Column("lost", "left out", COUNT),
            Column("share", "left out, %", PERCENT),
        ],
        rows=[
            [name, int(row["size"]), int(row["sum"]), float(row["sum"] / row["size"])]
            for name, row in lost.iterrows()
        ],
    )


def _lost(lost: pd.DataFrame) -> Table:
    more = f" The first {ON_PAGE} of {len(lost)}." if len(lost) > ON_PAGE else ""
    names = ["clip_id", "subject", "emotion", "status", "reason"]
    headings = ["clip", "subject", "emotion", "outcome", "reason"]
    return Table(
        name="lost_clips",
        caption="Clips left out." + more,
        columns=[*map(Column, names, headings), Column("detail", "detail", NOTE)],
        rows=lost.sort_values("clip_id")[[*names, "detail"]].to_numpy().tolist(),
        on_page=ON_PAGE,
    )
