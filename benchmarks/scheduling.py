"""What Ray Tune adds to short splits (C4), and how much less than fresh actors (C4_fresh)."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
from ray.tune import TuneConfig

from benchmarks.alternation import alternate, ratios, take_turns
from benchmarks.feature_corpus import Geometry, clips_of, write_feature_corpus
from benchmarks.tune_splits import run_splits
from harness.leakage import allowed_reads
from harness.ledger import DONE, Ledger, segment_table
from harness.protocols import ProtocolConfig
from harness.scheduling import split_task
from harness.splits import plan_splits
from pipelines.clip_reading import ClipReader
from pipelines.config import PipelineConfig, compose_config, resolve
from pipelines.device import exact_device
from pipelines.inputs import ClipCache, Wall
from pipelines.progress import Reporter
from pipelines.session import ray_session
from pipelines.training import SplitTraining

REPEATS = 5
MOST_OVERHEAD, LEAST_AGAINST_FRESH = 0.05, 14


@dataclass(frozen=True, kw_only=True)
class Work:
    """How much there is to do in each of 42 splits (eNTERFACE'05 as the paper used it)."""

    clips: int
    """Of each subject."""
    epochs: tuple[int, int, int]
    """Of the audio, the visual and the fusion network."""
    lstm_hidden: int

    def __str__(self) -> str:
        epochs = "+".join(map(str, self.epochs))
        sizes = f"{self.geometry.feature_size} -> {self.lstm_hidden}"
        return f"{epochs} epochs (audio, visual, fusion), LSTM {sizes}"

    @property
    def geometry(self) -> Geometry:
        """The corpus."""
        return Geometry(subjects=42, clips=self.clips, feature_size=128)

    @property
    def overrides(self) -> list[str]:
        """The settings."""
        names = ("audio_epochs", "visual_epochs", "fusion_epochs")
        epochs = zip(names, self.epochs, strict=True)
        return [
            *(f"training.{name}={count}" for name, count in epochs),
            f"model.lstm_hidden={self.lstm_hidden}",
            "training.trunk=frozen",
            "training.precision=float32",
            "training.augment=false",
            "cluster.cpus=1",
        ]


SHORT = Work(clips=6, epochs=(15, 15, 15), lstm_hidden=128)
HARDLY_ANY = Work(clips=2, epochs=(1, 1, 1), lstm_hidden=16)


def run() -> dict[str, Any]:
    """Run 42 short splits in a bare loop and through Tune."""
    process_s = statistics.median(seconds_of(start_of_a_process) for _ in range(5))
    begun = time.perf_counter()
    with ray_session(
        compose_config("pipeline", PipelineConfig, SHORT.overrides).cluster, Reporter(quiet=True)
    ):
        start_s = time.perf_counter() - begun
        with splits_of(HARDLY_ANY) as empty:
            empty.in_a_bare_loop(), empty.through_tune()  # imports are nobody's
        with splits_of(SHORT) as short:
            figures = alternate(short.in_a_bare_loop, short.through_tune, warm=False)
    bare_s, overhead = figures["seconds_a_median"], figures["ratio_median"] - 1
    return {
        "a": "SplitTraining in a loop over the splits, in a process of one thread that has begun "
        "already: its start is not in the clock, while that of b's actor is",
        "b": "the same through Ray Tune in a Ray that runs, on one reused actor of one thread: its "
        "start, the reading of clips and the ledger included in every pass",
        "work": f"42 splits of {SHORT}: frozen trunk, {SHORT.geometry}",
        **figures,
        "overhead": round(overhead, 4),
        "overhead_with_start_of_ray": round(overhead + start_s / bare_s, 4),
        "seconds_start_of_ray": round(start_s, 2),
        "seconds_start_of_a_process": round(process_s, 2),
        "overhead_less_start_of_a_process": round(overhead - process_s / bare_s, 4),
        "within_5_percent": overhead <= MOST_OVERHEAD,
    }


def run_fresh() -> dict[str, Any]:
    """Run 42 splits with hardly any work on a reused actor and on fresh ones, in turns."""
    config = compose_config("pipeline", PipelineConfig, HARDLY_ANY.overrides)
    with ray_session(config.cluster, Reporter(quiet=True)), splits_of(HARDLY_ANY) as empty:

        def on_fresh_actors() -> list[pa.Table]:
            with fresh_actors():
                return empty.through_tune()

        empty.in_a_bare_loop(), empty.through_tune()  # imports are nobody's
        seconds, tables = take_turns(
            {
                "bare": empty.in_a_bare_loop,
                "reused": empty.through_tune,
                "fresh": on_fresh_actors,
            },
            repeats=REPEATS,
        )
    bare_s = statistics.median(seconds["bare"])
    overheads = {name: [s - bare_s for s in seconds[name]] for name in ("reused", "fresh")}
    figures = ratios(overheads["reused"], overheads["fresh"])
    return {
        "a": "the overhead of Ray Tune on one reused actor: what 42 splits take beyond a bare loop",
        "b": "the same where every trial gets a fresh actor, as Tune does unless it is told "
        "otherwise",
        "work": f"42 splits of {HARDLY_ANY}: what is left is the overhead",
        **figures,
        "seconds_bare_median": round(bare_s, 2),
        "equal": all(t == tables["bare"][0] for each in tables.values() for t in each),
        "tolerance": 0,
        "at_least_14": figures["ratio_median"] >= LEAST_AGAINST_FRESH,
    }


class Splits:
    """The splits of a corpus of features, run in both ways."""

    def __init__(self, work: Work, folder: Path) -> None:
        self.folder = folder
        self.shards, self.places = write_feature_corpus(folder / "corpus", work.geometry)
        overrides = [*work.overrides, f"paths.runs={folder}"]
        self.config = compose_config("pipeline", PipelineConfig, overrides)
        resolve(self.config)
        self.splits = plan_splits(clips_of(self.shards.usable), {}, ProtocolConfig(), seed=0).splits
        self.labels = {outcome.clip_id: outcome.emotion for outcome in self.shards.usable}
        self.classes = sorted(set(self.labels.values()))

    def through_tune(self) -> list[pa.Table]:
        """Return the segment predictions of each split, as the ledger holds them."""
        study = self.folder / "study"
        run_splits(
            self.splits,
            config=self.config,
            shards=self.shards,
            places=self.places,
            classes=self.classes,
            folder=study,
            study_digest="C4",
        )
        ledger = Ledger(study / "splits")
        for split in self.splits:
            entry = ledger.entry(split.split_id)
            if entry is None or entry.status != DONE:
                raise RuntimeError(f"{split.split_id} failed: {entry and entry.error}")
        tables = [ledger.segments([split.split_id]) for split in self.splits]
        shutil.rmtree(study)
        return tables

    def in_a_bare_loop(self) -> list[pa.Table]:
        """Return the same, computed as a trial does; nothing is written."""
        device = exact_device(self.config.cluster.trial_cpus, on_gpu=False)
        reader = ClipReader(places=self.places, keys=dict(self.shards.keys))
        cache = ClipCache(reader, self.config.training.cache_mb * 2**20)
        tables = []
        for split in self.splits:
            task = split_task(split, self.labels, self.classes)
            allowed = allowed_reads(task.train_ids, task.validation_ids, task.test)
            result = SplitTraining(
                task,
                Wall(clips=cache, allowed=allowed),
                model=self.config.model,
                fusion=self.config.fusion,
                training=self.config.training,
                device=device,
            ).run()
            tables.append(segment_table(task, result))
        return tables


@contextmanager
def splits_of(work: Work) -> Iterator[Splits]:
    """Write a corpus in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        yield Splits(work, Path(name))


@contextmanager
def fresh_actors() -> Iterator[None]:
    """Let Tune start an actor for each trial, as it does unless it is told otherwise."""

    def fresh(**settings: Any) -> TuneConfig:
        return TuneConfig(**{**settings, "reuse_actors": False})

    with patch("harness.scheduling.TuneConfig", fresh):
        yield


def start_of_a_process() -> None:
    """Start a process as any loop over splits needs one, up to its first optimiser.

    torch imports another part of itself for that, which takes as long as the rest.
    """
    program = (
        "import torch\n"
        "from pipelines.clip_reading import ClipReader\n"
        "from pipelines.training import SplitTraining\n"
        "torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], fused=True).zero_grad()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def seconds_of(run: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
