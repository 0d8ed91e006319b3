"""What a search says at its end, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.tracking import Tracker

NO_TEST = "inner validation, not a test score"
"""Stands wherever the figures of a plain search do."""
METRIC_NAMES = {"uar": "UAR", "accuracy": "accuracy"}


def print_nested(section: Mapping[str, Any]) -> None:
    """Print each outer split's choice, how stable the choices are, and the gap."""
    console = _console()
    console.print(_choices(section))
    _print_stability(console, section)
    gap = section["gap"]
    if gap is not None:
        console.print(
            f"inner best {_percent(section['inner_best'])}, outer {_percent(section['outer'])}: "
            f"the search promised {100 * gap:+.1f} points ({_optimism(section)})\n",
            markup=False,
        )


def print_plain(summary: Mapping[str, Any], folder: Path, tracker: Tracker) -> None:
    """Print what a plain search found, and that nothing was tested."""
    console, section = _console(), summary["search"]
    metric = METRIC_NAMES[section["metric"]]
    console.print(f"plain search on {summary['corpus']}: {NO_TEST}", style="bold", markup=False)
    for choice in section["splits"]:
        if choice["trial"] is not None:
            console.print(
                f"inner best {metric}  {_percent(choice['inner_best'])}  (trial "
                f"{choice['trial']} of {_trials(choice)}; {_optimism(section)})",
                markup=False,
            )
            settings = " ".join(f"{k}={_value(v)}" for k, v in choice["settings"].items())
            console.print(f"settings        {settings}", markup=False)
    for warning in summary["warnings"]:
        console.print(f"warning: {warning}", markup=False)
    console.print(f"\nrun folder: {folder}", markup=False)
    for line in tracker.browse_lines():
        console.print(line, markup=False)


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _choices(section: Mapping[str, Any]) -> Table:
    title = (
        f"nested search: {section['trials']} trials for each outer split, "
        f"{section['inner_splits']} inner splits"
    )
    table = Table(title=title, title_justify="left", title_style="bold")
    metric = METRIC_NAMES[section["metric"]]
    table.add_column("outer split")
    table.add_column("choice", overflow="fold")
    for heading in (f"inner best {metric}", f"outer {metric}", "gap"):
        table.add_column(heading, justify="right")
    for choice in section["splits"]:
        settings = "\n".join(f"{k}={_value(v)}" for k, v in choice["settings"].items())
        table.add_row(
            choice["split_id"],
            settings or "none: no trial came to its end",
            _percent(choice["inner_best"]),
            _percent(choice["outer"]),
            "" if choice["gap"] is None else f"{100 * choice['gap']:+.1f}",
        )
    return table


def _print_stability(console: Console, section: Mapping[str, Any]) -> None:
    outer = sum(choice["trial"] is not None for choice in section["splits"])
    console.print(f"stability of the choices over {outer} outer splits", markup=False)
    for name, told in section["stability"].items():
        if "chosen" in told:
            words = ", ".join(f"{value} ({count}x)" for value, count in told["chosen"].items())
        else:
            low, median, high = (_value(told[key]) for key in ("low", "median", "high"))
            words = f"{low} to {high}, median {median}"
        console.print(f"  {name}: {words}", markup=False)


def _trials(choice: Mapping[str, Any]) -> str:
    """Return how the trials of a search ended."""
    words = [f"{choice['complete'] + choice['halted'] + choice['failed']}"]
    words += [f"{choice[key]} {key}" for key in ("halted", "failed") if choice[key]]
    return ", ".join(words)


def _optimism(section: Mapping[str, Any]) -> str:
    if section["optimism"] is None:
        return "too few clips to say how much of it is the choosing"
    return f"choosing the best adds {100 * section['optimism']:.1f} by a bootstrap over clips"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "null" if value is None else str(value)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
