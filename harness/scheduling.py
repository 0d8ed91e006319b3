"""A Tune run over what is still to do: a trial for each split, or for each try of a search."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from textwrap import shorten
from typing import Any

from ray import tune
from ray.tune import FailureConfig, PlacementGroupFactory, RunConfig, TuneConfig, Tuner

from harness.crowding import bundles, next_crowding
from harness.ledger import Ledger
from harness.plan import Split
from harness.trial import Rung, Trial, trainable
from harness.trial_failures import NO_RESULT, Failures, last_line
from harness.tune_repairs import (
    asked_of_each_failure,
    keep_credentials_here,
    take_memory_kills_for_deaths,
)
from pipelines.clip_reading import ClipPlaces
from pipelines.config import PipelineConfig
from pipelines.errors import StoppedError
from pipelines.model_files import ModelSettings
from pipelines.session import hosts_now
from pipelines.shards import ShardSet
from pipelines.split_task import Row, SplitTask
from pipelines.trunk_recipe import TrunkRecipe

LEAST_FREE_BYTES = 16 * 2**20
"""With less than this on its disk a study that breaks is taken to have broken for that."""

SEEN_SECONDS = 90.0
"""What one host wrote any other sees within this: NFS looks again after a minute at most."""

REASON_LENGTH = 200
"""Of why a trial was cut short: Ray's own account goes on to all that it may have been."""


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


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one trial of Tune does: splits, one after the other, under one configuration.

    Where one of them is given up at a rung, those behind it are not begun.
    """

    name: str
    """Unlike that of any other job, and fit for a file."""
    splits: tuple[Split, ...]
    config: PipelineConfig
    shards: ShardSet
    """The clips' labels and keys."""
    places: ClipPlaces
    """Where the trial reads the clips."""
    frozen_audio: TrunkRecipe | None
    """Makes features of audio images that each split standardises for itself."""
    folder: Path
    """The ledger is in its `splits/`."""
    digest: str
    """Marks the entries that are of this study, or of this configuration in a search."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those of the configuration that a search chose: for the ledger."""
    rungs: Mapping[str, tuple[Rung, ...]] = field(default_factory=dict)
    """split_id -> where it is given up."""
    shared: Mapping[str, Path] = field(default_factory=dict)
    """Network of stage 1 -> the folder through which other studies share it."""
    keeps: ModelSettings | None = None
    """What the trained networks are kept with; None: they are not."""

    @property
    def ledger(self) -> Ledger:
        """Where its splits are entered."""
        return Ledger(self.folder / "splits")

    def trials(self, classes: Sequence[str]) -> Iterator[Trial]:
        """Yield what the trial is told of each split."""
        labels = {outcome.clip_id: outcome.emotion for outcome in self.shards.usable}
        for split in self.splits:
            clip_ids = (*split.train, *split.validation, *split.test)
            yield Trial(
                task=split_task(split, labels, classes),
                keys={clip_id: self.shards.keys[clip_id] for clip_id in clip_ids},
                places=self.places,
                model=self.config.model,
                fusion=self.config.fusion,
                training=self.config.training,
                rival=self.config.rival,
                frame_shift=self.config.mfcc.shift_frames,
                frozen_audio=self.frozen_audio,
                threads=self.config.cluster.trial_cpus,
                gpus=self.config.cluster.trial_gpus,
                study_digest=self.digest,
                folder=str(self.folder),
                settings=dict(self.settings),
                rungs=self.rungs.get(split.split_id, ()),
                shared={name: str(folder) for name, folder in self.shared.items()},
                keeps=self.keeps,
            )

    @property
    def unfinished(self) -> str | None:
        """The first split that has not come to an end; None where all have, or one was given up."""
        for split in self.splits:
            if self.ledger.is_halted(split.split_id, self.digest):
                return None
            if not self.ledger.is_done(split.split_id, self.digest):
                return split.split_id
        return None

    def clear(self) -> None:
        """Forget how its splits ended before, but for those that have come to an end."""
        for split in self.splits:
            self.ledger.clear(split.split_id, self.digest)

    def enter_failure(self, error: str) -> None:
        """Enter the first split that has not come to an end as failed; none where all have."""
        if (split_id := self.unfinished) is not None:
            self.ledger.record_failure(split_id, error, self.digest)


