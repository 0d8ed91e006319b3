"""What studies got right, and whether that is chance or far above it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from scipy import stats

from harness.statistics import t_interval

CHANCE = 1 / 6
MARGIN = 0.1
"""Far above chance is an interval that lies wholly above chance and this much more."""
LEVEL = 0.999


@dataclass(frozen=True)
class Finding:
    """Which clips the studies of one kind got right, by seed and clip id."""

    hits: Mapping[tuple[int, str], bool]

    @property
    def right(self) -> int:
        return sum(self.hits.values())

    @property
    def interval(self) -> tuple[float, float]:
        return exact_interval(self.right, len(self.hits))

    @property
    def is_far_above_chance(self) -> bool:
        return self.interval[0] > CHANCE + MARGIN

    @property
    def is_at_chance(self) -> bool:
        low, high = self.interval
        return low <= CHANCE <= high

    def difference(self, other: Finding) -> tuple[float, float]:
        """Return the interval of the share by which this is better, over the same clips.

        Clips on which both are right, or both wrong, tell nothing: of the others, the share that
        this one got right has an exact interval.
        """
        assert self.hits.keys() == other.hits.keys()
        differing = [hit for clip, hit in self.hits.items() if hit != other.hits[clip]]
        if not differing:
            return 0.0, 0.0
        part = len(differing) / len(self.hits)
        low, high = exact_interval(sum(differing), len(differing))
        return part * (2 * low - 1), part * (2 * high - 1)

    def __str__(self) -> str:
        of_seed: defaultdict[int, int] = defaultdict(int)
        of_person: defaultdict[tuple[int, str], list[bool]] = defaultdict(list)
        for (seed, clip_id), hit in self.hits.items():
            of_seed[seed] += hit
            of_person[seed, clip_id.partition("/")[0]].append(hit)
        low, high = self.interval
        people = t_interval([sum(hits) / len(hits) for hits in of_person.values()], LEVEL)
        return (
            f"{self.right} of {len(self.hits)} right (by seed {dict(of_seed)}), "
            f"interval over clips {low:.3f} to {high:.3f}, over {len(of_person)} persons "
            f"{people.low:.3f} to {people.high:.3f}"
        )


def exact_interval(right: int, of: int) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson for a share."""
    interval = stats.binomtest(right, of).proportion_ci(LEVEL, method="exact")
    return float(interval.low), float(interval.high)


def hits_of(folder: Path, seed: int) -> dict[tuple[int, str], bool]:
    """Return whether a finished study recognised each clip, by seed and clip id."""
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    hits = {(seed, row["clip_id"]): row["predicted"] == row["emotion"] for row in rows}
    assert len(hits) == len(rows), "a clip was tested twice"
    return hits
