"""Leave-one-subject-out: `python -m harness.loso`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from harness.protocols import LOSO
from harness.study_command import study_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Test each subject once, by a model that never saw them."""
    return study_command(
        "loso",
        "Leave-one-subject-out: how well does the recogniser work on people it has never seen?",
        [
            "python -m harness.loso",
            "python -m harness.loso corpus=csv_manifest corpus.root=/data/clips "
            "corpus.manifest=manifest.csv",
            "python -m harness.loso profile=paper corpus=csv_manifest corpus.root=/data/clips "
            "cluster.trial_gpus=1",
            "python -m harness.loso model.lstm_hidden=256 fusion.attention_size=128 name=wider",
        ],
        LOSO,
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
