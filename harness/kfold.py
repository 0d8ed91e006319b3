"""K-fold cross-validation: `python -m harness.kfold`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from harness.protocols import KFOLD
from harness.study_command import study_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Test each clip once; by clip the people tested were also trained on, and it says so."""
    return study_command(
        "kfold",
        "K-fold cross-validation, stratified by emotion. By clip (the default, and the paper's) "
        "its numbers are subject-dependent.",
        [
            "python -m harness.kfold",
            "python -m harness.kfold protocol.folds=5 protocol.unit=subject",
        ],
        KFOLD,
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
