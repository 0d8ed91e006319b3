"""What each part of the system adds: `python -m harness.ablate`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.ablating.config import AblateConfig
from harness.ablating.page import write_ablation_page
from harness.ablating.report import print_ablation
from harness.ablating.results import told_rows
from harness.ablating.rows import rows_of
from harness.ablating.run import DONE_ROW, INCOMPLETE, run_rows
from harness.mlflow_study import StudyRecord
from harness.tracking import Tracker
from pipelines.command_line import run_command
from pipelines.config import compose_config, describe_settings
from pipelines.progress import Reporter
from pipelines.storage import write_json

ALL_DONE, SOME_FAILED = 0, 1


def ablate(
    overrides: Sequence[str], reporter: Reporter, *, verbose: bool
) -> tuple[dict[str, Any], Path, Path, Tracker]:
    """Run the rows, compare them with the whole system, write and send what came out.

    Returns:
        What ablation.json holds, the folder, the page, and what sent it to MLflow.

    Raises:
        UsageError: the request itself is wrong; nothing has been trained.
    """
    config = compose_config("ablate", AblateConfig, overrides)
    rows = rows_of(config, overrides)
    folder, results = run_rows(config, rows, reporter, verbose=verbose)
    told = told_rows(results, config.ablation.family)
    result: dict[str, Any] = {
        "name": folder.name,
        "reader": config.corpus.name,
        "protocol_kind": config.protocol.kind,
        "several_seeds": config.protocol.seeds > 1,
        "complete": results[0].status == DONE_ROW,
        "family": list(config.ablation.family),
        "warnings": list(results[0].summary["warnings"]),
        "rows": told,
    }
    write_json(folder / "ablation.json", result)
    page = write_ablation_page(folder, result)
    return result, folder, page, _send(config, folder, result, page)


def _send(config: AblateConfig, folder: Path, result: dict[str, Any], page: Path) -> Tracker:
    """Send the table as a run of its own: the rows' studies, which are there, bear its name."""
    whole = result["rows"][0]
    tags = {
        "ablation": folder.name,
        "protocol": str(whole["protocol"]),
        "corpus": str(whole["corpus"]),
        "protocol_warning": "; ".join(whole["protocol_warnings"] or ()) or "none",
        "config_digest": folder.name,
        "data_digest": "of its rows",
    }
    record = StudyRecord(name=folder.name, tags=tags, parameters={}, datasets=())
    tracker = Tracker(config.tracking, runs=folder.parent, record=record)
    tracker.start()
    figures = {
        f"{row['row']}/{name}": value
        for row in result["rows"]
        for name, value in (
            ("clip_accuracy_subject_mean", row["clip_accuracy_subject_mean"]),
            ("difference", (row["difference"] or {}).get("value")),
            ("p_holm", row.get("p_holm")),
        )
        if value is not None
    }
    told = {
        **figures,
        "seconds": {},
        "complete": result["complete"],
        "warnings": result["warnings"],
    }
    tracker.finish(told, [folder / "ablation.json", page, folder / "tables", folder / "figures"])
    return tracker


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an ablation; return the exit status."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        result, folder, page, tracker = ablate(options.overrides, reporter, verbose=options.verbose)
        if tracker.problem:
            reporter.warn(tracker.problem)
        if options.json:
            print(json.dumps(result, sort_keys=True))
        else:
            print_ablation(result, folder, page)
            for line in tracker.browse_lines():
                print(line)
        failed = any(row["status"] == INCOMPLETE for row in result["rows"])
        return SOME_FAILED if failed else ALL_DONE

    return run_command(
        "python -m harness.ablate",
        "What each part of the system adds: variants and rivals on the same splits, each compared\n"
        "with the whole system over subjects.",
        [
            "python -m harness.ablate",
            "python -m harness.ablate profile=fast ablation=paper corpus=rml corpus.root=/data/RML "
            "cluster.trial_gpus=1",
            "python -m harness.ablate 'ablation.only=[no_vad,mean_over_time,concat]'",
            "python -m harness.ablate protocol=kfold protocol.unit=subject protocol.folds=3",
        ],
        run,
        arguments,
        lambda: describe_settings("ablate", AblateConfig),
    )


if __name__ == "__main__":
    sys.exit(main())
