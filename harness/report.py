"""Make the page of a study again: `python -m harness.report runs/NAME`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.page.render import write_page
from pipelines.errors import UsageError

USAGE_ERROR = 2
EXAMPLES = """examples:
  python -m harness.report runs/demo
  python -m harness.report runs/*        one page for each study
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write report.html, figures/ and tables/ into each run folder; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.report",
        description="Make the page of a study again, with its figures and tables.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="as runs/NAME")
    for folder in parser.parse_args(arguments).folders:
        try:
            print(write_page(folder))
        except UsageError as error:
            print(f"error: {error}", file=sys.stderr)
            return USAGE_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
