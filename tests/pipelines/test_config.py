"""Settings compose from conf/ with overrides, and what is wrong is refused in one line by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from harness.config import StudyConfig
from pipelines.config import CONF, PipelineConfig, compose_config, settings_of, to_plain, to_yaml
from pipelines.corpora.csv_manifest import CsvManifestConfig
from pipelines.corpora.listing import CORPORA
from pipelines.corpora.synthetic import SyntheticConfig
from pipelines.errors import UsageError
from pipelines.faces import FacesConfig
from pipelines.marked_output import IN_JOB
from pipelines.mfcc import MfccConfig
from pipelines.preprocess import PreprocessingRun
from pipelines.storage import digest_of
from pipelines.vad import VadConfig

PROFILES = {
    "demo": [],
    "fast": ["profile=fast", "model.weights=none"],
    "paper": ["profile=paper", "model.weights=none"],
}


@cache
def compose(*overrides: str) -> PipelineConfig:
    return compose_config("pipeline", PipelineConfig, overrides)


def refusal(*overrides: str) -> str:
    with pytest.raises(UsageError) as raised:
        compose(*overrides)
    message = str(raised.value)
    assert "\n" not in message
    return message


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting with its value, by the dataclasses alone."""
    for entry in fields(config):
        value = getattr(config, entry.name)
        if is_dataclass(value):
            yield from leaves(value, f"{prefix}{entry.name}.")
        else:
            yield f"{prefix}{entry.name}", value


