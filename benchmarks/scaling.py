"""How long a study takes on G workers: what docs/scaling.md predicts, and what the clock says."""

from __future__ import annotations

import heapq
import json
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.feature_corpus import Geometry, clips_of, write_feature_corpus
from benchmarks.measured_process import measure
from benchmarks.nap import DURATIONS, nap
from benchmarks.tune_splits import run_splits
from harness.plan import Plan
from harness.plan_file import read_plan, write_plan
from harness.protocols import ProtocolConfig
from harness.splits import plan_splits
from pipelines.config import PipelineConfig, compose_config, resolve
from pipelines.session import ray_session

SPLITS = 42
FEW, MORE = 2, 6
"""Splits of the runs from which the terms are read."""
MOST_ERROR = 0.15
CORPUS = (f"corpus.subjects={SPLITS}", "corpus.takes=1")
STUDY = (
    *CORPUS,
    "training=demo",
    "training.trunk=frozen",
    "training.audio_epochs=12",
    "training.visual_epochs=12",
    "training.fusion_epochs=12",
    "tracking.enabled=false",
)
LOGICAL = (4, 8, 16, 32, 64)
SHORTEST_S = 2.0
"""Of the replayed splits, on average: those of the demo would be shorter than any real one."""


@dataclass(frozen=True)
class Terms:
    """Of T = start + features/G + ceil(N/G)(split + overhead), in seconds."""

    start: float
    features: float
    split: float
    overhead: float

    def seconds(self, splits: int, workers: int) -> float:
        """Return T."""
        rounds = math.ceil(splits / workers)
        return self.start + self.features / workers + rounds * (self.split + self.overhead)


@dataclass(frozen=True)
class Run:
    """One study as a command."""

    seconds: float
    stages: dict[str, float]
    splits: dict[str, float]
    """Seconds of each split, as the ledger has them."""


def run() -> dict[str, Any]:
    """Read the terms from short runs on one worker, predict 42 splits on one and two, run them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command(CORPUS, folder, module="pipelines.preprocess")
        # One that only plans: its splits are those of all runs.
        whole = study(folder, "whole", 1)
        plan = read_plan(folder / "runs" / "whole" / "plan.json")
        few, more = (part(folder, plan, count) for count in (FEW, MORE))
        rest = study(folder, "whole", 1, again=True)
        terms = terms_of(few, more, rest)
        two = study(folder, "two", 2)
        same = {
            (folder / "runs" / told / "predictions.parquet").read_bytes()
            for told in ("whole", "two")
        }
    rows: list[dict[str, Any]] = []
    for workers, measured in ((1, whole), (2, two)):
        predicted = terms.seconds(SPLITS, workers)
        rows.append(
            {
                "workers": workers,
                "predicted_seconds": round(predicted, 1),
                "measured_seconds": round(measured.seconds, 1),
                "error": round(predicted / measured.seconds - 1, 4),
                "stages": {stage: round(took, 1) for stage, took in measured.stages.items()},
            }
        )
    return {
        "work": f"python -m harness.loso on {SPLITS} people of 6 clips, shards made before, "
        "features not: a frozen trunk, 12+12+12 epochs",
        "terms": {name: round(value, 3) for name, value in vars(terms).items()},
        "terms_from": f"runs of {FEW} and {MORE} of the splits on one worker, and the whole given "
        "again when all of it was done",
        "rows": rows,
        "equal": len(same) == 1,
        "within_15_percent": all(abs(row["error"]) <= MOST_ERROR for row in rows),
        "simulation": simulated(whole.splits),
    }


def terms_of(few: Run, more: Run, rest: Run) -> Terms:
    """Tell the terms apart: a split's from how the runs differ, the start from what is left."""
    each = (more.stages["train"] - few.stages["train"]) / (MORE - FEW)
    split = statistics.median(more.splits.values())
    before_the_first = few.stages["train"] - FEW * each
    return Terms(
        start=rest.seconds + before_the_first,
        features=more.stages["features"],
        split=split,
        overhead=each - split,
    )


def part(folder: Path, plan: Plan, count: int) -> Run:
    """Run some of the splits, spread over all of them."""
    step = len(plan.splits) // count
    chosen = replace(plan, splits=tuple(plan.splits[::step][:count]))
    path = folder / f"plan-{count}.json"
    write_plan(path, chosen)
    return study(folder, f"part-{count}", 1, f"protocol.plan={path}")


def study(folder: Path, name: str, workers: int, *more: str, again: bool = False) -> Run:
    """Run a study whose features are not there, or one that is done already."""
    if not again:
        shutil.rmtree(folder / "data" / "features", ignore_errors=True)
    seconds, told = command([*STUDY, *more, f"name={name}", f"cluster.cpus={workers}"], folder)
    splits = {}
    for entry in (folder / "runs" / name / "splits").glob("*.json"):
        splits[entry.stem] = sum(json.loads(entry.read_text())["seconds"].values())
    return Run(seconds, told["seconds"], splits)


def command(
    arguments: Sequence[str], folder: Path, module: str = "harness.loso"
) -> tuple[float, dict[str, Any]]:
    """Run a command; return its seconds, and what it printed."""
    measured = measure([sys.executable, "-m", module, *arguments, "--json"], folder)
    if measured.status != 0:
        raise RuntimeError(f"{module} failed: {measured.stderr[-2000:]}")
    return measured.seconds, json.loads(measured.stdout)


def simulated(durations: dict[str, float]) -> list[dict[str, Any]]:
    """Replay measured durations as sleeps on many workers that are not there."""
    longer = max(1.0, SHORTEST_S / statistics.mean(durations.values()))
    replayed = [seconds * longer for seconds in durations.values()]
    return [replay(replayed, workers) for workers in LOGICAL]


def replay(durations: Sequence[float], workers: int) -> dict[str, Any]:
    """Run four times 42 splits that sleep, scheduled as those of a study are."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards, places = write_feature_corpus(
            folder / "corpus", Geometry(subjects=SPLITS, clips=2, feature_size=8)
        )
        config = compose_config(
            "pipeline",
            PipelineConfig,
            [f"cluster.cpus={workers}", f"paths.runs={folder}", "training.trunk=frozen"],
        )
        resolve(config)
        plan = plan_splits(clips_of(shards.usable), {}, ProtocolConfig(seeds=4), seed=0)
        seconds = {
            split.split_id: durations[number % len(durations)]
            for number, split in enumerate(plan.splits)
        }
        (folder / "durations.json").write_text(json.dumps(seconds))
        os.environ[DURATIONS] = str(folder / "durations.json")
        begun = time.perf_counter()
        with ray_session(config.cluster), patch("harness.scheduling.trainable", nap):
            started = time.perf_counter()
            run_splits(
                plan.splits,
                config=config,
                shards=shards,
                places=places,
                classes=sorted({outcome.emotion for outcome in shards.usable}),
                folder=folder / "study",
                study_digest="nap",
            )
            took = time.perf_counter() - started
    least = shortest(list(seconds.values()), workers)
    return {
        "workers": workers,
        "splits": len(plan.splits),
        "ideal_seconds": round(least, 1),
        "measured_seconds": round(took, 1),
        "efficiency": round(least / took, 3),
        "seconds_start_of_ray": round(started - begun, 1),
    }


def shortest(durations: Sequence[float], workers: int) -> float:
    """Return how long they take in this order where a free worker costs nothing."""
    free = [0.0] * workers
    for seconds in durations:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)
