"""What a search may vary: settings by name, each with its choices or its range."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from harness.config import WITHOUT_EFFECT, StudyConfig
from harness.searching.config import SearchStudyConfig
from pipelines.config import make_paths_absolute, resolve, settings_of
from pipelines.errors import UsageError, require

Value = bool | int | float | str | None
Space = dict[str, BaseDistribution]
SEARCHED = (
    "model",
    "fusion",
    "training",
    "features",
    "vad",
    "mfcc",
    "faces",
    "segments",
    "preprocess",
)
"""Groups of settings that decide a prediction and nothing about how it is judged."""
ConfigT = TypeVar("ConfigT", bound=StudyConfig)


def space_of(config: SearchStudyConfig) -> Space:
    """Return the search space of a configuration, each of its ends tried on it.

    Raises:
        UsageError: a setting is not there, is not for a search, or can't take a value of its range.
    """
    told = {name: how for name, how in config.search.space.items() if how is not None}
    require(
        bool(told),
        "search.space names nothing to vary: use search=default, or name settings, as in "
        "'search.space={model.lstm_hidden: {choices: [64, 128]}}'",
    )
    space = {name: _distribution(name, how, config) for name, how in told.items()}
    for name, distribution in space.items():
        for value in _ends(distribution):
            with_settings(config, {name: value})
    return space


def as_told(config: SearchStudyConfig, overrides: Sequence[str]) -> SearchStudyConfig:
    """Return the configuration with each entry of the space as the command line has it, whole.

    Hydra would merge it into the file's: a range would keep the choices that it stands for.
    """
    space = dict(config.search.space)
    for override in overrides:
        if override.startswith("search.space="):
            told = OverridesParser.create().parse_override(override).value()
            if not isinstance(told, dict):
                raise UsageError(
                    f"search.space ({told}) must be {{setting: {{choices: [...]}}, ...}}"
                )
            space |= {str(name): how for name, how in told.items()}
    return replace(config, search=replace(config.search, space=space))


def with_settings(config: ConfigT, values: Mapping[str, Value]) -> ConfigT:
    """Return the configuration with other values of some settings, checked as all settings are.

    Raises:
        UsageError: a value is of the wrong type or out of range, named with its setting.
    """
    changed: dict[str, Any] = {}
    for group in sorted({name.partition(".")[0] for name in values}):
        node = OmegaConf.structured(getattr(config, group))
        for name, value in values.items():
            if name.startswith(f"{group}."):
                _set(node, name, value)
        changed[group] = _group(node)
    new = replace(config, **changed)
    make_paths_absolute(new)
    resolve(new)
    return new


def _set(node: Any, name: str, value: Value) -> None:
    try:
        OmegaConf.update(node, name.partition(".")[2], value)
    except OmegaConfBaseException as error:
        raise UsageError(f"search.space: {name} ({value}): {str(error).splitlines()[0]}") from error


def _group(node: Any) -> Any:
    try:
        return OmegaConf.to_object(node)
    except UsageError as error:
        raise UsageError(f"search.space: {error}") from error


def _distribution(name: str, how: Any, config: StudyConfig) -> BaseDistribution:
    kind = _type_of(name, config)
    require(
        isinstance(how, Mapping)
        and (set(how) == {"choices"} or {"low", "high"} <= set(how) <= {*_RANGE, "low", "high"}),
        f"search.space: {name} ({how}) must be {{choices: [...]}} or {{low: ..., high: ...}}, the "
        "latter with log: true or step: ... if you like",
    )
    try:
        if "choices" in how:
            return CategoricalDistribution(_choices(name, how["choices"]))
        return _range(name, how, kind)
    except (ValueError, TypeError) as error:
        raise UsageError(f"search.space: {name} ({how}): {error}") from error


_RANGE = ("log", "step")


def _choices(name: str, choices: Any) -> list[Value]:
    plain = isinstance(choices, list) and all(isinstance(value, Value) for value in choices)
    require(
        plain and len(choices) > 0,
        f"search.space: {name}: choices ({choices}) must be a list of numbers, words or null",
    )
    require(
        len({str(value) for value in choices}) == len(choices),
        f"search.space: {name}: choices ({choices}) name a value twice",
    )
    return list(choices)


def _range(name: str, how: Mapping[str, Any], kind: type) -> BaseDistribution:
    numbers = [how[key] for key in ("low", "high", "step") if how.get(key) is not None]
    require(
        kind in (int, float) and all(type(number) in (int, float) for number in numbers),
        f"search.space: {name} ({dict(how)}): a range needs numbers, and a setting that is one; "
        "otherwise give choices",
    )
    low, high, step, log = how["low"], how["high"], how.get("step"), bool(how.get("log"))
    require(low < high, f"search.space: {name}: low ({low}) must be below high ({high})")
    if step is not None:
        steps = (high - low) / step if step > 0 else 0.0
        require(
            steps >= 1 and abs(steps - round(steps)) < 1e-9,
            f"search.space: {name}: step ({step}) must lead from low ({low}) to high ({high})",
        )
    if kind is float:
        return FloatDistribution(low, high, log=log, step=step)
    require(
        all(float(number).is_integer() for number in numbers),
        f"search.space: {name} ({dict(how)}) is a whole number: so must its range be",
    )
    return IntDistribution(int(low), int(high), log=log, step=int(step or 1))


def _type_of(name: str, config: StudyConfig) -> type:
    """Return the type of a setting that may be searched."""
    group, _, setting = name.partition(".")
    require(
        group in SEARCHED,
        f"search.space: {name} is not for a search, which may vary {', '.join(SEARCHED)}: set it "
        "for all trials",
    )
    holder = getattr(config, group)
    known = [entry.name for entry in fields(holder)]
    close = difflib.get_close_matches(setting, known, n=1)
    hint = f"did you mean {group}.{close[0]}?" if close else "see --help for the settings"
    require(setting in known, f"search.space: {name} is not a setting: {hint}")
    counts = settings_of(config)
    # What preprocessing leaves out of the shards' digest decides nothing of what is in them.
    without = {"faces": set(known) - set(counts["faces"]), "preprocess": set(known) - set(counts)}
    require(
        setting not in {*without.get(group, ()), *WITHOUT_EFFECT.get(group, ())},
        f"search.space: {name} changes no result: set it for all trials",
    )
    hint_of = get_type_hints(type(holder))[setting]
    if get_origin(hint_of) in (types.UnionType, Union):
        (hint_of,) = (part for part in get_args(hint_of) if part is not type(None))
    return hint_of if isinstance(hint_of, type) else str


def _ends(distribution: BaseDistribution) -> list[Value]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution | FloatDistribution):
        return [distribution.low, distribution.high]
    raise TypeError(f"{distribution} is not of a search space")
