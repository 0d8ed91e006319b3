"""Studies side by side: `python -m harness.compare runs/A runs/B`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.comparing.comparison import compare, describe
from harness.comparing.picture import check_picture, save_picture
from harness.comparing.run_results import read_run
from harness.comparing.tables import print_comparison
from harness.literature import NOTES, published_rows
from harness.published import PUBLISHED
from pipelines.command_line import run_command
from pipelines.errors import require
from pipelines.progress import Reporter


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare each later study with the first, clip by clip."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        folders = options.overrides
        require(
            len(folders) >= (1 if options.published else 2),
            "name two runs or more, as in python -m harness.compare runs/A runs/B; one is enough "
            "with --published",
        )
        if options.picture:
            require(len(folders) > 1, "--picture shows how runs differ: name two or more")
            check_picture(options.picture)
        places = [Path(folder).resolve() for folder in folders]
        twice = [f for f, place in zip(folders, places, strict=True) if places.count(place) > 1]
        require(
            not twice or len(folders) == 2,
            f"{twice[0] if twice else ''} is named more than once: it would count twice in Holm's "
            "family",
        )
        runs = [read_run(Path(folder)) for folder in folders]
        result: dict[str, Any] = {}
        if len(runs) > 1:
            result = compare(runs, common=options.common)
        if options.published:
            result["published"] = {
                "corpus": options.published,
                "rows": published_rows(options.published),
                "notes": list(NOTES),
                "runs": [describe(run, list(run.clips)) for run in runs],
            }
        if options.picture:
            save_picture(result, options.picture)
        if options.json:
            print(json.dumps(result, sort_keys=True))
        else:
            print_comparison(result)
        return 0

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--common", action="store_true", help="compare on the clips that all runs tested"
        )
        parser.add_argument(
            "--picture",
            type=Path,
            metavar="FILE",
            help="draw how each subject and each emotion moved: a PNG or a PDF",
        )
        parser.add_argument(
            "--published",
            choices=sorted({row.corpus for row in PUBLISHED}),
            metavar="CORPUS",
            help="published numbers of rml or enterface05, each with its protocol, beside the runs",
        )

    return run_command(
        "python -m harness.compare",
        "Compare each later run with the first, on the same clips: the difference with its\n"
        "interval, then p-values (corrected by Holm over all runs that are named), by subject and\n"
        "by emotion, and which clips changed.",
        [
            "python -m harness.compare runs/attention runs/concat",
            "python -m harness.compare runs/A runs/B runs/C --json",
            "python -m harness.compare runs/audio runs/both --common",
            "python -m harness.compare runs/audio runs/both --picture moved.png",
            "python -m harness.compare runs/mine --published rml",
        ],
        run,
        arguments,
        lambda: "",
        extend,
        ("RUN", "the folder of a finished study; later ones are compared with the first"),
    )


if __name__ == "__main__":
    sys.exit(main())
