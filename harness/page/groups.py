"""How well groups of people or clips are recognised, wherever a corpus knows such groups."""

from __future__ import annotations

from harness.page.run_folder import RunFolder
from harness.page.section import Section
from harness.page.tables import COUNT, PERCENT, Column, Table


def groups_section(run: RunFolder) -> Section | None:
    """One table for each attribute."""
    groups = run.summary.get("subgroups") or {}
    if not groups:
        return None
    columns = [
        ("value", "", "text"),
        ("subjects", "subjects", COUNT),
        ("clips", "clips", COUNT),
        ("clip_accuracy", "accuracy, %", PERCENT),
        ("uar", "UAR, %", PERCENT),
        ("clip_accuracy_subject_mean", "mean over subjects, %", PERCENT),
        ("low", "nominal 95 % from", PERCENT),
        ("high", "to", PERCENT),
    ]
    return Section(
        anchor="groups",
        title="Group by group",
        text=["Groups were not declared beforehand: a difference here is a question, no result."],
        tables=[
            Table(
                name=f"group_{number}",
                caption=f"By {name}.",
                columns=[Column(key, heading or name, kind) for key, heading, kind in columns],
                rows=[[row.get(key) for key, _, _ in columns] for row in rows],
            )
            for number, (name, rows) in enumerate(sorted(groups.items()), 1)
        ],
    )
