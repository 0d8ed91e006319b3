"""What `harness.loso`, `harness.kfold` and `harness.cross` have in common."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from harness.config import StudyConfig
from harness.study_run import run_study
from harness.terminal import print_summary
from pipelines.command_line import run_command
from pipelines.config import compose_config, describe_settings
from pipelines.errors import require
from pipelines.progress import Reporter

ALL_DONE, SOME_FAILED = 0, 1


def study_command(
    module: str,
    description: str,
    examples: Sequence[str],
    protocol: str,
    arguments: Sequence[str] | None,
) -> int:
    """Run a study under one protocol as a command; return its exit status."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        chosen = any(override.startswith("protocol=") for override in options.overrides)
        overrides = options.overrides if chosen else [f"protocol={protocol}", *options.overrides]
        config = compose_config("study", StudyConfig, overrides)
        require(
            config.protocol.kind == protocol,
            f"protocol ({config.protocol.kind}) is not what this command runs: use python -m "
            f"harness.{config.protocol.kind}",
        )
        outcome = run_study(config, reporter, verbose=options.verbose)
        if outcome.tracker.problem:
            reporter.warn(outcome.tracker.problem)
        if options.json:
            print(json.dumps(outcome.summary, sort_keys=True))
        else:
            print_summary(outcome.summary, outcome.folder, outcome.tracker)
        return ALL_DONE if outcome.summary["complete"] else SOME_FAILED

    return run_command(
        f"python -m harness.{module}",
        description,
        examples,
        run,
        arguments,
        lambda: describe_settings("study", StudyConfig),
        on_ray=True,
    )
