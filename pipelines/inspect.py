"""One clip as a picture: `python -m pipelines.inspect CLIP`.

The clip is worked through as preprocessing would, with the same settings, and nothing is kept but
the picture.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np

from pipelines.clip_picture import Pixels, draw_clip
from pipelines.command_line import run_command
from pipelines.config import PipelineConfig, compose_config, describe_settings
from pipelines.corpora.listing import ClipMaker
from pipelines.corpus_plan import CorpusPlan, processor_settings
from pipelines.decode import DecodeError
from pipelines.errors import UsageError, require
from pipelines.mfcc import segment_seconds
from pipelines.process import ClipProcessor, ClipResult
from pipelines.progress import Reporter
from pipelines.records import FRAMES_PER_SEGMENT, Clip, to_row
from pipelines.shards import ShardFolder

OURS = {"Software": "pipelines.inspect"}
"""Stands in the pictures that this command made: those may be made anew without asking."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Work through one clip and draw it; status 1 where nothing came of it."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        config = compose_config("pipeline", PipelineConfig, options.overrides)
        clip = find_clip(options.clip, config)
        target = _target(options.out, clip)
        with ClipProcessor(
            ShardFolder(config.paths.data), **processor_settings(config)
        ) as processor:
            result = processor.compute(clip)
            unused = _unused_frames(processor, result)
        outcome = result.outcome
        drawn = result.info is not None
        if drawn:
            # Standardising needs the clips that a split trains on: here there is one.
            scaling = config.training.rescaling
            _save(
                result,
                target,
                rescaling="row" if scaling == "standardised" else scaling,
                segment_s=segment_seconds(config.mfcc),
                unused=unused,
            )
        if options.json:
            print(json.dumps({**asdict(outcome), "picture": str(target) if drawn else None}))
        elif drawn:
            print(target)
        if outcome.status != "ok":
            words = f"{outcome.status}: {outcome.reason}"
            words += f" ({outcome.detail})" if outcome.detail else ""
            print(f"{outcome.clip_id}: {words}", file=sys.stderr)
            return 1
        notes = "; ".join(filter(None, (outcome.reason, outcome.detail)))
        reporter.line(f"{outcome.clip_id}: ok{f': {notes}' if notes else ''}")
        return 0

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("clip", metavar="CLIP", help="a media file, or a clip_id of the corpus")
        parser.add_argument(
            "--out", type=Path, metavar="FILE.png", help="default: <clip name>.png in this folder"
        )

    return run_command(
        "python -m pipelines.inspect",
        "Draw one clip: waveform and voice region, segments, their audio images and face crops.",
        [
            "python -m pipelines.inspect s01/anger_1",
            "python -m pipelines.inspect /data/clips/tom.mp4 faces=yunet vad.floor_db=8",
            "python -m pipelines.inspect s3/an1 corpus=csv_manifest corpus.root=/data/clips",
        ],
        run,
        arguments,
        lambda: describe_settings("pipeline", PipelineConfig),
        extend,
    )


def find_clip(name: str, config: PipelineConfig) -> Clip:
    """Return the clip that is meant: a file, or one of the corpus by its id.

    Raises:
        UsageError: it is neither.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return Clip(clip_id=path.stem, path=str(path.absolute()), subject="", emotion="")
    plan = CorpusPlan(config)
    for clip in plan.clips:
        if clip.clip_id == name:
            if clip in plan.to_make:
                ClipMaker(plan.config.corpus)(to_row(clip))
            return clip
    near = difflib.get_close_matches(name, [clip.clip_id for clip in plan.clips], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"an id is e.g. {plan.clips[0].clip_id}"
    raise UsageError(
        f"CLIP ({name}) is neither a file nor one of the {len(plan.clips)} clips of the corpus "
        f"{config.corpus.name}: {hint}"
    )


def _target(out: Path | None, clip: Clip) -> Path:
    """Where the picture goes; a file that this command did not make is only replaced by name."""
    target = out or Path(f"{Path(clip.path).stem}.png")
    require(target.suffix.lower() == ".png", f"--out ({target}) must end with .png")
    require(target.parent.is_dir(), f"--out ({target}): the folder {target.parent} does not exist")
    require(
        out is not None or not target.exists() or OURS["Software"].encode() in _head(target),
        f"{target} exists and was not made by this command: name another file with --out",
    )
    return target


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1024)


def _unused_frames(processor: ClipProcessor, result: ClipResult) -> Pixels | None:
    """Frames of a clip that has no segments, evenly from what would have been used."""
    if result.segments or result.info is None or result.sound is None:
        return None
    times, outcome = result.info.frame_times_s, result.outcome
    inside = np.flatnonzero((times >= outcome.voice_start_s) & (times < outcome.voice_end_s))
    if not inside.size:
        return None
    wanted = np.unique(np.linspace(inside[0], inside[-1], FRAMES_PER_SEGMENT // 2).round())
    try:
        return processor.sandbox.frames(wanted.astype(np.int64))
    except (DecodeError, RuntimeError):
        return None  # what is known without them is drawn all the same


def _save(
    result: ClipResult, target: Path, *, rescaling: str, segment_s: float, unused: Pixels | None
) -> None:
    figure = draw_clip(result, rescaling=rescaling, segment_s=segment_s, unused=unused)
    picture = BytesIO()
    figure.savefig(picture, format="png", metadata=OURS)
    try:
        target.write_bytes(picture.getvalue())
    except OSError as error:
        raise UsageError(f"--out ({target}) can't be written: {error.strerror or error}") from error


if __name__ == "__main__":
    sys.exit(main())
