"""VGG19 over face crops, from shards on a disk to feature files, against a bare forward pass."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.feature_corpus import Geometry, outcomes
from pipelines.config import PipelineConfig, compose_config, resolve
from pipelines.device import exact_device
from pipelines.extract import FeaturePlan, extract_features
from pipelines.feature_store import FRAMES
from pipelines.inputs import frame_tensor
from pipelines.networks.frozen import CHUNK
from pipelines.progress import Reporter
from pipelines.records import CROP_SIZE, Segment
from pipelines.session import Place, ray_session
from pipelines.shard_tables import ClipFrames
from pipelines.shards import ShardFolder, ShardSet, open_shards, write_manifest
from pipelines.storage import digest_of
from pipelines.trunk_recipe import TrunkRecipe

REPEATS = 5
GEOMETRY = Geometry(subjects=2, clips=8, feature_size=4096)
LEAST_SHARE = 0.9
TOLERANCE = 0.01
"""Of features, relative by norm: float16 in the store, chunks of another size in the products."""
OVERRIDES = (
    "model=vgg19",
    "model.modalities=visual",
    "training.trunk=frozen",
    "training.precision=bfloat16",
)


def run() -> dict[str, Any]:
    """Compare frames per second in the steady state; as many threads in all on either side."""
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        shards = write_crops(Path(name) / "shards")
        config = compose_config("pipeline", PipelineConfig, [*OVERRIDES, f"paths.data={name}"])
        resolve(config)
        plan = FeaturePlan(config)
        forms = (Form(processes=1, threads=threads), Form(processes=threads, threads=1))
        bare = {str(form): bare_forward(form, plan.recipe, shards) for form in forms}
        best = max(forms, key=lambda form: bare[str(form)].frames_per_second)
        with ray_session(config.cluster, Reporter(quiet=True)) as place:
            passes = [both(repeat, config, plan, shards, place, best) for repeat in range(REPEATS)]
        ratios = [ours / rival for ours, rival in passes]
        error = relative_difference(shards, plan, bare[str(best)].features)
    share = statistics.median(ratios)
    return {
        "a": f"pipelines.extract in a Ray that runs: {threads} actors of 1 thread, shards on a "
        "disk -> feature files; counted from when every actor has surely done a clip",
        "b": f"bare bfloat16 channels_last forward of VGG19 on resident images, batches of {CHUNK}:"
        f" {best}, the faster of {', '.join(map(str, forms))}",
        "work": f"{len(shards.usable)} clips of {GEOMETRY.frames} crops of {CROP_SIZE} pixels",
        "frames_per_second_a": round(statistics.median(ours for ours, _ in passes), 2),
        "frames_per_second_b": round(statistics.median(rival for _, rival in passes), 2),
        "frames_per_second_of_forms": {
            form: round(result.frames_per_second, 2) for form, result in bare.items()
        },
        "share_median": round(share, 3),
        "share_min": round(min(ratios), 3),
        "share_max": round(max(ratios), 3),
        "repeats": REPEATS,
        "at_least_90_percent": share >= LEAST_SHARE,
        "equal": error <= TOLERANCE,
        "tolerance": TOLERANCE,
        "difference": float(f"{error:.2g}"),
    }


@dataclass(frozen=True)
class Form:
    """How the rival uses the machine."""

    processes: int
    threads: int

    def __str__(self) -> str:
        return f"{self.processes} processes of {self.threads} threads"


@dataclass(frozen=True)
class Bare:
    """What bare forward passes came to."""

    frames_per_second: float
    features: Tensor
    """Of the first clip."""


def both(
    repeat: int,
    config: PipelineConfig,
    plan: FeaturePlan,
    shards: ShardSet,
    place: Place,
    best: Form,
) -> tuple[float, float]:
    """Return frames per second of ours and of the rival, one after the other, in turn first."""

    def ours() -> float:
        return extracted(config, plan, shards, place)

    def rival() -> float:
        return bare_forward(best, plan.recipe, shards).frames_per_second

    if repeat % 2:
        second = rival()
        return ours(), second
    return ours(), rival()


def extracted(config: PipelineConfig, plan: FeaturePlan, shards: ShardSet, place: Place) -> float:
    """Make all features anew; return frames per second of the steady state.

    Actors start, and build the trunk, a little apart: counted from when two clips each are done.
    """
    folder = plan.folders[FRAMES]
    for key in shards.keys.values():
        path = folder.path(key)
        assert isinstance(path, Path)
        path.unlink(missing_ok=True)
    extract_features(plan, shards, config, place, Reporter(quiet=True))
    root = Path(str(folder.root))
    times = sorted(path.stat().st_mtime_ns / 1e9 for path in root.glob("*.safetensors"))
    before = 2 * (place.cpus // config.cluster.extract_cpus)
    return (len(times) - before) * GEOMETRY.frames / (times[-1] - times[before - 1])


def bare_forward(form: Form, recipe: TrunkRecipe, shards: ShardSet) -> Bare:
    """Pass the same images through the trunk in processes that hold them, ready, in memory."""
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(form.processes)
    keys = sorted(shards.keys.values())
    pipes, processes = [], []
    for number in range(form.processes):
        ours, theirs = spawn.Pipe()
        arguments = (
            theirs,
            barrier,
            recipe,
            form.threads,
            str(shards.folder.root),
            keys[number :: form.processes],
        )
        process = spawn.Process(target=_pass_all, args=arguments)
        process.start()
        pipes.append(ours)
        processes.append(process)
    answers = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    frames = len(keys) * GEOMETRY.frames
    seconds = max(answer[0] for answer in answers)
    return Bare(frames / seconds, torch.from_numpy(answers[0][1]))


def _pass_all(
    connection: Connection,
    barrier: Barrier,
    recipe: TrunkRecipe,
    threads: int,
    root: str,
    keys: list[str],
) -> None:
    exact_device(threads, on_gpu=False)
    backbone, _ = recipe.backbone()
    trunk = backbone.to(torch.bfloat16).eval()
    shards = ShardFolder(root)
    with torch.no_grad():
        images = [
            trunk.normalised(frame_tensor(shards.read_crops(key), trunk.face_size)) for key in keys
        ]
        batches = torch.split(
            torch.cat(images).contiguous(memory_format=torch.channels_last), CHUNK
        )

        def forward(batch: Tensor) -> Tensor:
            maps = trunk.get_submodule("features")(batch)
            pooled = torch.nn.functional.adaptive_avg_pool2d(maps, 7).flatten(1)
            features: Tensor = trunk.connected(pooled)
            return features

        forward(batches[0])
        barrier.wait()
        begun = time.perf_counter()
        features = [forward(batch) for batch in batches]
        seconds = time.perf_counter() - begun
    connection.send((seconds, torch.cat(features)[: GEOMETRY.frames].float().numpy()))


def write_crops(folder: Path) -> ShardSet:
    """Write shards of noise; what is in a crop does not change what it costs."""
    shards = ShardFolder(folder)
    count = GEOMETRY.frames
    rows = []
    for number, outcome in enumerate(outcomes(GEOMETRY)):
        random = np.random.default_rng(number)
        frames = ClipFrames(
            times_s=np.arange(count) / GEOMETRY.frame_rate,
            crops=random.integers(0, 256, (count, CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8),
            boxes=np.zeros((count, 4), np.float32),
            detected=np.ones(count, bool),
        )
        segments = [
            Segment(
                clip_id=outcome.clip_id,
                segment_index=index,
                start_s=0.0,
                mfcc=np.zeros((64, 64, 3), np.float16),
                frame_indices=indices,
                pitch_hz=np.zeros(64, np.float16),
                energy_db=np.zeros(64, np.float16),
            )
            for index, indices in enumerate(GEOMETRY.frame_indices())
        ]
        key = digest_of(outcome.clip_id)
        shards.write_clip(key, outcome, frames, segments)
        rows.append((key, key, outcome))
    write_manifest(shards, corpus="crops", digest="0", settings={}, clips=rows)
    return open_shards(folder)


def relative_difference(shards: ShardSet, plan: FeaturePlan, bare: Tensor) -> float:
    """Return how far the stored features of the first clip are from the bare ones, by norm."""
    stored = plan.folders[FRAMES].read(min(shards.keys.values())).float()
    return float((stored - bare).norm() / bare.norm())
