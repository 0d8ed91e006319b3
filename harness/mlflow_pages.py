"""What MLflow's own pages show first: studies, or rows of an ablation, by accuracy; headlines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

NOTE = "mlflow.note.content"
VIEW = "studies"
"""Name of the experiment's view that has each study in a row, the most accurate first."""
ORDER = "metrics.`clip_accuracy`"
COLUMNS = (
    ORDER,
    "metrics.`clip_accuracy_subject_mean`",
    "metrics.`ci95_low`",
    "metrics.`ci95_high`",
    "metrics.`uar`",
    "metrics.`splits_done`",
    "params.`corpus`",
    "params.`protocol`",
    "tags.`protocol_warning`",
)
STUDIES = "metrics.splits_expected > 0"
"""Splits, models that harness.fit logs and tables of ablations have no such figure."""
GROUP = "ablation"
"""Tag of the studies that are rows of one ablation."""
FACETS: dict[str, Any] = {
    "searchFilter": STUDIES,
    "orderByKey": ORDER,
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "selectedColumns": list(COLUMNS),
}


def experiment_tags(experiment_id: str) -> dict[str, str]:
    """Return the tags that give an experiment its view of studies, and the words above it."""
    return {
        f"mlflow.sharedViewState.{VIEW}": json.dumps(FACETS),
        "mlflow.experimentKind": "custom_model_development",
        NOTE: "A run is a study, its child runs are its splits. "
        f"[The studies, by clip_accuracy]({_page(experiment_id)})",
    }


def group_tags(group: str) -> dict[str, str]:
    """Return the tag that gives an experiment the view of one ablation's rows."""
    facets = {
        **FACETS,
        "searchFilter": f"{STUDIES} and tags.`{GROUP}` = '{group}'",
        "selectedColumns": ["tags.`row`", *COLUMNS],
    }
    return {f"mlflow.sharedViewState.{group}": json.dumps(facets)}


def studies_address(server: str, experiment_id: str, group: str = "") -> str:
    """Return the address of the page that lists the studies by accuracy.

    Args:
        server: of MLflow.
        experiment_id: that they are in.
        group: an ablation, whose rows alone are listed; empty: all studies.
    """
    return f"{server.rstrip('/')}/{_page(experiment_id, group or VIEW)}"


def study_note(summary: Mapping[str, Any]) -> str:
    """Return the headline of a study in Markdown, with all that must stand beside it."""
    if "per_subject" not in summary:
        return ""
    lines = [_headline(summary), "", _of_what(summary), ""]
    if "synthetic" in summary["corpus"].split():
        lines.append("- drawn faces and synthesised voices: it says nothing about people")
    lines += [f"- {warning}" for warning in summary["warnings"]]
    lines += ["", "| subject | clips | accuracy | UAR |", "|---|---|---|---|"]
    lines += [
        f"| {row['subject'].replace('|', '/')} | {row['clips']} | "
        f"{_percent(row['clip_accuracy'])} | {_percent(row['uar'])} |"
        for row in summary["per_subject"]
    ]
    return "\n".join([*lines, "", "The whole page: report.html among the artifacts."])


def _headline(summary: Mapping[str, Any]) -> str:
    if not summary["complete"]:
        return "**incomplete**: there is no figure of the study"
    mean = summary["clip_accuracy_subject_mean"]
    low, high = summary["ci95_low"], summary["ci95_high"]
    told = f"**{_percent(mean)}** of a person's clips recognised, mean over subjects"
    if low is not None and low < high:
        told += f" (t interval, nominal 95 %: {_percent(low)} to {_percent(high)})"
    return "".join([told, *(f". **{text}**" for text in summary["protocol_warnings"])])


def _of_what(summary: Mapping[str, Any]) -> str:
    return (
        f"{summary['protocol']} on {summary['corpus']}: {summary['splits_done']} of "
        f"{summary['splits_expected']} splits done, {summary['clips_usable']} of "
        f"{summary['clips']} clips used, {summary['subjects']} subjects"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _page(experiment_id: str, view: str = VIEW) -> str:
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={quote(view, safe='')}"
