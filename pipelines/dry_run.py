"""What preprocessing would do, how long it would take and how large it would get."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.corpora.overview import describe
from pipelines.corpus_plan import CorpusPlan, ShardTask, processor_settings
from pipelines.faces import weights_present
from pipelines.process import ClipProcessor, ClipResult
from pipelines.records import Clip
from pipelines.shard_tables import frames_table, segments_table, sound_table
from pipelines.storage import parquet_bytes

SAMPLE = 6
"""Clips that are worked through, and thrown away, to measure what one takes."""
RAY_SECONDS = 15.0
"""To start Ray and its workers."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is left to do, measured on a few of its clips."""

    clips: int
    done: int
    """Clips whose shards are there already."""
    workers: int
    measured: int
    """Clips of the sample."""
    seconds_per_clip: float
    bytes_per_clip: float
    unusable: dict[str, str]
    """Clips of the sample that gave no segments, each with its reason."""

    @property
    def left(self) -> int:
        """Clips to work through."""
        return self.clips - self.done

    @property
    def seconds(self) -> float:
        """Of the whole run on `workers` CPUs like this one's."""
        return self.left and RAY_SECONDS + self.left * self.seconds_per_clip / self.workers

    @property
    def bytes(self) -> float:
        """Of the shards that would be written."""
        return self.left * self.bytes_per_clip


def print_plan(plan: CorpusPlan, *, as_json: bool) -> None:
    """Print what the corpus holds, what would be done to it, and what that takes."""
    known = not plan.to_make and weights_present(plan.config.faces)
    task = plan.task() if known else None
    workers = plan.config.preprocess.workers or len(os.sched_getaffinity(0))
    reckoned = estimate(task, workers) if task else None
    if as_json:
        print(json.dumps(_as_json(plan, reckoned)))
        return
    print(describe(plan.listing), end="\n\n")
    for line in _plan_lines(plan, task, reckoned):
        print(line)


def _plan_lines(
    plan: CorpusPlan, task: ShardTask | None, reckoned: Estimate | None
) -> Iterator[str]:
    if task is None or reckoned is None:
        if plan.to_make:
            yield f"would make {len(plan.to_make)} clips in {plan.config.corpus.root}"
        if not weights_present(plan.config.faces):
            yield f"would fetch the files of the {plan.config.faces.detector} detector"
        yield (
            f"would preprocess {len(plan.clips)} clips or less: how many are done, time and space "
            "are known once that is here"
        )
    elif reckoned.left == 0:
        yield f"nothing to do: all {reckoned.clips} clips are done, in {task.folder.root}"
    else:
        yield (
            f"would preprocess {reckoned.left} clips ({reckoned.done} are done) with the "
            f"{plan.config.faces.detector} detector into {task.folder.root}"
        )
        yield (
            f"estimate: {_duration(reckoned.seconds)} on {reckoned.workers} CPUs like this "
            f"machine's, {_disk(reckoned, task)}; from "
            f"{reckoned.measured} clips that were worked through: "
            f"{reckoned.seconds_per_clip:.2f} s each"
        )
        for clip_id, reason in reckoned.unusable.items():
            yield f"  of these {clip_id} can't be used: {reason}"
    yield "nothing was written"


def _as_json(plan: CorpusPlan, reckoned: Estimate | None) -> dict[str, Any]:
    return {
        "clips": len(plan.clips),
        "to_make": len(plan.to_make),
        "estimate": reckoned
        and {**asdict(reckoned), "seconds": reckoned.seconds, "bytes": reckoned.bytes},
    }


def _disk(reckoned: Estimate, task: ShardTask) -> str:
    if len(reckoned.unusable) == reckoned.measured:
        return f"space unknown{_free(task)}"
    return (
        f"{_size_words(reckoned.bytes)} on disk, {_size_words(reckoned.bytes_per_clip)} a clip"
        f"{_free(task)}"
    )


def _free(task: ShardTask) -> str:
    """Say how much space there is where the shards would be, if that is a disk of this machine."""
    place = task.folder.root
    if not isinstance(place, Path):
        return ""
    while not place.exists():
        place = place.parent
    return f" ({_size_words(shutil.disk_usage(place).free)} free there)"


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return f"about {seconds:.0f} s"
    return f"about {minutes:.0f} min" if minutes < 90 else f"about {minutes / 60:.1f} h"


def _size_words(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def estimate(task: ShardTask, workers: int) -> Estimate:
    """Work through a few of the clips that are left, write nothing, and reckon from them."""
    finished = task.finished()
    done = len(finished.outcomes) if finished else len(task.done())
    left = [] if finished else task.left(task.done())
    seconds, sizes = [0.0], [0]
    unusable: dict[str, str] = {}
    sample = _sample(left)
    if sample:
        with (
            tempfile.TemporaryDirectory() as copies,
            ClipProcessor(
                task.folder, **{**processor_settings(task.plan.config), "cache": copies}
            ) as processor,
        ):
            processor.compute(sample[0])  # librosa and the decoders are slow the first time
            results = [processor.compute(clip) for clip in sample]
        seconds = [result.outcome.seconds for result in results]
        sizes = [_size(result) for result in results]
        unusable = {
            result.outcome.clip_id: f"{result.outcome.reason} {result.outcome.detail}".strip()
            for result in results
            if result.outcome.status != "ok"
        }
    return Estimate(
        clips=len(task.plan.clips),
        done=done,
        workers=min(workers, max(1, len(left))),
        measured=len(sample),
        seconds_per_clip=statistics.fmean(seconds),
        bytes_per_clip=statistics.fmean(sizes),
        unusable=unusable,
    )


def _sample(clips: Sequence[Clip]) -> list[Clip]:
    """Clips from all over the corpus, subject by subject."""
    places = np.linspace(0, len(clips) - 1, min(SAMPLE, len(clips)))
    return [clips[int(place)] for place in places.round()]


def _size(result: ClipResult) -> int:
    if result.frames is None or result.sound is None:
        return 0
    clip_id = result.outcome.clip_id
    tables = (
        frames_table(clip_id, result.frames),
        segments_table(result.segments),
        sound_table(clip_id, result.sound.words),
    )
    return sum(parquet_bytes(table) for table in tables)