def written(value: Any) -> str:
    """A value as it is typed on the command line."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"'{value}'"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def test_the_default_is_the_demo_on_the_synthetic_corpus() -> None:
    config = compose()
    assert config == compose("profile=demo")
    assert isinstance(config.corpus, SyntheticConfig)
    assert (config.model.backbone, config.model.weights) == ("small", "none")
    assert config.faces.detector == "haar"
    assert config.vad == VadConfig()
    assert config.mfcc == MfccConfig()
    assert config.training.schedule == "cosine"
    assert config.cluster.trial_cpus == 1


def test_the_paper_is_vgg19_of_imagenet_fine_tuned_with_ssd_faces() -> None:
    config = compose("profile=paper")
    assert (config.model.backbone, config.model.weights) == ("vgg19", "imagenet")
    assert config.model.lstm_hidden == 4096
    assert config.faces.detector == "ssd_resnet"
    assert config.training.trunk == "full"
    assert not config.training.augment
    assert config.training.segments_per_clip is None
    assert (config.training.trunk_rate, config.training.head_rate) == (1e-4, 1e-3)


def test_fast_differs_from_the_paper_in_its_frozen_trunk_alone() -> None:
    paper, fast = dict(leaves(compose("profile=paper"))), dict(leaves(compose("profile=fast")))
    assert {key for key in paper if paper[key] != fast[key]} == {"training.trunk"}
    assert fast["training.trunk"] == "frozen"


@pytest.mark.parametrize("profile", PROFILES)
def test_every_default_can_be_said_and_changes_nothing(profile: str) -> None:
    config = compose(*PROFILES[profile])
    said = [f"{key}={written(value)}" for key, value in leaves(config)]
    assert len(said) > 70
    assert compose(f"profile={profile}", *said) == config


@pytest.mark.parametrize("profile", PROFILES)
def test_every_number_can_be_changed_alone(profile: str) -> None:
    config = compose(*PROFILES[profile])
    numbers = {
        key: value + 1
        for key, value in leaves(config)
        if isinstance(value, int) and not isinstance(value, bool)
    }
    for linked in ("mfcc.coefficients", "mfcc.rate", "mfcc.mels"):
        numbers.pop(linked)
    numbers["model.audio_size"] = 96  # 1 is less than the images have
    changed = compose(*PROFILES[profile], *[f"{key}={value}" for key, value in numbers.items()])
    before, after = dict(leaves(config)), dict(leaves(changed))
    assert {key: after[key] for key in before if after[key] != before[key]} == numbers


def test_each_group_has_the_choices_of_its_folder() -> None:
    for group in ("corpus", "faces", "model", "training", "vad"):
        for file in (CONF / group).glob("*.yaml"):
            if file.stem != "own":
                assert isinstance(compose(f"{group}={file.stem}"), PipelineConfig)
    assert not compose("vad=off").vad.enabled
    assert compose("faces=yunet").faces.detector == "yunet"
    assert compose("model=vgg19").model.backbone == "vgg19"


@pytest.mark.parametrize(
    ("model", "lstm_hidden"),
    [("vgg19", 4096), ("vgg16", 4096), ("vgg11", 4096), ("alexnet", 4096), ("resnet18", 512)],
)
def test_each_model_has_its_trunk_and_an_lstm_of_its_size(model: str, lstm_hidden: int) -> None:
    config = compose(f"model={model}", "model.weights=imagenet").model
    assert (config.backbone, config.lstm_hidden) == (model, lstm_hidden)


def test_a_model_of_ones_own_must_be_named() -> None:
    message = refusal("model=own")
    assert message.startswith("model.backbone () must be one of: vgg19, ")
    assert message.endswith(", package.module:Class")


def test_every_corpus_can_be_chosen_and_has_its_own_settings() -> None:
    files = {path.stem for path in (CONF / "corpus").glob("*.yaml")}
    assert files == set(CORPORA)
    for name, corpus in CORPORA.items():
        config = compose(f"corpus={name}", "corpus.root=/data")
        assert config.corpus == corpus.settings(root="/data")
        assert config.corpus.name == name


def test_the_vocal_channel_of_ravdess_is_one_that_there_is() -> None:
    chosen = compose("corpus=ravdess", "corpus.vocal_channel=song").corpus
    assert chosen.vocal_channel == "song"
    message = refusal("corpus=ravdess", "corpus.vocal_channel=whisper")
    assert message == "corpus.vocal_channel (whisper) must be one of: speech, song, both"


def test_a_corpus_of_ones_own_takes_its_folder() -> None:
    config = compose("corpus=csv_manifest", "corpus.root='/my clips/x=1'", "corpus.name=mine")
    assert config.corpus == CsvManifestConfig(name="mine", root="/my clips/x=1")


def test_an_override_beats_the_profile_wherever_it_stands() -> None:
    for order in (
        ("profile=paper", "training.patience=2"),
        ("training.patience=2", "profile=paper"),
    ):
        config = compose(*order, "model=small", "model.weights=none")
        assert config.training.patience == 2
        assert config.model.backbone == "small"


def test_settings_are_found_from_every_folder_and_paths_start_from_the_one_worked_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = to_plain(compose("paths.data=/data", "paths.runs=/runs"))
    monkeypatch.chdir(tmp_path)
    composed = compose_config("pipeline", PipelineConfig, ["faces.model_dir=../models"])
    assert composed.paths.data == str(tmp_path / "data")
    assert composed.paths.runs == str(tmp_path / "runs")
    assert Path(composed.faces.model_dir).resolve() == tmp_path.parent / "models"
    found = to_plain(compose_config("pipeline", PipelineConfig, []))
    assert {**found, "paths": None} == {**expected, "paths": None}
    assert not list(tmp_path.iterdir())


def test_the_resolved_settings_are_yaml_of_every_setting() -> None:
    config = compose("seed=3", "paths.data='/some where'")
    assert OmegaConf.to_container(OmegaConf.create(to_yaml(config))) == to_plain(config)
    assert dict(leaves(config))["paths.data"] == "/some where"


@pytest.mark.parametrize(
    ("override", "suggested"),
    [
        ("training.patiense=3", "training.patience"),
        ("corpus.subject=3", "corpus.subjects"),
        ("modle.backbone=small", "model.backbone"),
        ("corpsu=synthetic", "corpus"),
        ("sed=1", "seed"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_likely_one(override: str, suggested: str) -> None:
    key = override.split("=")[0]
    assert refusal(override) == f"{key} is not a setting: did you mean {suggested}?"


def test_a_setting_like_no_other_is_refused_with_the_way_to_the_list() -> None:
    assert refusal("qqq.zzz=1") == "qqq.zzz is not a setting: see --help for the settings"


def test_a_setting_of_another_corpus_is_refused_by_name() -> None:
    message = refusal("corpus=synthetic", "corpus.manifest=list.csv")
    assert message.startswith("corpus.manifest")


@pytest.mark.parametrize(
    ("override", "choices"),
    [
        ("corpus=iemocap", "crema_d, csv_manifest, enterface05, ravdess, rml, savee, synthetic"),
        ("faces=dlib", "haar, ssd_resnet, yunet"),
        ("model=vgg13", "small, vgg19, resnet18, package.module:Class"),
        ("profile=quick", "demo, fast, paper"),
    ],
)
def test_an_unknown_choice_of_a_group_is_refused_with_those_there_are(
    override: str, choices: str
) -> None:
    group, choice = override.split("=")
    message = refusal(override)
    assert message.startswith(f"{group} ({choice}) must be one of: ")
    assert set(message.split("one of: ")[1].split(", ")) >= set(choices.split(", "))


@pytest.mark.parametrize(
    "override",
    [
        "training.patience=many",
        "training.patience=2.5",
        "training.patience=null",
        "training.head_rate=fast",
        "vad.enabled=perhaps",
        "seed=x",
        "corpus.subjects=few",
        "cluster.cpus=all",
    ],
)
def test_a_wrong_type_is_refused_by_name_and_value(override: str) -> None:
    key, value = override.split("=")
    assert refusal(override).startswith(f"{key} ({value}): ")


@pytest.mark.parametrize(
    "override",
    [
        "training.patience=0",
        "training.trunk=half",
        "training.head_rate=-0.1",
        "training.head_rate=inf",
        "model.dropout=1.0",
        "model.weights=/no/such/file",
        "model.weights_sha256=abc",
        "model.audio_size=-1",
        "model.temporal=gru",
        "model.modalities=text",
        "fusion.attention_size=0",
        "vad.ratio_threshold=1.5",
        "mfcc.delta_width=0",
        "faces.max_missing=2",
        "preprocess.time_limit_s=0",
        "preprocess.max_seconds=-1",
        "preprocess.clips_per_child=0",
        "preprocess.truncated=maybe",
        "preprocess.workers=0",
        "corpus.subjects=1",
        "cluster.trial_cpus=0",
        "cluster.trial_gpus=1.5",
        "cluster.object_store_mb=10",
        "name='a/b'",
        f"name={'a' * 201}",
        "seed=-1",
    ],
)
def test_a_value_out_of_range_is_refused_by_name_and_value(override: str) -> None:
    key, value = override.split("=")
    value = value.strip("'")
    message = refusal(override)
    assert message.startswith((f"{key} ({value}) ", f"{key} ({float_or(value)}) "))


def float_or(value: str) -> str:
    """A number as Python writes it where the setting is a float."""
    try:
        return str(float(value))
    except ValueError:
        return value


@pytest.mark.parametrize("name", ["paths.data", "corpus.root"])
def test_an_address_names_a_bucket(name: str) -> None:
    corpus = ["corpus=csv_manifest"] if name == "corpus.root" else []
    for address in ("s3:///x", "s3://"):
        told = f"{name} ({address}) names no bucket: write s3://bucket/folder"
        assert refusal(*corpus, f"{name}='{address}'") == told


@pytest.mark.parametrize("name", ["paths.data", "paths.runs"])
def test_no_path_is_empty(name: str) -> None:
    assert refusal(f"{name}=") == f"{name} is empty: name a folder"


def test_in_a_job_paths_are_the_clusters_and_what_makes_no_run_needs_no_place_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(IN_JOB, "1")
    compose_config("pipeline", PipelineConfig, ["paths.data=/data"])
    for schema, told in ((PipelineConfig, ["paths.data=d"]), (StudyConfig, ["paths.data=/data"])):
        primary = "pipeline" if schema is PipelineConfig else "study"
        with pytest.raises(UsageError, match=r"^paths\.(data|runs) \(\w+\) is relative, and "):
            compose_config(primary, schema, told)


def test_settings_of_what_reads_the_settings_are_none() -> None:
    for key in ("hydra.run.dir", "hydra/job_logging"):
        assert refusal(f"{key}=x") == f"{key} is not a setting of this project's"


def test_settings_are_changed_not_added_or_removed() -> None:
    for override in ("+training.momentum=0.9", "++seed=1", "~training.patience=3"):
        assert refusal(override).startswith(f"{override}: settings can be changed, not added")


@pytest.mark.parametrize("argument", ["corpus", "", "training.patience", "study.yaml"])
def test_what_has_no_equals_sign_is_refused_with_an_example(argument: str) -> None:
    assert refusal(argument) == (
        f"{argument} is not a setting: settings are written key=value, e.g. corpus=synthetic"
    )


@pytest.mark.parametrize(
    "override",
    ["=3", "corpus=null", "corpus=3", "corpus.root=[1", "corpus.root=a b=c", "paths=null", "vad=1"],
)
def test_what_hydra_cannot_read_is_refused_in_a_line_that_names_it(override: str) -> None:
    assert (override.split("=")[0] or override) in refusal(override)


def test_the_message_shows_the_value_that_counts_the_last_one() -> None:
    assert refusal("seed=1", "seed=x").startswith("seed (x): ")


def digest(*overrides: str) -> str:
    return digest_of(settings_of(compose(*overrides)))


@pytest.mark.parametrize(
    "override",
    [
        "paths.data=/elsewhere",
        "paths.runs=/elsewhere",
        "name=mine",
        "seed=5",
        "preprocess.workers=3",
        "preprocess.time_limit_s=5",
        "preprocess.clips_per_child=7",
        "faces.model_dir=/models",
        "cluster.cpus=1",
        "cluster.trial_cpus=2",
        "training.patience=2",
        "model.lstm_hidden=9",
        "fusion.attention_size=5",
    ],
)
def test_shards_do_not_depend_on_places_workers_time_limits_or_training(override: str) -> None:
    assert compose(override) != compose()
    assert digest(override) == digest()


@pytest.mark.parametrize(
    "override",
    [
        "vad=off",
        "faces=yunet",
        "segments.even=true",
        "segments.short=drop",
        "preprocess.max_seconds=30",
        "preprocess.truncated=keep",
    ],
)
def test_shards_depend_on_what_is_computed(override: str) -> None:
    assert digest(override) != digest()


@pytest.mark.parametrize("group", ["vad", "mfcc", "faces"])
def test_shards_depend_on_every_single_number_of_the_arithmetic(group: str) -> None:
    config = compose()
    of_group: VadConfig | MfccConfig | FacesConfig = getattr(config, group)
    known = {digest_of(settings_of(config))}
    values = {
        key: value * 1.01 if isinstance(value, float) else value + 1
        for key, value in leaves(of_group)
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    values["high_hz"] = 7000.0
    values["coefficients"] = 60
    values = {key: value for key, value in values.items() if hasattr(of_group, key)}
    values = {key: 0.01 if value == 0 else value for key, value in values.items()}
    assert len(values) >= 5
    for key, value in values.items():
        changed = replace(config, **{group: replace(of_group, **{key: value})})  # type: ignore[arg-type]
        known.add(digest_of(settings_of(changed)))
    assert len(known) == len(values) + 1


@pytest.mark.parametrize("overrides", [[], ["faces=yunet", "vad=off"], ["profile=paper"]])
def test_preprocessing_takes_the_settings_that_everything_else_takes(overrides: list[str]) -> None:
    alone = to_plain(compose_config("preprocess", PreprocessingRun, overrides))
    assert alone.pop("dry_run") is False
    assert alone == to_plain(compose_config("pipeline", PipelineConfig, overrides))
