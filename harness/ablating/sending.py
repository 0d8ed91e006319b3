"""An ablation to MLflow: one run with its tables, beside those of its rows, which bear its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.ablating.declared import DECLARED_FILE
from harness.ablating.page import PAGE
from harness.ablating.table import with_width
from harness.mlflow_study import StudyRecord
from harness.page.headline import DRAWN, SYNTHETIC
from harness.page.render import FIGURES, TABLES
from harness.resending import MARK, send_study
from harness.tracking import Tracker, TrackingConfig, tracking_uri

ABLATION = "ablation.json"
"""Of an ablation's folder: every row with its figures, and what they allow to conclude."""
Row = Mapping[str, Any]


def resend_ablation(folder: Path, config: TrackingConfig) -> Tracker:
    """Send the rows of an ablation and its tables; the first problem ends it.

    Returns:
        What sent the last of it.

    Raises:
        UsageError: a row's folder holds no study.
    """
    folder = folder.absolute()
    # All rows go to one store, not each to one beside its folder.
    config = replace(config, uri=tracking_uri(config, folder.parent))
    result = json.loads((folder / ABLATION).read_text())
    for row in result["rows"]:
        if (folder / row["row"] / MARK).is_file():
            tracker = send_study(folder / row["row"], config)
            if tracker.problem is not None:
                return tracker
    return send_tables(folder, result, config)


def send_tables(folder: Path, result: Mapping[str, Any], config: TrackingConfig) -> Tracker:
    """Send what came out of an ablation as a run of its own.

    Args:
        folder: of the ablation.
        result: what ablation.json holds.
        config: where to.
    """
    whole = result["rows"][0]
    told = {name: str(whole[name]) for name in ("protocol", "corpus")}
    cautions = "; ".join(whole["protocol_warnings"] or ()) or "none"
    tags = {
        **result["digests"],
        **told,
        "ablation": folder.name,
        "git_commit": result["git_commit"],
        "protocol_warning": cautions,
    }
    record = StudyRecord(name=folder.name, tags=tags, parameters=told, datasets=())
    tracker = Tracker(config, runs=folder.parent, record=record)
    tracker.start()
    summary = {
        **figures_of(result["rows"]),
        "seconds": {},
        "complete": result["complete"],
        "warnings": result["warnings"],
    }
    artifacts = [
        folder / name for name in (ABLATION, DECLARED_FILE, "config.yaml", PAGE, TABLES, FIGURES)
    ]
    tracker.finish(summary, artifacts, ablation_note(result))
    return tracker


def figures_of(rows: list[Row]) -> dict[str, float]:
    """Return the figures of all rows as row/figure -> value."""
    return {
        f"{row['row']}/{name}": value
        for row in rows
        for name, value in (
            ("clip_accuracy_subject_mean", row["clip_accuracy_subject_mean"]),
            ("difference", (row["difference"] or {}).get("value")),
            *zip(("difference_low", "difference_high"), _interval(row), strict=True),
            ("p_holm", row.get("p_holm")),
        )
        if value is not None
    }


def _interval(row: Row) -> tuple[float | None, float | None]:
    difference = row["difference"] or {}
    return with_width(difference.get("low"), difference.get("high"))


def ablation_note(result: Mapping[str, Any]) -> str:
    """Return the table in Markdown, with all that must stand beside it."""
    whole = result["rows"][0]
    lines = [f"**Ablation**: {whole['protocol']} on {whole['corpus']}", ""]
    lines += [f"- **{text}**" for text in whole["protocol_warnings"] or ()]
    drawn = [DRAWN] if SYNTHETIC in str(whole["corpus"]).split() else []
    lines += [f"- {text}" for text in [*drawn, *result["warnings"]]]
    lines += ["", "| row | accuracy | points to the whole | Holm's p |", "|---|---|---|---|"]
    lines += [f"| {row['title'].replace('|', '/')} | {_cells(row)} |" for row in result["rows"]]
    return "\n".join([*lines, "", f"What can be concluded: {PAGE} among the artifacts."])


def _cells(row: Row) -> str:
    mean = row["clip_accuracy_subject_mean"]
    if row["status"] != "done" or mean is None:
        return f"{row['status']} | | "
    difference, p = row["difference"], row.get("p_holm")
    points = ""
    if difference is not None:
        points = f"{100 * difference['value']:+.1f}"
        low, high = _interval(row)
        if low is not None and high is not None:
            points += f" ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{100 * mean:.1f} % | {points} | {'' if p is None else f'{p:.3g}'}"
