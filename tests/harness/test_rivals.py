"""Studies with a rival in place of our networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import ForkedCommands, SmallStudy, run_module

from harness.config import StudyConfig
from harness.ledger import DONE, Ledger
from harness.preparation import feature_plan
from harness.trial import Trial, run_split
from pipelines.clip_reading import ClipPlaces
from pipelines.config import compose_config
from pipelines.errors import UsageError
from pipelines.networks.backbone import ModelConfig
from pipelines.networks.fusion import FusionConfig
from pipelines.rivals.config import RivalConfig
from pipelines.shards import open_shards
from pipelines.split_task import SplitTask
from pipelines.training_config import TrainingConfig


class NoReports:
    """Stands where Tune is told of epochs."""

    def note(self, row: object) -> None:
        raise AssertionError("a classical rival has no epochs")


def test_a_classical_trial_reads_pixels_and_sound_as_they_are_stored(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    shards = open_shards(small_study.shards)
    classes = sorted({outcome.emotion for outcome in shards.usable})
    by_subject = {
        subject: [o for o in shards.usable if o.subject == subject]
        for subject in ("s01", "s02", "s03")
    }
    labelled = {
        subject: tuple((o.clip_id, classes.index(o.emotion)) for o in outcomes)
        for subject, outcomes in by_subject.items()
    }
    rival = RivalConfig(kind="functionals_hog_svm")
    trial = Trial(
        task=SplitTask(
            split_id="loso-s03",
            repeat=0,
            seed=4,
            classes=tuple(classes),
            train=labelled["s01"],
            validation=labelled["s02"],
            test=tuple(clip_id for clip_id, _ in labelled["s03"]),
        ),
        keys=dict(shards.keys),
        places=ClipPlaces(
            shards=str(small_study.shards),
            modalities=rival.inputs,
            face_size=64,
            rescaling="standardised",
        ),
        model=ModelConfig(),
        fusion=FusionConfig(),
        training=TrainingConfig(trunk="frozen"),
        frozen_audio=None,
        threads=1,
        gpus=0.0,
        study_digest="d",
        folder=str(tmp_path),
        rival=rival,
    )
    trial.write(tmp_path / "trial.json")
    assert run_split(Trial.read(tmp_path / "trial.json"), NoReports())  # type: ignore[arg-type]
    ledger = Ledger(tmp_path / "splits")
    entry = ledger.entry("loso-s03")
    assert entry is not None
    assert entry.status == DONE
    assert set(entry.parameters) == {"functionals_hog_svm"}
    assert entry.fitted == {"classifier": sorted(clip_id for clip_id, _ in labelled["s01"])}
    assert {phase: len(ids) for phase, ids in entry.reads.items()} == {
        "stage1_fit": 6, "stage1_choose": 6, "test": 6,
    }  # fmt: skip
    assert "C" in entry.chosen
    told = ledger.segments(["loso-s03"]).to_pandas()
    segments = {o.clip_id: o.segments for o in by_subject["s03"]}
    assert told.groupby("clip_id").size().to_dict() == segments
    probabilities = told[[f"p_{label}" for label in classes]]
    assert (probabilities.groupby(told["clip_id"]).nunique() == 1).all(axis=None)


def test_the_shards_hold_a_voice_of_the_drawn_people(small_study: SmallStudy) -> None:
    for file in sorted((small_study.shards / "segments").iterdir())[:4]:
        rows = pq.ParquetFile(file).read().to_pylist()
        pitch = np.array([row["pitch_hz"] for row in rows], dtype=float)
        energy = np.array([row["energy_db"] for row in rows], dtype=float)
        voiced = pitch > 0
        assert 0.2 < voiced.mean() < 1.0
        assert 70 < np.median(pitch[voiced]) < 400
        assert energy[voiced].mean() > energy[~voiced].mean() + 5


def test_a_classical_rival_needs_no_trunk_and_no_features(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"no weights")
    network = ["model=vgg19", "training.trunk=frozen", f"model.weights={broken}"]
    config = compose_config("study", StudyConfig, [*network, "rival.kind=lbp_svm"])
    assert feature_plan(config) is None
    config.rival.kind = "none"
    with pytest.raises(UsageError, match="broken"):
        feature_plan(config)


def test_a_rival_that_can_not_run_is_refused_before_any_work(
    forked_commands: ForkedCommands, tmp_path: Path
) -> None:
    wrong = ["rival.kind=functionals_svm", "mfcc.features=log_mel"]
    told = forked_commands.run("harness.loso", *wrong, cwd=tmp_path)
    assert (told.status, told.stdout) == (2, "")
    assert told.stderr.startswith(
        "error: rival.kind (functionals_svm) takes functionals of the first"
    )
    assert told.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.long
@pytest.mark.parametrize("kind", ["functionals_svm", "average_pooling_svm", "kcca"])
def test_a_study_of_a_rival_from_the_command_to_its_page(
    kind: str, small_study: SmallStudy
) -> None:
    arguments = [a for a in small_study.arguments if not a.startswith(("name=", "model.keep"))]
    told = run_module(
        "harness.loso", *arguments, f"name={kind}", f"rival.kind={kind}", "--json",
        cwd=small_study.cwd,
    )  # fmt: skip
    assert told.status == 0, told.stderr
    summary = json.loads(told.stdout)
    assert summary["complete"]
    assert summary["predicts"] == ("segment" if kind == "kcca" else "clip")
    folder = small_study.cwd / "runs" / kind
    assert (folder / "report.html").is_file()
    for entry in (json.loads(file.read_text()) for file in (folder / "splits").glob("*.json")):
        networks = set() if kind == "functionals_svm" else {"audio", "visual"}
        assert set(entry["parameters"]) == {kind, *networks}
        assert set(entry["chosen_epochs"]) == networks
    predicted = pq.ParquetFile(folder / "predictions.parquet").read().to_pylist()
    assert len({row["clip_id"] for row in predicted}) == len(predicted) == 18
