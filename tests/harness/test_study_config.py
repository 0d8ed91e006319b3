"""A study's digest changes with what changes its results, and with nothing else."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import pytest
import torch
from conftest import ForkedCommands

from harness.config import StudyConfig, check_rival, config_digest
from pipelines.config import compose_config, describe_settings
from pipelines.errors import UsageError
from pipelines.training import TRAINING_VERSION


@cache
def compose(*overrides: str) -> StudyConfig:
    return compose_config("study", StudyConfig, overrides)


def digest(*overrides: str) -> str:
    return config_digest(compose(*overrides))


@pytest.mark.parametrize(
    "override",
    [
        "paths.data=/elsewhere",
        "paths.runs=/elsewhere",
        "name=mine",
        "preprocess.workers=3",
        "preprocess.time_limit_s=5",
        "preprocess.clips_per_child=7",
        "faces.model_dir=/models",
        "training.cache_mb=100",
        "cluster.cpus=1",
        "cluster.trial_retries=0",
        "cluster.object_store_mb=200",
        "tracking.enabled=false",
        "tracking.uri=sqlite:///elsewhere.db",
        "tracking.experiment=other",
    ],
)
def test_places_workers_limits_and_tracking_leave_the_digest_alone(override: str) -> None:
    assert compose(override) != compose()
    assert digest(override) == digest()


@pytest.mark.parametrize(
    "override",
    [
        "vad=off",
        "vad.before_s=0.3",
        "mfcc.shift_frames=20",
        "mfcc.mel_scale=htk",
        "faces=yunet",
        "faces.margin=0.1",
        "preprocess.max_seconds=30",
        "preprocess.truncated=keep",
        "model.lstm_hidden=9",
        "model.dropout=0.1",
        "model.audio_size=96",
        "model.temporal=lstm_mean",
        "model.modalities=audio",
        "fusion.attend_over=concat",
        "fusion.hidden=[64]",
        "training.stages=one",
        "training.joint_epochs=9",
        "training.head_rate=0.01",
        "training.segments_per_clip=2",
        "training.class_weights=false",
        "rival.kind=kcca",
        "protocol=kfold",
        "protocol.folds=5",
        "seed=1",
        "cluster.trial_cpus=2",
        "cluster.trial_gpus=1",
    ],
)
def test_what_changes_results_changes_the_digest(override: str) -> None:
    assert digest(override) != digest()


def test_without_a_rival_its_settings_leave_the_digest_alone() -> None:
    assert digest("rival.components=3") == digest()
    assert digest("rival.kind=kcca", "rival.components=3") != digest("rival.kind=kcca")


def test_half_a_gpu_gives_what_a_whole_one_gives() -> None:
    assert digest("cluster.trial_gpus=0.5") == digest("cluster.trial_gpus=1")


def test_the_digest_is_the_same_every_time() -> None:
    again = compose_config("study", StudyConfig, ["seed=3"])
    assert config_digest(again) == digest("seed=3")


def test_another_arithmetic_of_training_changes_the_digest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = digest()
    monkeypatch.setattr("harness.config.TRAINING_VERSION", TRAINING_VERSION + 1)
    assert digest() != before


def test_weights_count_by_content_not_by_path(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("one.pth", "same.pth", "other.pth"))
    torch.save({"a": torch.zeros(1)}, one)
    same.write_bytes(one.read_bytes())
    other.write_bytes(one.read_bytes() + b"more")
    assert digest(f"model.weights={one}") == digest(f"model.weights={same}")
    assert digest(f"model.weights={one}") != digest(f"model.weights={other}")
    assert digest(f"model.weights={one}") != digest()
    checked = f"model.weights_sha256={hashlib.sha256(one.read_bytes()).hexdigest()}"
    assert digest(f"model.weights={one}", checked) == digest(f"model.weights={one}")


def test_the_default_study_leaves_one_subject_out() -> None:
    assert compose().protocol.kind == "loso"
    assert compose("protocol=kfold").protocol.kind == "kfold"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("protocol=holdout", r"^protocol \(holdout\) must be one of: cross, kfold, loso$"),
        ("protocol.folds=1", r"^protocol\.folds \(1\) must be at least 2$"),
        (
            "protocol.units=clip",
            r"^protocol\.units is not a setting: did you mean protocol\.unit\?$",
        ),
        (
            "fusion.hidden=[8,0]",
            r"^fusion\.hidden \(\[8, 0\]\) must be widths of layers, each at least 1, as in "
            r"fusion\.hidden=\[512,128\]$",
        ),
        ("fusion.hidden=[wide]", r"^fusion\.hidden \(\[wide\]\): "),
        ("fusion.hidden=8", r"^fusion\.hidden \(8\): "),
        ("training.stages=three", r"^training\.stages \(three\) must be one of: two, one$"),
        ("tracking.enabled=maybe", r"^tracking\.enabled \(maybe\): "),
    ],
)
def test_settings_of_the_study_are_refused_by_name(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compose(override)


@pytest.mark.parametrize(
    ("modalities", "predicts"), [("both", "clip"), ("audio", "segment"), ("visual", "segment")]
)
def test_without_fusion_nothing_fuses_the_segments_of_a_clip(
    modalities: str, predicts: str
) -> None:
    overrides = ["fusion.attend_over=segments", f"model.modalities={modalities}"]
    assert compose_config("study", StudyConfig, overrides).predicts == predicts


def test_one_modality_is_not_trained_in_one_stage() -> None:
    with pytest.raises(
        UsageError, match=r"^training\.stages \(one\) .*model\.modalities \(audio\)"
    ):
        compose("training.stages=one", "model.modalities=audio")
    told = {
        overrides: compose(*overrides).two_stages
        for overrides in [(), ("training.stages=one",), ("model.modalities=audio",)]
    }
    assert list(told.values()) == [True, False, False]


def test_layers_of_the_fusion_are_a_list_on_the_command_line() -> None:
    assert compose("fusion.hidden=[512,128]").fusion.hidden == [512, 128]
    assert compose().fusion.hidden == []
    assert "  fusion.hidden=[]" in describe_settings("study", StudyConfig).splitlines()


@pytest.mark.parametrize(
    ("kind", "predicts"), [("average_pooling_svm", "clip"), ("kcfa", "segment")]
)
def test_a_rival_says_what_has_one_prediction(kind: str, predicts: str) -> None:
    assert compose("fusion.attend_over=segments", f"rival.kind={kind}").predicts == predicts


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["rival.kind=kcca", "model.keep=true"], r"^model\.keep \(true\) is for our networks"),
        (["rival.kind=cfa", "model.modalities=audio"], r"^rival\.kind \(cfa\) stands in .*audio"),
    ],
)
def test_what_a_rival_can_not_do_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_rival(compose(*overrides))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("kind=svm", r"^rival\.kind \(svm\) must be one of: none, average_pooling_svm, cfa"),
        ("components=0", r"^rival\.components \(0\) must be at least 1$"),
        ("kernel_rows=1", r"^rival\.kernel_rows \(1\) must be at least 2$"),
        ("regularisation=0", r"^rival\.regularisation \(0\.0\) must be above 0"),
        ("regularisation=1.5", r"^rival\.regularisation \(1\.5\) must be above 0 and at most 1"),
    ],
)
def test_settings_of_a_rival_are_refused_by_name(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compose(f"rival.{setting}")


@pytest.mark.parametrize("command", ["harness.fit", "harness.search"])
def test_commands_for_our_networks_alone_refuse_a_rival(
    command: str, forked_commands: ForkedCommands, tmp_path: Path
) -> None:
    told = forked_commands.run(command, "rival.kind=kcca", cwd=tmp_path)
    assert (told.status, told.stdout) == (2, "")
    assert told.stderr.startswith(f"error: rival.kind (kcca) is for studies: {command} works")
    assert told.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
