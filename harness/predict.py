"""What a trained model sees in new clips: `python -m harness.predict CLIP... --model MODEL`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from harness.config import StudyConfig
from harness.prediction_request import find_clips, found_model, place_of, told_apart
from harness.recogniser import Recogniser, RecogniserWorker
from harness.recognition import Recognition, recognition_of
from pipelines.clip_pool import PoolSize, map_clips
from pipelines.command_line import run_command
from pipelines.errors import UsageError, require
from pipelines.model_files import ModelRecord, read_record
from pipelines.progress import Reporter
from pipelines.records import REASONS
from pipelines.session import Place, ray_session

ALL_SEEN, SOME_NOT = 0, 1
FEW = 16
"""Clips that are looked at one after another: for so few Ray is slower to start than they are."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Say what each clip shows; status 1 where nothing can be said of one of them."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        words, config = told_apart([*options.clips, *options.overrides])
        clips = find_clips(words)
        _check_target(options.timeline, clips)
        with found_model(options.model, config) as model:
            record = read_record(model)
            if len(clips) <= FEW and config.cluster.address is None:
                found = _one_by_one(clips, model, config, reporter, options.timeline)
            else:
                found = _in_a_pool(clips, model, config, reporter, verbose=options.verbose)
        if options.json:
            print(json.dumps(_as_json(found, options.model, record)))
        else:
            _print(found, record.classes)
        if options.timeline is not None and found[0].emotion is not None:
            reporter.line(f"timeline: {options.timeline}")
        return ALL_SEEN if all(one.emotion is not None for one in found) else SOME_NOT

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "clips", metavar="CLIP", nargs="*", help="a media file, a folder of them, an address"
        )
        parser.add_argument(
            "--model",
            required=True,
            help="a folder that harness.fit or model.keep=true has written, or an address in "
            "MLflow: runs:/RUN/model, models:/NAME/VERSION",
        )
        parser.add_argument(
            "--timeline", type=Path, metavar="FILE.png", help="draw the one clip through time"
        )

    return run_command(
        "python -m harness.predict",
        "What a trained model sees in new clips: the emotion, its probability, the vote.",
        [
            "python -m harness.predict tom.mp4 --model runs/rml/model",
            "python -m harness.predict tom.mp4 --model runs/rml/model --timeline tom.png",
            "python -m harness.predict /data/new --model runs:/4f2c.../model --json",
            "python -m harness.predict s07/*.avi --model runs/loso-rml/models/loso-s07",
        ],
        run,
        arguments,
        lambda: (
            "settings: those of cluster., paths. and tracking. as python -m harness.loso --help "
            "lists them,\nand faces.model_dir; all others are the model's own"
        ),
        extend,
    )


def _check_target(timeline: Path | None, clips: Sequence[str]) -> None:
    if timeline is None:
        return
    require(len(clips) == 1, f"--timeline draws one clip, and {len(clips)} are named")
    require(timeline.suffix.lower() == ".png", f"--timeline ({timeline}) must end with .png")
    require(
        timeline.parent.is_dir(),
        f"--timeline ({timeline}): the folder {timeline.parent} does not exist",
    )


def _one_by_one(
    clips: Sequence[str],
    model: Path,
    config: StudyConfig,
    reporter: Reporter,
    timeline: Path | None,
) -> list[Recognition]:
    found = []
    faces, cache = config.faces.model_dir, config.paths.cache
    with Recogniser(model, model_dir=faces, cache=cache) as recogniser:
        for warning in recogniser.model.warnings:
            reporter.warn(warning)
        for clip in clips:
            recognition, result = recogniser.look_at(clip)
            found.append(recognition)
            if timeline is not None and recognition.emotion is not None:
                # Matplotlib is imported when there is something to draw.
                from harness.timeline import save_timeline

                save_timeline(recognition, result, timeline)
    return found


def _in_a_pool(
    clips: Sequence[str], model: Path, config: StudyConfig, reporter: Reporter, *, verbose: bool
) -> list[Recognition]:
    record = read_record(model)
    arguments = {
        "model": str(model),
        "model_dir": config.faces.model_dir,
        "cache": config.paths.cache,
    }
    rows = [{"clip_id": place_of(clip)} for clip in clips]
    found: dict[str, Recognition] = {}
    with ray_session(config.cluster, reporter, verbose=verbose) as place:
        size, cpus, gpus = _pool(record, config, place)
        with (
            reporter.stage("predict", len(clips)) as stage,
            closing(
                map_clips(RecogniserWorker, arguments, rows, size, cpus=cpus, gpus=gpus)
            ) as answers,
        ):
            for answer in answers:
                if problem := answer.get("problem"):
                    raise UsageError(problem)
                clip = answer["clip_id"]
                found[clip] = recognition_of(clip, answer.get("recognition"))
                stage.advance()
    return [replace(found[place_of(clip)], path=clip) for clip in clips]


def _pool(record: ModelRecord, config: StudyConfig, place: Place) -> tuple[PoolSize, int, float]:
    """Return workers, and CPUs and GPUs of each: as many as the model was trained on."""
    # A cluster may still grow a node that has as many.
    cpus = min(record.threads, place.cpus) if place.local else record.threads
    gpus = (config.cluster.trial_gpus or 1.0) if record.on_gpu and place.gpus else 0.0
    return PoolSize.on(place, cpus=cpus, gpus=gpus), cpus, gpus


def _as_json(found: Sequence[Recognition], model: str, record: ModelRecord) -> dict[str, object]:
    return {
        "model": {"address": model, "name": record.name, "study_digest": record.study_digest},
        "classes": record.classes,
        "clips": [asdict(one) for one in found],
    }


def _print(found: Sequence[Recognition], classes: Sequence[str]) -> None:
    width = max(len(label) for label in classes)
    votes = max(len(one.vote) for one in found)
    for one in found:
        if one.emotion is None or one.probability is None:
            told = f"{one.path}: {one.status}: {one.reason} ({one.detail or REASONS[one.reason]})"
            print(told, file=sys.stderr)
            continue
        notes = f"  ({REASONS[one.reason]})" if one.reason else ""
        chance = f"{100 * one.probability:5.1f} %"
        print(f"{one.emotion:<{width}}  {chance}  {one.vote:<{votes}}  {one.path}{notes}")


if __name__ == "__main__":
    sys.exit(main())
