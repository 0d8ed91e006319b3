"""A model for use, trained on all subjects: `python -m harness.fit`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from harness.config import refuse_rival
from harness.model_training import FitStudyConfig, Training
from harness.study_run import opened
from pipelines.command_line import run_command
from pipelines.config import compose_config, describe_settings
from pipelines.errors import require
from pipelines.progress import Reporter


def main(arguments: Sequence[str] | None = None) -> int:
    """Train on everybody, write the model and log it."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        for word in options.overrides:
            require(
                not word.startswith(("protocol", "test_corpus", "model.keep")),
                f"{word}: harness.fit trains one model on everybody, and always keeps it: this "
                "setting is of a study, as python -m harness.loso makes it",
            )
        config = compose_config("fit", FitStudyConfig, options.overrides)
        refuse_rival(config, "harness.fit")
        told = fit(config, reporter, verbose=options.verbose)
        if options.json:
            print(json.dumps(told, sort_keys=True))
            return 0
        print(f"model: {told['model']}")
        if told["model_uri"]:
            print(f"MLflow: {told['model_uri']}, of run {told['run_id']}")
        print(f"use it: python -m harness.predict CLIP --model {told['model']}")
        return 0

    return run_command(
        "python -m harness.fit",
        "Train one model on all subjects of a corpus, for clips of people who are in none.",
        [
            "python -m harness.fit",
            "python -m harness.fit profile=paper corpus=rml corpus.root=/data/RML name=rml "
            "cluster.trial_gpus=1",
            "python -m harness.fit corpus=csv_manifest corpus.root=/data/clips fit.validation=none",
        ],
        run,
        arguments,
        lambda: describe_settings("fit", FitStudyConfig),
        on_ray=True,
    )


def fit(config: FitStudyConfig, reporter: Reporter, *, verbose: bool) -> dict[str, Any]:
    """Preprocess, train, write the model's folder and send it to MLflow; what is there stays.

    Returns:
        model (its folder), run_id and model_uri (None where it was not sent), classes, train,
        validation (clips) and warnings.

    Raises:
        UsageError: the request itself is wrong.
        StoppedError: the training failed.
    """
    with opened(config, reporter, verbose=verbose) as (study, preparations):
        training = Training(config, study)
        training.run(preparations)
    return training.told(*training.log(reporter))


if __name__ == "__main__":
    sys.exit(main())
