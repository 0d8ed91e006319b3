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
from harness.ablating.row_result import DONE_ROW, INCOMPLETE
from harness.ablating.rows import rows_of
from harness.ablating.run import finished_rows, run_rows
from harness.ablating.sending import ABLATION, send_tables
from harness.tracking import Tracker
from pipelines.command_line import run_command
from pipelines.commit import git_commit
from pipelines.config import compose_config, describe_settings, to_yaml
from pipelines.progress import Reporter
from pipelines.storage import write_json, write_text

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
    rows = rows_of(config, overrides, finished_rows(config))
    folder, results, cautions = run_rows(config, rows, reporter, verbose=verbose)
    told = told_rows(results, config.ablation.family, len(config.ablation.rivals))
    whole = results[0]
    result: dict[str, Any] = {
        "name": folder.name,
        "reader": config.corpus.name,
        "protocol_kind": config.protocol.kind,
        "several_seeds": config.protocol.seeds > 1,
        "digests": {key: whole.summary[key] for key in ("config_digest", "data_digest")},
        "git_commit": git_commit(),
        "complete": whole.status == DONE_ROW,
        "family": list(config.ablation.family),
        "warnings": [*cautions, *whole.summary["warnings"]],
        "rows": told,
    }
    write_text(folder / "config.yaml", to_yaml(config))
    write_json(folder / ABLATION, result)
    page = write_ablation_page(folder, result)
    return result, folder, page, send_tables(folder, result, config.tracking)


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
        failed = any(row["status"] == INCOMPLETE or not row["expected"] for row in result["rows"])
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
        on_ray=True,
    )


if __name__ == "__main__":
    sys.exit(main())
