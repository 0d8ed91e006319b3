"""Splits as a Tune trial: each reads what it needs, trains, writes its entry of the ledger.

A trial gets the labels of its training and validation clips and no others: the driver joins those
of the test clips to the predictions. The process is reused for further splits, and so are the
clips that it has read.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ray import tune

from harness.leakage import allowed_reads
from harness.ledger import Ledger
from pipelines.checkpoints import Checkpoints
from pipelines.clip_reading import ClipPlaces, ClipReader
from pipelines.device import exact_device
from pipelines.inputs import ClipCache, Wall, pieces_by_phase
from pipelines.mfcc import MfccConfig
from pipelines.model_files import ModelSettings, is_model, save_model
from pipelines.networks.backbone import ModelConfig
from pipelines.networks.frozen import FrozenTrunk
from pipelines.networks.fusion import FusionConfig
from pipelines.rivals.config import RivalConfig
from pipelines.shared_networks import SharedNetworks
from pipelines.split_task import Row, SplitTask
from pipelines.storage import digest_of, write_json
from pipelines.training import SplitTraining
from pipelines.training_config import TrainingConfig
from pipelines.trunk_recipe import TrunkRecipe

if TYPE_CHECKING:
    from pipelines.rivals.classical_training import ClassicalTraining

REPORT_SECONDS = 1.0
"""Between two reports to Tune, which handles each of them in the driver."""


def model_folder(study: Path, split_id: str) -> Path:
    """Return where the networks of a split are kept."""
    return study / "models" / split_id


@dataclass(frozen=True, kw_only=True)
class Rung:
    """Where a split is given up that does worse than it should by then."""

    network: str
    epoch: int
    most: float
    """Validation loss of the best epoch so far, above which it is given up."""

    def halts(self, curves: Sequence[Row]) -> bool:
        """Whether a network with these epochs ends here; asked after each of them."""
        row = curves[-1]
        here = (row["network"], row["epoch"]) == (self.network, self.epoch)
        return here and lowest_loss(curves) > self.most


def lowest_loss(curves: Sequence[Row]) -> float:
    """Return the validation loss of the best epoch; infinite where there is none."""
    losses = [float(row["validation_loss"]) for row in curves if "validation_loss" in row]
    return min((loss for loss in losses if math.isfinite(loss)), default=math.inf)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """All that a split of a trial is told."""

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
    """Of the ledger, and of the study where there is no search."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Those that a search chose."""
    rungs: tuple[Rung, ...] = ()
    rival: RivalConfig = field(default_factory=RivalConfig)
    """Stands in the place of stage 2, or of all networks."""
    frame_shift: int = MfccConfig.shift_frames
    """Frames of sound from the start of one segment to that of the next."""
    shared: dict[str, str] = field(default_factory=dict)
    """Network of stage 1 -> the folder through which other studies share it."""
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

    @property
    def stage1_key(self) -> str:
        """Digest of all of the split that its networks of stage 1 depend on.

        That is the clips that they learn from and are chosen by, with labels and contents, and the
        seed; test clips are no part of it.
        """
        task = self.task
        learned = [task.seed, task.classes, task.train, task.validation]
        pieces = {part: clips for part, clips in task.pieces.items() if part != "test"}
        seen = (*task.train_ids, *task.validation_ids)
        return digest_of([learned, pieces, [self.keys[clip_id] for clip_id in seen]])

    @property
    def kept_at(self) -> Path:
        """Where the split's networks are kept, if they are."""
        return model_folder(Path(self.folder), self.task.split_id)

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
                "rival": RivalConfig(**value["rival"]),
                "rungs": tuple(Rung(**rung) for rung in value["rungs"]),
                "keeps": keeps and ModelSettings.from_plain(keeps, ModelConfig(**keeps["model"])),
            }
        )


def trainable(config: dict[str, Any]) -> None:
    """Run the splits of a trial as Tune has it, one after the other.

    Where one is given up, those behind it are not begun: they are of the same settings.

    Here and not where trials are scheduled: the actor imports this function's module, and every
    second of that is one before the first split.
    """
    reports = _Reports(config["trial"]["name"])
    for file in config["trial"]["files"]:
        if not run_split(Trial.read(Path(file)), reports):
            break
    reports.end()


def run_split(trial: Trial, reports: _Reports) -> bool:
    """Train and predict a split, and enter it in the ledger; return whether it came to its end."""
    ledger = Ledger(Path(trial.folder) / "splits")
    kept = trial.keeps is None or is_model(trial.kept_at)
    if kept and ledger.is_done(trial.task.split_id, trial.study_digest):
        return True  # before this trial was tried again
    device = exact_device(trial.threads, on_gpu=trial.gpus > 0)
    task = trial.task
    cache, reader = _clips(trial.places, trial.training.cache_mb, device.type)
    reader.keys.update(trial.keys)
    wall = Wall(
        clips=cache,
        allowed=allowed_reads(task.train_ids, task.validation_ids, task.test),
        pieces=pieces_by_phase(task.pieces),
    )
    training = _training(trial, wall, device, reports)
    result = training.run()
    if trial.keeps is not None and not result.halted:
        assert isinstance(training, SplitTraining)  # a rival is not kept: refused beforehand
        save_model(trial.kept_at, trial.keeps, training, study_digest=trial.study_digest)
    ledger.record(
        task,
        result,
        study_digest=trial.study_digest,
        device=_device_name(device),
        threads=trial.threads,
        settings=trial.settings,
    )
    shutil.rmtree(trial.checkpoints, ignore_errors=True)
    return not result.halted


def _training(
    trial: Trial, wall: Wall, device: torch.device, reports: _Reports
) -> SplitTraining | ClassicalTraining:
    """Return what trains the split: our networks, or what has a rival in their place."""
    task = trial.task
    # scikit-learn takes a second to import, for which no trial without a rival is to wait.
    if trial.rival.classical:
        from pipelines.rivals.classical_training import ClassicalTraining

        return ClassicalTraining(
            task,
            wall,
            rival=trial.rival,
            weighted=trial.training.class_weights,
            frame_shift=trial.frame_shift,
        )
    build: Callable[..., SplitTraining] = SplitTraining
    if trial.rival.is_set:
        from pipelines.rivals.feature_training import FeatureRivalTraining

        build = partial(FeatureRivalTraining, rival=trial.rival)
    return build(
        task,
        wall,
        model=trial.model,
        fusion=trial.fusion,
        training=trial.training,
        device=device,
        frozen_audio=_frozen(trial.frozen_audio) if trial.frozen_audio else None,
        checkpoints=Checkpoints(
            trial.checkpoints, trial.checkpoint_key, trial.training.checkpoint_seconds
        ),
        shared=SharedNetworks(trial.shared, task.split_id, trial.stage1_key),
        on_epoch=reports.note,
        halts=lambda curves: any(rung.halts(curves) for rung in trial.rungs),
    )


class _Reports:
    """Tells Tune of the epochs of a trial, now and then: what counts is in the ledger."""

    def __init__(self, name: str) -> None:
        self.name, self._rows, self._last = name, list[Row](), time.monotonic()

    def note(self, row: Row) -> None:
        self._rows.append(row)
        if time.monotonic() - self._last >= REPORT_SECONDS:
            self._last = time.monotonic()
            tune.report({"name": self.name, "rows": self._rows})
            self._rows = []

    def end(self) -> None:
        # "done" is Tune's own word, which ends the trial: in its last report and in no other.
        tune.report({"name": self.name, "rows": self._rows, "entered": True, "done": True})


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
