"""One split as a Tune trial: reads Parquet, trains, writes its entry of the ledger.

A trial gets the labels of its training and validation clips and no others: the driver joins those
of the test clips to the predictions. The process is reused for further splits, and so are the
clips that it has read.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from ray import tune

from harness.leakage import allowed_reads
from harness.ledger import Ledger
from harness.splits import Split
from pipelines.inputs import ClipCache, ClipTensors, Wall, to_tensors
from pipelines.networks.backbone import ModelConfig, backbone_class
from pipelines.networks.fusion import FusionConfig
from pipelines.shards import ShardFolder
from pipelines.split_task import SplitTask
from pipelines.training import SplitTraining, TrainingConfig


def train_split(trial: dict[str, Any]) -> None:
    """Train and predict one split.

    Args:
        trial: `split` and `task` (dictionaries of Split and SplitTask), `keys` (clip_id -> shard
            key), `shards`, `splits` (folders), `model`, `fusion`, `training` (settings), `threads`,
            `gpus`, `study_digest`.
    """
    device = _device(trial["threads"], trial["gpus"])
    task = _task(trial["task"])
    split = Split(**trial["split"])
    model = ModelConfig(**trial["model"])
    training = TrainingConfig(**trial["training"])
    cache = _clip_cache(
        trial["shards"],
        backbone_class(model.backbone).face_size,
        training.rescaling,
        training.cache_mb,
    )
    cache.keys.update(trial["keys"])
    epochs = {"total": 0}

    def on_epoch(row: dict[str, float | int | str]) -> None:
        epochs["total"] += 1
        tune.report({"split_id": task.split_id, "epochs": epochs["total"], "done": 0, **row})

    result = SplitTraining(
        task,
        Wall(clips=cache, allowed=allowed_reads(split)),
        model=model,
        fusion=FusionConfig(**trial["fusion"]),
        training=training,
        device=device,
        on_epoch=on_epoch,
    ).run()
    Ledger(Path(trial["splits"])).record(
        task,
        result,
        study_digest=trial["study_digest"],
        device=_device_name(device),
        threads=trial["threads"],
    )
    tune.report({"split_id": task.split_id, "epochs": epochs["total"], "done": 1})


class ShardClips(ClipCache):
    """Clips of one shard folder, by id; knows the keys of those that its trials may ask for."""

    def __init__(self, root: str, face_size: int | None, rescaling: str, limit_bytes: int) -> None:
        self.keys: dict[str, str] = {}
        folder = ShardFolder(root)

        def read(clip_id: str) -> ClipTensors:
            arrays = folder.read(self.keys[clip_id], clip_id)
            return to_tensors(arrays, face_size=face_size, rescaling=rescaling)

        super().__init__(read, limit_bytes)


@lru_cache(maxsize=1)
def _clip_cache(root: str, face_size: int | None, rescaling: str, cache_mb: int) -> ShardClips:
    return ShardClips(root, face_size, rescaling, cache_mb * 2**20)


def _task(value: dict[str, Any]) -> SplitTask:
    pairs = {
        name: tuple((clip_id, label) for clip_id, label in value[name])
        for name in ("train", "validation")
    }
    return SplitTask(
        **{**value, **pairs, "classes": tuple(value["classes"]), "test": tuple(value["test"])}
    )


def _device(threads: int, gpus: float) -> torch.device:
    """Fix all that decides the bits of a prediction: device, threads, kernels."""
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    if gpus > 0 and torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("cpu")


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
