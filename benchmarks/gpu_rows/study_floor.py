"""A whole frozen study of eNTERFACE'05's geometry against what its memory traffic alone would take.

A split is measured in full and stands for all 42: they are of one size. The floor counts the bytes
that no order of the same steps could keep out of the memory, at the speed of a large copy.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.gpu_rows.clips import Corpus, features, make_clips, wall_of
from benchmarks.gpu_rows.machine import Machine, deterministic
from pipelines.inputs import ClipTensors
from pipelines.networks.backbone import ModelConfig
from pipelines.networks.fusion import FusionConfig
from pipelines.split_task import SplitResult, SplitTask
from pipelines.training import SplitTraining
from pipelines.training_config import TrainingConfig

STEPS_IN_TIME, CLIPS_A_BATCH = 20, 4


@dataclass(frozen=True)
class Sizes:
    """Of the study."""

    corpus: Corpus
    backbone: str
    feature_size: int
    hidden: int
    epochs: int


PAPER = Sizes(Corpus(subjects=42, clips=1166), "vgg19", 4096, 4096, 10)
SMALL = Sizes(Corpus(subjects=3, clips=18), "small", 128, 16, 1)


def run(machine: Machine) -> dict[str, Any]:
    """Train a split with an LSTM, and one with the mean over time in its place."""
    sizes = SMALL if machine.small else PAPER
    device = machine.device

    def made(clip_id: str, count: int) -> torch.Tensor:
        return features(clip_id, count, sizes.feature_size, device)

    clips = make_clips(sizes.corpus, made, made)
    bandwidth = copy_bandwidth(machine)
    return {
        "a": "SplitTraining on features that are held on the device",
        "b": "bytes that must be moved / bandwidth of a large copy",
        "work": f"{len(clips)} clips, {sizes.corpus.segments} segments, {sizes.corpus.subjects} "
        f"splits of which one is measured, {sizes.epochs} epochs of each network, LSTM "
        f"{sizes.feature_size} -> {sizes.hidden}, {CLIPS_A_BATCH} clips a batch",
        "copy_gb_per_second": round(bandwidth / 1e9, 1),
        "lstm": _against_floor(machine, sizes, clips, "lstm", bandwidth),
        "mean": _against_floor(machine, sizes, clips, "mean", bandwidth),
    }


def _against_floor(
    machine: Machine, sizes: Sizes, clips: dict[str, ClipTensors], temporal: str, bandwidth: float
) -> dict[str, Any]:
    task = sizes.corpus.tasks()[0]
    train_split(machine, sizes, clips, temporal, task, epochs=1)
    seconds, results = [], []
    for _ in range(1 if machine.small else 3):
        seconds.append(
            machine.seconds(
                lambda: results.append(
                    train_split(machine, sizes, clips, temporal, task, sizes.epochs)
                )
            )
        )
    floor_s = must_move(sizes, task, temporal) / bandwidth
    median_s = statistics.median(seconds)
    first = results[0].segments
    return {
        "seconds_a_split": round(median_s, 3),
        "seconds_a_split_floor": round(floor_s, 3),
        "seconds_of_the_study": round(median_s * sizes.corpus.subjects, 1),
        "seconds_a_phase": {k: round(v, 3) for k, v in results[-1].seconds.items()},
        "ratio": round(median_s / floor_s, 2),
        "repeats": len(seconds),
        "equal": all(result.segments == first for result in results),
    }


def train_split(
    machine: Machine,
    sizes: Sizes,
    clips: dict[str, ClipTensors],
    temporal: str,
    task: SplitTask,
    epochs: int,
) -> SplitResult:
    """Train one split as a trial does."""
    with deterministic():
        return SplitTraining(
            task,
            wall_of(task, clips),
            model=ModelConfig(backbone=sizes.backbone, temporal=temporal, lstm_hidden=sizes.hidden),
            fusion=FusionConfig(),
            training=TrainingConfig(
                trunk="frozen",
                precision="bfloat16" if machine.device.type == "cuda" else "float32",
                audio_epochs=epochs,
                visual_epochs=epochs,
                fusion_epochs=epochs,
                patience=epochs,
                clips_per_batch=CLIPS_A_BATCH,
            ),
            device=machine.device,
        ).run()


def must_move(sizes: Sizes, task: SplitTask, temporal: str) -> float:
    """Return the bytes of memory traffic of a split.

    Features (float16) are read once by each pass over them. A step of the LSTM's training reads the
    recurrent weights (bfloat16) once for each of 20 frames, forwards and backwards, for no cache
    holds them, the input weights once each way, writes the gradients (float32), and Adam
    reads weights, gradients and both moments and writes three of them. What is scored without a
    gradient reads the weights forwards alone. The small layers count as nothing.
    """
    corpus, hidden = sizes.corpus, sizes.hidden
    frames, audio = (n * sizes.feature_size * 2 for n in (corpus.frames, corpus.segments))
    learned, others = len(task.train), len(task.validation)
    passes = sizes.epochs * (learned + others)
    # Stage 2 sees the clips' vectors, which stage 1 makes once; so does the test.
    clips = passes + learned + others + len(task.test)
    total = float(clips * (frames + audio))
    if temporal != "lstm":
        return total
    recurrent, entering = 4 * hidden * hidden, 4 * hidden * sizes.feature_size
    forwards = 2 * (STEPS_IN_TIME * recurrent + entering)
    # No product needs the input weights on the way back: the features are frozen.
    backwards = 2 * STEPS_IN_TIME * recurrent
    update = 4 * (1 + 7) * (recurrent + entering)
    batches = sizes.epochs * -(-learned // CLIPS_A_BATCH)
    scored = clips - sizes.epochs * learned
    return total + batches * (forwards + backwards + update) + scored * forwards


def copy_bandwidth(machine: Machine) -> float:
    """Return bytes read and written per second by a large copy."""
    size = 2**22 if machine.small else 2**31
    source = torch.zeros(size, dtype=torch.uint8, device=machine.device)
    target = torch.empty_like(source)
    target.copy_(source)
    times = [machine.seconds(lambda: target.copy_(source)) for _ in range(5)]
    return 2 * size / statistics.median(times)
