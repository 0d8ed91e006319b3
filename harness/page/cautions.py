"""What must stand beside every number of a study, in each table and figure that leaves the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.page.section import Section
from harness.page.tables import Table

NOT_OURS = (
    "published",
    "confusion_paper",
    "outcomes",
    "lost_by_emotion",
    "lost_clips",
    "provenance",
    "times",
)
"""Tables and figures that hold no number of the study's accuracy, or say it in their rows."""


def in_short(cautions: Sequence[str]) -> str:
    """Return what each is called: *subject-dependent*, *leaking: demonstration only*."""
    labels = [caution.partition(". ")[0] for caution in cautions]
    return "; ".join(
        label if label.startswith("leaking") else label.partition(":")[0] for label in labels
    )


def marked_section(section: Section, cautions: Sequence[str]) -> Section:
    """Return a section whose tables and figures say what its numbers are not."""
    short = in_short(cautions)
    if not short:
        return section
    drawings = [
        drawing
        if drawing.name in NOT_OURS
        else replace(drawing, caption=f"{drawing.caption} [{short}]", caution=short)
        for drawing in section.drawings
    ]
    tables = [marked_table(table, cautions) for table in section.tables]
    return replace(section, drawings=drawings, tables=tables)


def marked_table(table: Table, cautions: Sequence[str]) -> Table:
    """Return a table that says what its numbers are not."""
    short = in_short(cautions)
    if not short or table.name in NOT_OURS:
        return table
    return replace(table, caption=f"{table.caption} [{short}]", caution=short)
