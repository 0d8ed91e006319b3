"""A against B on the same work: alternated in one run, results compared each time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


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
    seconds: dict[str, list[float]] = {"a": [], "b": []}
    results: list[object] = []
    for repeat in range(repeats):
        pair = [("a", a), ("b", b)]
        for name, run in pair if repeat % 2 == 0 else reversed(pair):
            begun = time.perf_counter()
            results.append(run())
            seconds[name].append(time.perf_counter() - begun)
    ratios = [b_s / a_s for a_s, b_s in zip(seconds["a"], seconds["b"], strict=True)]
    return {
        "repeats": repeats,
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "seconds_a_median": round(statistics.median(seconds["a"]), 3),
        "seconds_b_median": round(statistics.median(seconds["b"]), 3),
        "equal": all(result == results[0] for result in results),
        "tolerance": 0,
    }
