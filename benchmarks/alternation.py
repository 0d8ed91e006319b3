"""A against B on the same work: alternated in one run, results compared each time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def alternate(
    a: Callable[[], object], b: Callable[[], object], *, repeats: int = 5, warm: bool = True
) -> dict[str, Any]:
    """Time both `repeats` times in the order A B B A ..., and compare what they return.

    Args:
        a: one way to do the work.
        b: the other.
        repeats: of each.
        warm: run both once before; False where they have been.

    Returns:
        Seconds of each, how many times longer B took (median, least and most of the pairs), and
        whether all results were equal.
    """
    if warm:
        a(), b()  # imports, compiled kernels and the disk's cache are nobody's
    seconds, results = take_turns({"a": a, "b": b}, repeats=repeats)
    return {
        **ratios(seconds["a"], seconds["b"]),
        "equal": all(result == results["a"][0] for result in results["a"] + results["b"]),
        "tolerance": 0,
    }


def take_turns(
    runs: Mapping[str, Callable[[], _Result]], *, repeats: int
) -> tuple[dict[str, list[float]], dict[str, list[_Result]]]:
    """Run all `repeats` times in the order A B C C B A ...; return seconds and results of each."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    results: dict[str, list[_Result]] = {name: [] for name in runs}
    for repeat in range(repeats):
        for name in runs if repeat % 2 == 0 else reversed(list(runs)):
            begun = time.perf_counter()
            results[name].append(runs[name]())
            seconds[name].append(time.perf_counter() - begun)
    return seconds, results


def ratios(a_s: Sequence[float], b_s: Sequence[float]) -> dict[str, Any]:
    """Return how many times longer B took: median, least and most of the pairs."""
    pairs = [b / a for a, b in zip(a_s, b_s, strict=True)]
    return {
        "repeats": len(pairs),
        "ratio_median": round(statistics.median(pairs), 3),
        "ratio_min": round(min(pairs), 3),
        "ratio_max": round(max(pairs), 3),
        "seconds_a_median": round(statistics.median(a_s), 3),
        "seconds_b_median": round(statistics.median(b_s), 3),
    }
