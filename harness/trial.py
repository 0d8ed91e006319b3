"""One split as a Tune trial: reads what it needs, trains, writes its entry of the ledger.

A trial gets the labels of its training and validation clips and no others: the driver joins those
of the test clips to the predictions. The process is reused for further splits, and so are the
clips that it has read.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from ray import tune

from harness.leakage import allowed_reads
from harness.ledger import Ledger
from pipelines.checkpoints import Checkpoints
from pipelines.clip_reading import ClipPlaces, ClipReader
from pipelines.device import exact_device
from pipelines.inputs import ClipCache, Wall, pieces_by_phase
from pipelines.model_files import ModelSettings, save_model
from pipelines.networks.backbone import ModelConfig
from pipelines.networks.frozen import FrozenTrunk
from pipelines.networks.fusion import FusionConfig
from pipelines.split_task import Row, SplitTask
from pipelines.storage import digest_of, write_json
from pipelines.training import SplitTraining
from pipelines.training_config import TrainingConfig
from pipelines.trunk_recipe import TrunkRecipe

REPORT_SECONDS = 1.0
"""Between two reports to Tune, which handles each of them in the driver."""


def model_folder(study: Path, split_id: str) -> Path:
    """Return where the networks of a split are kept."""
    return study / "models" / split_id


@dataclass(frozen=True, kw_only=True)
class Trial:
    """All that a trial is told."""

    task: SplitTask
    keys: dict[str, str]
    """clip_id -> key of its shards, for the clips of the split."""
    places: ClipPlaces
    model: ModelConfig
    fusion: FusionConfig
    training: TrainingConfig
    frozen_audio: TrunkRecipe | None
    """Makes features of audio images that the split itself standardises."""
    threads: int
    gpus: float
    study_digest: str
    folder: str
    """Of the study."""
    keeps: ModelSettings | None = None
    """Keep the trained networks, with these settings; None keeps nothing."""

    @property
    def checkpoints(self) -> Path:
        """Where the split goes on after its process was killed."""
        return Path(self.folder) / "checkpoints" / self.task.split_id

    @property
    def checkpoint_key(self) -> str:
        """Digest of the study and of the clips, with their labels, that the split learns from.

        What was fine-tuned on other clips, under the same name of a split, is never taken up.
        """
        return digest_of([self.study_digest, asdict(self.task)])

    def write(self, path: Path) -> None:
        """Write the trial for the process that will run it, on whichever host."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Trial:
        """Read what `write` wrote."""
        value = json.loads(path.read_text())
        recipe = value["frozen_audio"]
        if recipe is not None:
            recipe = TrunkRecipe(**{**recipe, "model": ModelConfig(**recipe["model"])})
        places, keeps = value["places"], value["keeps"]
        return cls(
            **{
                **value,
                "task": SplitTask.from_plain(value["task"]),
                "places": ClipPlaces(**{**places, "modalities": tuple(places["modalities"])}),
                "model": ModelConfig(**value["model"]),
                "fusion": FusionConfig(**value["fusion"]),
                "training": TrainingConfig(**value["training"]),
                "frozen_audio": recipe,
                "keeps": keeps and ModelSettings.from_plain(keeps, ModelConfig(**keeps["model"])),
            }
        )


def trainable(config: dict[str, Any]) -> None:
    """Run a trial as Tune has it.

    Here and not where trials are scheduled: the actor imports this function's module, and every
    second of that is one before the first split.
    """
    run_trial(config["trial"]["file"])


def run_trial(path: str) -> None:
    """Train and predict the split of a trial's file, and enter it in the ledger."""
    trial = Trial.read(Path(path))
    device = exact_device(trial.threads, on_gpu=trial.gpus > 0)
    task = trial.task
    cache, reader = _clips(trial.places, trial.training.cache_mb, device.type)
    reader.keys.update(trial.keys)
    reports = _Reports(task.split_id)
    training = SplitTraining(
        task,
        Wall(
            clips=cache,
            allowed=allowed_reads(task.train_ids, task.validation_ids, task.test),
            pieces=pieces_by_phase(task.pieces),
        ),
        model=trial.model,
        fusion=trial.fusion,
        training=trial.training,
        device=device,
        frozen_audio=_frozen(trial.frozen_audio) if trial.frozen_audio else None,
        checkpoints=Checkpoints(
            trial.checkpoints, trial.checkpoint_key, trial.training.checkpoint_seconds
        ),
        on_epoch=reports.note,
    )
    result = training.run()
    if trial.keeps is not None:
        folder = model_folder(Path(trial.folder), task.split_id)
        save_model(folder, trial.keeps, training, study_digest=trial.study_digest)
    Ledger(Path(trial.folder) / "splits").record(
        task,
        result,
        study_digest=trial.study_digest,
        device=_device_name(device),
        threads=trial.threads,
    )
    shutil.rmtree(trial.checkpoints, ignore_errors=True)
    reports.end()


class _Reports:
    """Tells Tune how far a trial is, now and then: what counts is in the ledger."""

    def __init__(self, split_id: str) -> None:
        self.split_id, self.epochs, self._last = split_id, 0, time.monotonic()

    def note(self, row: Row) -> None:
        self.epochs += 1
        if time.monotonic() - self._last >= REPORT_SECONDS:
            self._last = time.monotonic()
            tune.report({"split_id": self.split_id, "epochs": self.epochs, "done": 0})

    def end(self) -> None:
        tune.report({"split_id": self.split_id, "epochs": self.epochs, "done": 1})


@lru_cache(maxsize=1)
def _clips(places: ClipPlaces, cache_mb: int, device: str) -> tuple[ClipCache, ClipReader]:
    """Return the clips that this process holds, for this split and for those that follow."""
    reader = ClipReader(places=places, device=torch.device(device))
    return ClipCache(reader, cache_mb * 2**20), reader


def _frozen(recipe: TrunkRecipe) -> FrozenTrunk:
    trunk, _ = recipe.build()
    return trunk


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
