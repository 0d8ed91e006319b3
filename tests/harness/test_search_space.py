"""What may be searched, and what is refused before any work."""

from __future__ import annotations

import math
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from harness.searching.config import SearchStudyConfig
from harness.searching.space import as_told, space_of, with_settings
from pipelines.config import compose_config
from pipelines.errors import UsageError


@pytest.fixture(scope="module")
def config() -> SearchStudyConfig:
    return compose_config("search", SearchStudyConfig, [])


def searching(config: SearchStudyConfig, **space: Any) -> SearchStudyConfig:
    config.search.space = {name.replace("__", "."): how for name, how in space.items()}
    return config


def test_choices_and_ranges_become_distributions_of_the_settings_own_type(
    config: SearchStudyConfig,
) -> None:
    space = space_of(
        searching(
            config,
            model__lstm_hidden={"low": 32, "high": 512, "log": True},
            training__patience={"low": 2, "high": 10, "step": 4},
            training__segments_per_clip={"low": 1, "high": 4},
            model__dropout={"low": 0, "high": 0.5},
            vad__enabled={"choices": [True, False]},
            mfcc__coefficients=None,
        )
    )
    assert space == {
        "model.lstm_hidden": IntDistribution(32, 512, log=True),
        "training.patience": IntDistribution(2, 10, step=4),
        "training.segments_per_clip": IntDistribution(1, 4),
        "model.dropout": FloatDistribution(0.0, 0.5),
        "vad.enabled": CategoricalDistribution([True, False]),
    }


def test_the_searches_that_come_with_it_are_in_order() -> None:
    for name in ("default", "demo"):
        chosen = compose_config("search", SearchStudyConfig, [f"search={name}"])
        assert {"model.lstm_hidden", "fusion.attend_over", "fusion.attention_size"} <= set(
            space_of(chosen)
        )
        dropout, rate = (space_of(chosen)[n] for n in ("model.dropout", "training.head_rate"))
        assert isinstance(dropout, FloatDistribution)
        assert isinstance(rate, FloatDistribution)
        assert rate.log
        assert math.isclose(dropout.low, 0.0)


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("corpus.root", {"choices": ["/a"]}, "corpus.root is not for a search"),
        ("protocol.folds", {"low": 2, "high": 5}, "protocol.folds is not for a search"),
        ("cluster.trial_cpus", {"choices": [1, 2]}, "cluster.trial_cpus is not for a search"),
        ("paths.data", {"choices": ["/a"]}, "paths.data is not for a search"),
        ("seed", {"choices": [1, 2]}, "seed is not for a search"),
        ("search.trials", {"choices": [1, 2]}, "search.trials is not for a search"),
        ("model", {"choices": ["small"]}, "model is not a setting"),
        ("model.lstm_hiden", {"choices": [1]}, "did you mean model.lstm_hidden?"),
        ("training.cache_mb", {"choices": [1, 2]}, "training.cache_mb changes no result"),
        ("faces.model_dir", {"choices": ["/a"]}, "faces.model_dir changes no result"),
        ("preprocess.workers", {"choices": [1, 2]}, "preprocess.workers changes no result"),
        ("model.dropout", {"low": 0.0, "high": 1.0}, r"model.dropout \(1.0\) must be in \[0, 1\)"),
        ("model.lstm_hidden", {"choices": [0, 4]}, r"model.lstm_hidden \(0\) must be at least 1"),
        ("model.lstm_hidden", {"choices": [0.5]}, r"model.lstm_hidden \(0.5\): .*Integer"),
        ("model.lstm_hidden", {"low": 1.5, "high": 4}, "is a whole number"),
        ("model.dropout", {"low": 0.5, "high": 0.1}, r"low \(0.5\) must be below high \(0.1\)"),
        ("model.dropout", {"low": 0.0, "high": 0.5, "step": 0.2}, r"step \(0.2\) must lead"),
        ("training.head_rate", {"low": 0.0, "high": 0.1, "log": True}, "training.head_rate"),
        ("model.backbone", {"low": 1, "high": 2}, "a range needs numbers"),
        ("fusion.attend_over", {"choices": ["concat", "all"]}, r"fusion.attend_over \(all\)"),
        ("model.dropout", {"choices": []}, r"choices \(\[\]\) must be a list"),
        ("model.dropout", {"choices": [0.1, 0.1]}, "name a value twice"),
        ("model.dropout", {"low": 0.1}, "must be {choices"),
        ("model.dropout", {"low": 0.1, "hihg": 0.2}, "must be {choices"),
        ("model.dropout", 0.1, "must be {choices"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_name(
    config: SearchStudyConfig, name: str, how: Any, said: str
) -> None:
    config.search.space = {name: how}
    with pytest.raises(UsageError, match=said) as refused:
        space_of(config)
    assert "\n" not in str(refused.value)


def test_nothing_to_vary_is_refused(config: SearchStudyConfig) -> None:
    with pytest.raises(UsageError, match=r"search\.space names nothing to vary"):
        space_of(searching(config, model__dropout=None))


def test_settings_are_changed_beside_each_other_and_nothing_else(
    config: SearchStudyConfig,
) -> None:
    changed = with_settings(config, {"model.dropout": 0.125, "training.head_rate": 0.5})
    assert (changed.model.dropout, changed.training.head_rate) == (0.125, 0.5)
    assert changed.model.lstm_hidden == config.model.lstm_hidden
    assert (changed.fusion, changed.vad, changed.protocol) == (
        config.fusion,
        config.vad,
        config.protocol,
    )
    assert config.model.dropout != 0.125


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("search.trials=0", r"search\.trials \(0\) must be at least 1"),
        ("search.metric=f1", r"search\.metric \(f1\) must be one of: uar, accuracy"),
        ("search.halving.eta=1", r"search\.halving\.eta \(1\) must be at least 2"),
        ("search.halving.rungs={text: [1]}", r"search\.halving\.rungs \(text\) must be one of"),
        ("search.trails=3", r"search\.trails is not a setting: did you mean search\.trials"),
    ],
)
def test_settings_of_the_search_are_refused_by_name(override: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        compose_config("search", SearchStudyConfig, [override])


def test_an_entry_of_the_command_line_stands_whole_in_place_of_the_files() -> None:
    entries = "model.lstm_hidden: {low: 16, high: 64}, training.head_rate: {low: 1e-3, high: 1e-2}"
    told = [f"search.space={{{entries}}}"]
    space = space_of(as_told(compose_config("search", SearchStudyConfig, told), told))
    assert space["model.lstm_hidden"] == IntDistribution(16, 64)
    assert space["training.head_rate"] == FloatDistribution(0.001, 0.01)
    assert "fusion.attention_size" in space
