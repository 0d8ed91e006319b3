"""Cross-corpus: `python -m harness.cross`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from harness.protocols import CROSS
from harness.study_command import study_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Train on one corpus, test on every clip of another."""
    return study_command(
        "cross",
        "Cross-corpus: how well does a recogniser of one corpus work on another?",
        [
            "python -m harness.cross corpus=rml corpus.root=/data/RML test_corpus=enterface05 "
            "test_corpus.root=/data/eNTERFACE05",
            "python -m harness.cross corpus=crema_d corpus.root=/data/CREMA-D test_corpus=ravdess "
            "test_corpus.root=/data/RAVDESS 'protocol.labels={calm: neutral}'",
        ],
        CROSS,
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
