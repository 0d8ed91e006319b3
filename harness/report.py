"""Make the page of a study again: `python -m harness.report runs/NAME`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.page.render import write_page
from pipelines.command_line import USAGE_ERROR, run_command
from pipelines.errors import UsageError, require
from pipelines.progress import Reporter

ALL_DONE = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Write report.html, figures/ and tables/ into each run folder; return the exit status."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        require(
            bool(options.overrides), "name the run folders, as in python -m harness.report runs/X"
        )
        status, told = ALL_DONE, []
        for folder in map(Path, options.overrides):
            try:
                page, problem = str(write_page(folder)), None
                if not options.json:
                    print(page)
            except UsageError as error:
                # One folder that is no study's leaves the pages of the others to be made.
                page, problem, status = None, str(error), USAGE_ERROR
                print(f"error: {error}", file=sys.stderr)
            told.append({"folder": str(folder), "page": page, "problem": problem})
        if options.json:
            print(json.dumps(told))
        return status

    return run_command(
        "python -m harness.report",
        "Make the page of a study again, with its figures and tables.",
        ["python -m harness.report runs/demo", "python -m harness.report runs/* --json"],
        run,
        arguments,
        lambda: "",
        operands=("FOLDER", "of a study, as runs/NAME"),
    )


if __name__ == "__main__":
    sys.exit(main())
