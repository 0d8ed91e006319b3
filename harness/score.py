"""Any other system's predictions: `python -m harness.score predictions.csv`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.config import StudyConfig
from harness.external import score
from harness.page.attempt import draw
from harness.terminal import print_summary
from pipelines.command_line import run_command
from pipelines.config import compose_config, describe_settings
from pipelines.progress import Reporter

COMPLETE, INCOMPLETE = 0, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Give predictions made elsewhere the figures, intervals and tables of a study."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        config = compose_config("study", StudyConfig, options.overrides)
        scored = score(options.predictions, config)
        draw(scored.folder, reporter)
        if options.json:
            print(json.dumps(scored.summary, sort_keys=True))
        else:
            print_summary(scored.summary, scored.folder)
        return COMPLETE if scored.summary["complete"] else INCOMPLETE

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "predictions",
            type=Path,
            metavar="predictions.csv",
            help="columns clip_id (or path, relative to corpus.root) and predicted; split_id where "
            "a clip is tested several times; p_<emotion> for all emotions or for none",
        )

    return run_command(
        "python -m harness.score",
        "Check the predictions of any other system against the plan of a protocol, and give them\n"
        "the figures, intervals and tables of a study. The run folder can be compared with others\n"
        "by python -m harness.compare. Status 1: some test clip has no prediction.",
        [
            "python -m harness.score theirs.csv corpus=rml corpus.root=/data/RML",
            "python -m harness.score theirs.csv corpus=csv_manifest corpus.root=/data/clips \\",
            "    protocol=kfold protocol.folds=5 protocol.unit=subject name=theirs",
            "python -m harness.score theirs.csv corpus=rml corpus.root=/data/RML \\",
            "    protocol.plan=runs/ours/plan.json name=theirs",
            "python -m harness.compare runs/ours runs/theirs",
        ],
        run,
        arguments,
        lambda: describe_settings("study", StudyConfig),
        extend,
    )


if __name__ == "__main__":
    sys.exit(main())
