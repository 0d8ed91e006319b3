"""C4: what Ray Tune adds to short splits, on reused actors and on fresh ones."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from ray.tune import TuneConfig

from benchmarks.feature_corpus import Geometry, write_feature_corpus
from harness.leakage import allowed_reads
from harness.ledger import Ledger
from harness.scheduling import run_splits, split_task
from harness.splits import ProtocolConfig, Split, plan_splits
from pipelines.clip_reading import ClipPlaces, ClipReader
from pipelines.config import PipelineConfig, compose_config, resolve
from pipelines.inputs import ClipCache, Wall
from pipelines.session import ray_session
from pipelines.shards import ShardSet
from pipelines.split_task import SplitResult, SplitTask
from pipelines.training import SplitTraining

GEOMETRY = Geometry(subjects=42, clips=6, feature_size=128)
"""eNTERFACE'05 as the paper used it has 42 subjects; one clip of each emotion makes splits short."""
REPEATS, FRESH_REPEATS = 5, 2
EPOCHS = {"work": (3, 3, 4), "no work": (1, 1, 1)}
"""Of the audio, the visual and the fusion network."""
MOST_OVERHEAD, LEAST_AGAINST_FRESH = 0.05, 14


def run() -> dict[str, Any]:
    """Run 42 short splits through Tune, in a bare loop, and through Tune with fresh actors."""
    with tempfile.TemporaryDirectory() as name:
        shards, places = write_feature_corpus(Path(name) / "corpus", GEOMETRY)
        begun = time.perf_counter()
        config = configured(name, EPOCHS["work"])
        with ray_session(config.cluster):
            start_s = time.perf_counter() - begun
            work = Work(shards, places, config, Path(name))
            return work.compare() | {"seconds_start_of_ray": round(start_s, 2)}
