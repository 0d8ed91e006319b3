"""A Tune run over the splits that are still to do: one trial each, on reused actors."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import FailureConfig, RunConfig, TuneConfig, Tuner

from harness.ledger import Ledger
from harness.splits import Split
from harness.trial import Trial, trainable
from pipelines.clip_reading import ClipPlaces
from pipelines.config import PipelineConfig
from pipelines.errors import StoppedError
from pipelines.model_files import ModelSettings
from pipelines.shards import ShardSet
from pipelines.split_task import SplitTask
from pipelines.trunk_recipe import TrunkRecipe

LEAST_FREE_BYTES = 16 * 2**20
"""With less than this on its disk a study that breaks is taken to have broken for that."""


def split_task(split: Split, labels: Mapping[str, str], classes: Sequence[str]) -> SplitTask:
    """Return what a trial may know of its split: the labels of its test clips stay here."""
    index = {label: number for number, label in enumerate(classes)}
    return SplitTask(
        split_id=split.split_id,
        repeat=split.repeat,
        seed_index=split.seed_index,
        seed=split.seed,
        classes=tuple(classes),
        train=tuple((clip_id, index[labels[clip_id]]) for clip_id in split.train),
        validation=tuple((clip_id, index[labels[clip_id]]) for clip_id in split.validation),
        test=split.test,
        pieces=split.pieces,
    )


def run_splits(
    splits: Sequence[Split],
    *,
    config: PipelineConfig,
    shards: ShardSet,
    places: ClipPlaces,
    frozen_audio: TrunkRecipe | None,
    classes: Sequence[str],
    folder: Path,
    study_digest: str,
    on_done: Callable[[str], None],
    on_epoch: Callable[[str, int], None],
    keeps: ModelSettings | None = None,
) -> None:
    """Run one trial per split; each ends in the ledger as done or as failed with its error.

    Args:
        splits: those still to do.
        config: settings of networks, training and cluster.
        shards: the clips' labels and keys.
        places: where trials read the clips.
        frozen_audio: makes features of audio images that each split standardises for itself.
        classes: all labels, in order.
        folder: the study's folder.
        study_digest: marks the entries of this study.
        on_done: called with the split_id when a trial has ended, well or not.
        on_epoch: called with the split_id and its epochs so far.
        keeps: settings to keep each split's networks with; None keeps none.
    """
    labels = {outcome.clip_id: outcome.emotion for outcome in shards.usable}
    ledger = Ledger(folder / "splits")
    scratch = folder / "tune"
    # A file a trial: Tune copies what it is handed into each of its own records, many times over.
    files = {split.split_id: scratch / "tasks" / f"{split.split_id}.json" for split in splits}
    for split in splits:
        trial = Trial(
            task=split_task(split, labels, classes),
            keys={
                clip_id: shards.keys[clip_id]
                for clip_id in (*split.train, *split.validation, *split.test)
            },
            places=places,
            model=config.model,
            fusion=config.fusion,
            training=config.training,
            frozen_audio=frozen_audio,
            threads=config.cluster.trial_cpus,
            gpus=config.cluster.trial_gpus,
            study_digest=study_digest,
            folder=str(folder),
            keeps=keeps,
        )
        trial.write(files[split.split_id])
    trials = [{"split_id": split_id, "file": str(file)} for split_id, file in files.items()]
    tuner = Tuner(
        tune.with_resources(
            trainable, {"cpu": config.cluster.trial_cpus, "gpu": config.cluster.trial_gpus}
        ),
        param_space={"trial": tune.grid_search(trials)},
        tune_config=TuneConfig(
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=RunConfig(
            name="trials",
            storage_path=str(scratch),
            failure_config=FailureConfig(max_failures=config.cluster.trial_retries),
            callbacks=[_Watch(on_done, on_epoch)],
            verbose=0,
        ),
    )
    try:
        results = tuner.fit()
    except Exception as error:
        # Tune reads its own half-written files and says nothing of the disk.
        if shutil.disk_usage(folder).free > LEAST_FREE_BYTES:
            raise
        raise StoppedError(
            f"paths.runs ({config.paths.runs}) is full; finished splits are kept: make room there "
            "and run the same command again"
        ) from error
    for number in range(len(results)):
        result = results[number]
        split_id = result.config["trial"]["split_id"] if result.config else ""
        if result.error is not None and split_id:
            ledger.record_failure(split_id, _last_line(result.error), study_digest)
    # A trial that Tune lost is no entry at all: it must not be missed either.
    for split in splits:
        if ledger.entry(split.split_id) is None:
            ledger.record_failure(split.split_id, "the trial ended without a result", study_digest)
    shutil.rmtree(scratch, ignore_errors=True)


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial"]["split_id"])


def _last_line(error: BaseException) -> str:
    """Return the innermost message: Ray wraps it in the traceback of the worker."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


class _Watch(tune.Callback):
    """Passes on what Tune sees to the progress line and to MLflow."""

    def __init__(
        self, on_done: Callable[[str], None], on_epoch: Callable[[str, int], None]
    ) -> None:
        self._on_done, self._on_epoch = on_done, on_epoch

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing behind: Tune pickles its callbacks for a restore that is never done."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        self._on_epoch(_trial_name(trial), int(result.get("epochs", 0)))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._on_done(_trial_name(trial))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._on_done(_trial_name(trial))
