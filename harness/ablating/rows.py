"""Rows of an ablation as configurations, each of which differs in what it names alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.ablating.config import WHOLE, AblateConfig, RowConfig
from harness.config import StudyConfig
from pipelines.config import compose_config, to_plain
from pipelines.errors import UnavailableError, UsageError, require

IN_COMMON = (
    "seed",
    "protocol",
    "corpus",
    "test_corpus",
    "paths",
    "name",
    "tracking",
    "cluster",
    "ablation",
    "profile",
)
"""Groups of settings that no row may change: it would be another study, not another system."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row, ready to be run."""

    name: str
    told: RowConfig
    config: StudyConfig | None
    """None where predictions of other rows are combined."""
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Setting -> its value in the whole system, and here."""
    problem: str = ""
    """Why there is no such system: ImageNet's weights of a network of one's own."""


def rows_of(
    config: AblateConfig, overrides: Sequence[str], done: Collection[str] = ()
) -> list[Row]:
    """Return the whole system, then the rows that are to run, in their order.

    Args:
        config: composed of the overrides.
        overrides: as the command was told; a row's own come after them.
        done: rows that earlier runs have finished: they are told with those that are asked for.

    Raises:
        UsageError: a row has a setting that there is not, or changes what it does not name or what
            is no part of the system.
    """
    whole = config.of_study()
    rows = [Row(name=WHOLE, told=RowConfig(title="the whole system"), config=whole)]
    for name, told in config.ablation.chosen(done).items():
        if told.combine:
            rows.append(Row(name=name, told=told, config=None))
            continue
        check_of_system(name, told.changes)
        try:
            own = compose_config("ablate", AblateConfig, [*overrides, *told.changes]).of_study()
        except UnavailableError as error:
            rows.append(Row(name=name, told=told, config=None, problem=str(error)))
            continue
        except UsageError as error:
            raise UsageError(f"ablation.rows.{name}: {error}") from error
        changed = differences(whole, own)
        check_named(name, changed, told.changes)
        rows.append(Row(name=name, told=told, config=own, changed=changed))
    return rows


def differences(one: StudyConfig, other: StudyConfig) -> dict[str, tuple[Any, Any]]:
    """Return dotted setting -> its values in two configurations, where these differ."""
    a, b = _flat(to_plain(one)), _flat(to_plain(other))
    return {key: (a.get(key), b.get(key)) for key in sorted(a | b) if a.get(key) != b.get(key)}


def check_named(name: str, changed: Mapping[str, Any], changes: Sequence[str]) -> None:
    """Refuse a row that changes more than it names: its difference would be of two causes.

    Raises:
        UsageError: naming the setting.
    """
    named = [change.partition("=")[0] for change in changes]
    for key in changed:
        require(
            any(key == each or key.startswith(f"{each}.") for each in named),
            f"ablation.rows.{name} changes {key} too, which it does not name: name it among its "
            "changes",
        )


def check_of_system(name: str, changes: Sequence[str]) -> None:
    """Refuse a row that changes what all rows have in common: people, splits, seeds, folders.

    Raises:
        UsageError: naming the setting.
    """
    for change in changes:
        key = change.lstrip("+~").partition("=")[0]
        require(
            re.split(r"[.@]", key)[0] not in IN_COMMON,
            f"ablation.rows.{name} changes {key}, which all rows have in common with the whole "
            "system: give it to the command itself",
        )


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            flat |= _flat(inner, f"{prefix}{key}.")
        else:
            flat[prefix + key] = inner
    return flat
