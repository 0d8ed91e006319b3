"""What a trial is told: everything it needs, through a file, and no label of a test clip."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from harness.trial import Rung, Trial
from pipelines.clip_reading import ClipPlaces
from pipelines.networks.backbone import ModelConfig
from pipelines.networks.fusion import FusionConfig
from pipelines.rivals.config import RivalConfig
from pipelines.split_task import SplitTask
from pipelines.training_config import TrainingConfig
from pipelines.trunk_recipe import TrunkRecipe

TASK = SplitTask(
    split_id="loso-s3",
    repeat=0,
    seed=4,
    classes=("anger", "fear"),
    train=(("s1/a", 0), ("s1/b", 1)),
    validation=(("s2/a", 0),),
    test=("s3/a", "s3/b"),
)
MODEL = ModelConfig(lstm_hidden=7, modalities="audio")
TRIAL = Trial(
    task=TASK,
    keys={"s1/a": "k1", "s1/b": "k2", "s2/a": "k3", "s3/a": "k4", "s3/b": "k5"},
    places=ClipPlaces(shards="/data/shards/x", modalities=("audio",), face_size=48),
    model=MODEL,
    fusion=FusionConfig(attention_size=3),
    training=TrainingConfig(trunk="frozen", rescaling="standardised", precision="float32"),
    frozen_audio=TrunkRecipe(
        model=MODEL, seed=1, layer="features", precision="float32", threads=1, on_gpu=False
    ),
    threads=1,
    gpus=0.0,
    study_digest="d",
    folder="/runs/x",
    settings={"model.lstm_hidden": 7},
    rungs=(Rung(network="audio", epoch=3, most=0.5),),
    rival=RivalConfig(kind="kcca", components=3),
)


def test_a_trial_comes_out_of_its_file_as_it_went_in(tmp_path: Path) -> None:
    TRIAL.write(tmp_path / "trial.json")
    assert Trial.read(tmp_path / "trial.json") == TRIAL
    plain = replace(TRIAL, frozen_audio=None)
    plain.write(tmp_path / "trial.json")
    assert Trial.read(tmp_path / "trial.json") == plain


def test_the_file_holds_no_label_of_a_test_clip(tmp_path: Path) -> None:
    TRIAL.write(tmp_path / "trial.json")
    task = json.loads((tmp_path / "trial.json").read_text())["task"]
    assert task["test"] == ["s3/a", "s3/b"]
    assert {clip_id for clip_id, _ in task["train"] + task["validation"]} == {
        "s1/a",
        "s1/b",
        "s2/a",
    }


def test_a_checkpoint_is_of_the_clips_that_the_split_learned_from() -> None:
    others = [
        replace(TASK, train=TASK.train[:1]),
        replace(TASK, train=(("s1/a", 1), ("s1/b", 1))),
        replace(TASK, validation=()),
        replace(TASK, seed=5),
    ]
    keys = {replace(TRIAL, task=task).checkpoint_key for task in (TASK, *others)}
    keys.add(replace(TRIAL, study_digest="e").checkpoint_key)
    assert len(keys) == 6
    assert replace(TRIAL, threads=2).checkpoint_key == TRIAL.checkpoint_key
