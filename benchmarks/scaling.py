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
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.measured_process import measure
from benchmarks.nap import DURATIONS, TOGETHER, nap, naps_in
from benchmarks.tune_splits import TinyStudy
from harness.plan import Plan
from harness.plan_file import read_plan, write_plan
from pipelines.progress import Reporter
from pipelines.session import ray_session

SPLITS = 42
FEW, MORE = 2, 10
"""Rounds of splits in the runs from which the terms are read."""
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
MEASURED = Path(__file__).with_name("results") / "scaling.json"
LOGICAL = (4, 8, 16, 32, 64)
MANY = 8
"""More workers than this replay each split four times: else many would have one or none."""
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
    """Read the terms from short runs, predict 42 splits on one and two workers, and run them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command(CORPUS, folder, module="pipelines.preprocess")
        study(folder, "plan", 2, "training.audio_epochs=1", "training.visual_epochs=1")
        plan = read_plan(folder / "runs" / "plan" / "plan.json")
        measured = {workers: measured_on(workers, plan, folder) for workers in (1, 2)}
        same = {
            (folder / "runs" / f"whole-{workers}" / "predictions.parquet").read_bytes()
            for workers in measured
        }
    rows: list[dict[str, Any]] = []
    for workers, (terms, whole) in measured.items():
        predicted = terms.seconds(SPLITS, workers)
        rows.append(
            {
                "workers": workers,
                "terms": {name: round(value, 3) for name, value in vars(terms).items()},
                "predicted_seconds": round(predicted, 1),
                "measured_seconds": round(whole.seconds, 1),
                "error": round(predicted / whole.seconds - 1, 4),
                "stages": {stage: round(took, 1) for stage, took in whole.stages.items()},
            }
        )
    problems = [] if len(same) == 1 else ["predictions on one and on two workers"]
    return {
        "work": f"python -m harness.loso on {SPLITS} people of 6 clips, shards made before, "
        "features not: a frozen trunk, 12+12+12 epochs",
        "terms_from": f"runs of {FEW} and {MORE} rounds of splits on as many workers, before and "
        "after the whole, and the whole given again when all of it was done",
        "rows": rows,
        "within_15_percent": all(abs(row["error"]) <= MOST_ERROR for row in rows),
        "split_seconds": sorted(round(took, 3) for took in measured[1][1].splits.values()),
        "problems": problems,
    }


def measured_on(workers: int, plan: Plan, folder: Path) -> tuple[Terms, Run]:
    """Return the terms on so many workers, without the whole, and the whole.

    Workers of one machine share its memory and caches: beside another one a split takes longer.
    """
    few, more, whole, more_again, few_again, rest = (
        part(folder, plan, FEW * workers, workers, fresh=True),
        part(folder, plan, MORE * workers, workers),
        study(folder, f"whole-{workers}", workers, fresh=True),
        part(folder, plan, MORE * workers, workers, again="-again"),
        part(folder, plan, FEW * workers, workers, again="-again"),
        study(folder, f"whole-{workers}", workers),
    )
    short = statistics.mean(run.stages["train"] for run in (few, few_again))
    long = statistics.mean(run.stages["train"] for run in (more, more_again))
    each = (long - short) / (MORE - FEW)
    split = statistics.mean([*more.splits.values(), *more_again.splits.values()])
    terms = Terms(
        # What comes before the first split is done once, too.
        start=rest.seconds + short - FEW * each,
        features=few.stages["features"] * workers,
        split=split,
        overhead=each - split,
    )
    return terms, whole


def part(
    folder: Path, plan: Plan, count: int, workers: int, *, fresh: bool = False, again: str = ""
) -> Run:
    """Run some of the splits, spread over all of them."""
    step = len(plan.splits) // count
    chosen = replace(plan, splits=tuple(plan.splits[::step][:count]))
    path = folder / f"plan-{count}.json"
    write_plan(path, chosen)
    name = f"part-{workers}-{count}{again}"
    return study(folder, name, workers, f"protocol.plan={path}", fresh=fresh)


def study(folder: Path, name: str, workers: int, *more: str, fresh: bool = False) -> Run:
    """Run a study; a fresh one has to make its features."""
    if fresh:
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


def simulate() -> dict[str, Any]:
    """Replay the splits' durations that were measured as sleeps on workers that are not there."""
    measured: list[float] = json.loads(MEASURED.read_text())["split_seconds"]
    longer = max(1.0, SHORTEST_S / statistics.mean(measured))
    replayed = [seconds * longer for seconds in measured]
    return {
        "work": "a simulation: splits that sleep as long as those of scaling.json took, on logical "
        "workers of one machine, from the moment on when all of their processes are there",
        "simulation": [replay(replayed, workers) for workers in LOGICAL],
    }


def replay(durations: Sequence[float], workers: int) -> dict[str, Any]:
    """Run 42 splits that sleep, or four times as many, scheduled as those of a study are."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = TinyStudy.write(
            folder,
            subjects=SPLITS,
            cluster=[f"cluster.cpus={workers}"],
            seeds=4 if workers > MANY else 1,
        )
        seconds = {
            split.split_id: durations[number % len(durations)]
            for number, split in enumerate(study.splits)
        }
        (folder / "durations.json").write_text(json.dumps(seconds))
        os.environ[DURATIONS] = str(folder / "durations.json")
        # Here all processes start on the cores of one machine: what that takes is no limit of the
        # scheduler's, so the first splits wait until all are there.
        os.environ[TOGETHER] = str(workers)
        begun = time.perf_counter()
        with (
            ray_session(study.config.cluster, Reporter(quiet=True)),
            patch("harness.scheduling.trainable", nap),
        ):
            started, came = time.perf_counter(), time.monotonic()
            study.run()
        naps = naps_in(folder)
    least = shortest(list(seconds.values()), workers)
    took = max(process[-1][1] for process in naps) - min(process[0][0] for process in naps)
    return {
        "workers": workers,
        "splits": len(study.splits),
        "ideal_seconds": round(least, 1),
        "measured_seconds": round(took, 1),
        "efficiency": round(least / took, 3),
        "splits_per_second": round(len(study.splits) / took, 1),
        "processes": len(naps),
        "seconds_start_of_ray": round(started - begun, 1),
        "seconds_start_of_processes": round(min(p[0][0] for p in naps) - came, 1),
        "handover_seconds_median": round(statistics.median(_handovers(naps)), 3),
        "handover_seconds_worst": round(max(_handovers(naps)), 3),
    }


def _handovers(naps: Sequence[Sequence[tuple[float, float]]]) -> list[float]:
    """Return how long each process waited from one split to the next."""
    return [later[0] - earlier[1] for process in naps for earlier, later in pairwise(process)] or [
        0.0
    ]


def shortest(durations: Sequence[float], workers: int) -> float:
    """Return how long they take in this order where a free worker costs nothing."""
    free = [0.0] * workers
    for seconds in durations:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)
