"""The training of one model on all subjects of a corpus, from its settings to MLflow."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config import StudyConfig
from harness.inner_validation import subject_ring, validation_subject
from harness.leakage import check_fitted, check_reads
from harness.ledger import UNSEEN, Entry, Ledger
from harness.mlflow_study import StudyRecord
from harness.plan import Split
from harness.preparation import Preparations, Prepared
from harness.scheduling import run_jobs
from harness.study import Study
from harness.trial import model_folder
from pipelines.commit import git_commit
from pipelines.config import register_schema, to_yaml
from pipelines.credentials import without_credentials
from pipelines.errors import StoppedError, require, require_one_of
from pipelines.model_files import is_model, read_record, save_trunk
from pipelines.progress import Reporter
from pipelines.records import Clip
from pipelines.split_task import seed_for
from pipelines.storage import claim, digest_of, write_text

SPLIT = "fit"
"""What the training of the model is called where a split is."""


@dataclass
class FitConfig:
    """What a model for use is trained on."""

    validation: str = "subject"
    """`subject`: one subject, by a stable hash, is not learned from and chooses the epoch of each
    network, as in a study; `none`: everybody is learned from, and every network keeps the last of
    its epochs."""

    def __post_init__(self) -> None:
        require_one_of("fit.validation", self.validation, ("subject", "none"))


@dataclass
class FitStudyConfig(StudyConfig):
    """What `python -m harness.fit` is told."""

    fit: FitConfig = field(default_factory=FitConfig)


register_schema("fit_schema", FitStudyConfig)


class Training:
    """The training of one model on a corpus, in its folder."""

    def __init__(self, config: FitStudyConfig, study: Study) -> None:
        self.config, self.study = config, study
        self.digest = digest_of([study.digest, SPLIT, config.fit.validation])
        self.name = config.name or f"fit-{config.corpus.name}-{self.digest[:8]}"
        folder = Path(config.paths.runs).absolute() / self.name
        self.model, self.work = folder / "model", folder / "fit"
        self.ledger = Ledger(self.work / "splits")
        by = config.fit.validation == "subject"
        self.split = everybody(study.data.usable, config.seed, validation=by)

    @property
    def entry(self) -> Entry:
        """What is known of the training."""
        found = self.ledger.entry(SPLIT)
        return found or Entry(split_id=SPLIT, status="", study_digest=self.digest, error=UNSEEN)

    def run(self, preparations: Preparations) -> None:
        """Train, unless that was done before, and put the model in its place.

        Raises:
            UsageError: the name is another model's, or another process works on it.
            StoppedError: the training failed.
        """
        # Held until this process ends.
        self._claim = claim(self.work / ".lock")
        require(
            self._claim is not None,
            f"name ({self.name}) is being worked on by another process: wait for it, or choose "
            "another name",
        )
        if is_model(self.model):
            require(
                read_record(self.model).study_digest == self.digest,
                f"name ({self.name}) is taken: {self.model} holds a model of other settings or "
                "clips; choose another name, or remove that folder",
            )
            preparations.reporter.line("train: the model was trained before")
            return
        write_text(self.work / "config.yaml", to_yaml(self.config))
        prepared = preparations.of(self.config)
        trained = model_folder(self.work, SPLIT)
        if not (is_model(trained) and self.ledger.is_done(SPLIT, self.digest)):
            self._train(prepared, preparations.reporter)
        if prepared.features is not None:
            save_trunk(trained, prepared.features.recipe)
        shutil.rmtree(self.model, ignore_errors=True)  # half of one, without its model.json
        trained.rename(self.model)

    def _train(self, prepared: Prepared, reporter: Reporter) -> None:
        job = prepared.job(
            SPLIT, (self.split,), folder=self.work, digest=self.digest, settings={}, keep=True
        )
        with reporter.stage("train", 1) as stage:
            run_jobs(
                [job],
                classes=self.study.classes,
                folder=self.work,
                on_done=lambda _: stage.advance(),
                on_epochs=lambda _, rows: stage.say(
                    f"{rows[-1]['network']} epoch {rows[-1]['epoch']}" if rows else ""
                ),
                say=reporter.warn,
            )
            stage.say("")
        if not self.ledger.is_done(SPLIT, self.digest):
            raise StoppedError(f"the model could not be trained: {self.entry.error}")
        check_reads(self.split, self.entry.reads, two_stages=self.config.two_stages)
        check_fitted(self.split, self.entry.fitted, standardised=self.config.standardises)

    def log(self, reporter: Reporter) -> tuple[str | None, str | None]:
        """Send the model to MLflow; return its run's id and its address, None where it is not."""
        tracking = self.config.tracking
        if not tracking.enabled:
            reporter.line("tracking.enabled is false: the model is in its folder alone")
            return None, None
        try:
            # MLflow takes seconds to import.
            from harness.logged_model import log_model

            return log_model(
                tracking,
                Path(self.config.paths.runs).absolute(),
                self._record(),
                self.model,
                curves=self.entry.curves,
                seconds=self.entry.seconds,
                warnings=self.entry.warnings,
            )
        except Exception as error:  # whatever a server answers, the model is there
            words = without_credentials(str(error))
            reason = (words.strip().splitlines() or [""])[0][:200]
            reporter.warn(
                f"MLflow did not take the model ({type(error).__name__}: {reason}): it is in "
                f"{self.model}, and the same command sends it again"
            )
            return None, None

    def _record(self) -> StudyRecord:
        return StudyRecord(
            name=self.name,
            tags={
                **self.study.digests,
                "config_digest": self.digest,
                "protocol": "none: a model trained on all subjects",
                "corpus": self.study.data.corpus,
                "git_commit": git_commit(),
            },
            parameters={
                **self.study.parameters(),
                "protocol": "none",
                "fit.validation": self.config.fit.validation,
            },
            datasets=self.study.data.datasets,
        )

    def told(self, run_id: str | None, model_uri: str | None) -> dict[str, Any]:
        """Return what the command says at its end."""
        return {
            "model": str(self.model),
            "run_id": run_id,
            "model_uri": model_uri,
            "classes": self.study.classes,
            "train": len(self.split.train),
            "validation": len(self.split.validation),
            "warnings": self.entry.warnings,
        }


def everybody(clips: Sequence[Clip], seed: int, *, validation: bool) -> Split:
    """Return all clips as one training, without a test.

    Args:
        clips: the usable ones.
        seed: of the configuration.
        validation: hold out one subject to choose epochs by: the first on the ring of
            `subject_ring` who does not alone show a class.
    """
    validator = validation_subject(subject_ring(clips), (), 0, clips) if validation else None
    ordered = sorted(clips, key=lambda clip: clip.clip_id)
    return Split(
        split_id=SPLIT,
        held_out="nobody",
        repeat=0,
        seed=seed_for(seed, SPLIT, "0"),
        train=tuple(clip.clip_id for clip in ordered if clip.subject != validator),
        validation=tuple(clip.clip_id for clip in ordered if clip.subject == validator),
        test=(),
    )
