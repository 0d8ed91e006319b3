"""Studies to MLflow again: `python -m harness.track RUN...`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import OmegaConf

from harness.ablating.sending import ABLATION, resend_ablation
from harness.config import StudyConfig
from harness.resending import send_study
from harness.tracking import Tracker, TrackingConfig
from pipelines.command_line import run_command
from pipelines.config import compose_config, describe_settings
from pipelines.errors import require
from pipelines.progress import Reporter

NOT_SENT = 1
A_DAY = 86_400.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Send run folders to MLflow; what is there already stays as it is."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        folders = [Path(o) for o in options.overrides if "=" not in o or Path(o).is_dir()]
        settings = [o for o in options.overrides if Path(o) not in folders]
        require(bool(folders), "name the run folders to send, as in python -m harness.track runs/X")
        told_here = compose_config("study", StudyConfig, settings).tracking
        status = 0
        told = []
        for folder in folders:
            tracker = send(folder, as_recorded(folder, told_here, settings))
            told.append({"folder": str(folder), "uri": tracker.uri, "problem": tracker.problem})
            if tracker.problem is not None:
                reporter.warn(tracker.problem)
                status = NOT_SENT
            elif not options.json:
                print(f"{folder} is in MLflow at {tracker.uri}")
        if options.json:
            print(json.dumps(told))
        return status

    return run_command(
        "python -m harness.track",
        "Send the folders of studies to MLflow again; nothing is sent twice.",
        [
            "python -m harness.track runs/loso-rml-1a2b3c4d",
            "python -m harness.track runs/* tracking.uri=http://127.0.0.1:5000",
        ],
        run,
        arguments,
        lambda: describe_settings("study", StudyConfig),
        operands=(
            "RUN",
            "folders of studies and ablations, as runs/NAME; settings of tracking.",
        ),
    )


def as_recorded(folder: Path, told: TrackingConfig, settings: Sequence[str]) -> TrackingConfig:
    """Return where a study is sent: as its own command was told, unless this one says otherwise."""
    recorded = folder / "config.yaml"
    if not recorded.is_file():
        return told
    own = OmegaConf.to_container(OmegaConf.load(recorded))
    kept = own.get("tracking", {}) if isinstance(own, dict) else {}
    here = {setting.partition("=")[0].removeprefix("tracking.") for setting in settings}
    names = [name for name in ("uri", "experiment") if kept.get(name) and name not in here]
    return replace(told, **{name: kept[name] for name in names})


def send(folder: Path, config: TrackingConfig) -> Tracker:
    """Send a study, or an ablation with all of its rows, as its folder has it.

    Raises:
        UsageError: the folder holds neither.
    """
    # Here sending is all there is to do: a slow server gets the time that it takes.
    patient = replace(config, enabled=True, wait_s=A_DAY)
    is_ablation = (folder / ABLATION).is_file()
    return resend_ablation(folder, patient) if is_ablation else send_study(folder, patient)


if __name__ == "__main__":
    sys.exit(main())