def run_jobs(
    jobs: Sequence[Job],
    *,
    classes: Sequence[str],
    folder: Path,
    on_done: Callable[[str], None],
    on_epochs: Callable[[str, list[Row]], None],
    say: Callable[[str], None],
) -> None:
    """Run each job as a trial of one Tune run, on reused actors; all splits end in the ledgers.

    Those that run out of memory are run again with half as many on a node, until one has a node
    for itself; or a GPU, where it was a GPU's. As crowded as before they are not tried again.

    Args:
        jobs: at least one; the resources of the first one's `cluster` are those of all.
        classes: all labels, in order.
        folder: the study's folder, for what Tune and the trials are told.
        on_done: called with the job's name when its trial has ended, well or not.
        on_epochs: called with the job's name and the epochs since the last call.
        say: told, in a line, what else the user should know.

    Raises:
        StoppedError: the disk is full; what is finished is kept.
    """
    cluster = jobs[0].config.cluster
    for job in jobs:
        job.clear()
    scratch = folder / "tune"
    files = {job.name: _write_trials(job, classes, scratch / "tasks") for job in jobs}
    left, crowding, retries = list(jobs), 1, cluster.trial_retries
    for number in count():
        if not left:
            break
        watch = _Watch(on_done, on_epochs, say)
        failures = _run_once(
            {job.name: files[job.name] for job in left},
            jobs[0].config,
            crowding,
            scratch / f"tune-{number}",
            watch,
        )
        _wait_to_see([job for job in left if job.name in watch.entered])
        steps = {
            found: more
            for found in set(failures.crowded.values())
            if (more := next_crowding(cluster, crowding, hosts_now(), found)) is not None
        }
        hungry = [job for job in left if failures.crowded.get(job.name) in steps]
        # One whose process dies between two trials Tune may lose, and knows no error of. And where
        # fewer would have helped when one ran out of memory, the host for that may be gone since.
        lost = {
            job.name: (
                "ran out of memory" if job.name in failures.crowded else "was lost with its process"
            )
            for job in left
            if job not in hungry
            and (job.name in failures.crowded or job.name not in failures.given_up)
            and job.unfinished
            and retries > 0
        }
        retries -= bool(lost)
        names = {*lost, *(job.name for job in hungry)}
        for job in left:
            if job.name in names:
                continue
            job.enter_failure(failures.reason(job.name))
            if job.name in failures.given_up:
                on_done(job.name)
        for name, why in lost.items():
            say(f"{name} {why} and is tried again")
        if hungry:
            crowding = max(steps.values())
            say(
                f"{len(hungry)} of {len(left)} trials ran out of memory: they are tried again with "
                f"{_told(bundles(cluster, crowding))} reserved for each, so that fewer share a "
                f"{' and a '.join(sorted(found.value for found in steps))}"
            )
        left = [job for job in left if job.name in names]
    shutil.rmtree(scratch, ignore_errors=True)


def _wait_to_see(jobs: Sequence[Job]) -> None:
    """Wait until what these jobs' trials say that they entered is seen here.

    They run on other hosts, and a shared file system may show a host for a while what it saw last.
    """
    deadline = time.monotonic() + SEEN_SECONDS
    while any(job.unfinished for job in jobs) and time.monotonic() < deadline:
        time.sleep(1.0)


def _write_trials(job: Job, classes: Sequence[str], folder: Path) -> list[str]:
    """Write what a job's trials are told; return the files, in order.

    Tune copies what it is handed itself into each of its own records, many times over.
    """
    files = []
    for number, trial in enumerate(job.trials(classes)):
        files.append(folder / f"{job.name}-{number}.json")
        trial.write(files[-1])
    return [str(file) for file in files]


def _run_once(
    files: Mapping[str, list[str]],
    config: PipelineConfig,
    crowding: int,
    scratch: Path,
    watch: _Watch,
) -> Failures:
    """Run each of these jobs as a trial; return what went wrong."""
    failures = Failures(config.cluster, crowding)
    keep_credentials_here()
    take_memory_kills_for_deaths()
    tuner = Tuner(
        tune.with_resources(
            trainable,
            PlacementGroupFactory(bundles(config.cluster, crowding), strategy="STRICT_PACK"),
        ),
        param_space={
            "trial": tune.grid_search(
                [{"name": name, "files": told} for name, told in files.items()]
            )
        },
        tune_config=TuneConfig(
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=RunConfig(
            name="trials",
            storage_path=str(scratch),
            failure_config=FailureConfig(max_failures=config.cluster.trial_retries),
            callbacks=[watch],
            verbose=0,
        ),
    )

    def may_retry(trial: Any, error: BaseException) -> bool:
        return failures.may_retry(_trial_name(trial), error)

    try:
        with asked_of_each_failure(may_retry):
            tuner.fit()
    except Exception as error:
        # Tune reads its own half-written files and says nothing of the disk.
        if shutil.disk_usage(scratch.parent).free > LEAST_FREE_BYTES:
            raise
        raise StoppedError(
            f"paths.runs ({config.paths.runs}) is full; finished splits are kept: make room there "
            "and run the same command again"
        ) from error
    failures.given_up |= watch.given_up
    return failures


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial"]["name"])


def _told(reserved: list[dict[str, float]]) -> str:
    """Return what is reserved in words."""
    sums = {name: sum(told.get(name, 0) for told in reserved) for name in ("CPU", "GPU")}
    return " and ".join(f"{some:g} {name}s" for name, some in sums.items() if some)


class _Watch(tune.Callback):
    """Passes on what Tune sees to the progress line and to MLflow."""

    def __init__(
        self,
        on_done: Callable[[str], None],
        on_epochs: Callable[[str, list[Row]], None],
        say: Callable[[str], None],
    ) -> None:
        self._on_done, self._on_epochs, self._say = on_done, on_epochs, say
        self.entered: set[str] = set()
        """Names of the trials that say that all their splits are in the ledger."""
        self.given_up: set[str] = set()
        """Names of those that failed, and that Tune tries no more."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing behind: Tune pickles its callbacks for a restore that is never done."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        self._on_epochs(_trial_name(trial), result.get("rows", []))
        if result.get("entered"):
            self.entered.add(_trial_name(trial))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Say so: a process or a host that is gone looks like a stall."""
        # Tune's notes on this host: it sends them to the study's folder later.
        notes = Path(trial.error_file or "")
        error = RuntimeError(notes.read_text()) if notes.is_file() else None
        told = NO_RESULT if error is None else last_line(error)
        why = shorten(told, REASON_LENGTH, placeholder=" ...")
        self._say(f"{_trial_name(trial)} was cut short and is tried again ({why})")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self.given_up.add(_trial_name(trial))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._on_done(_trial_name(trial))
