"""How often the 95 % intervals cover the truth, on studies drawn from known accuracies.

Every subject has an accuracy of his own, drawn from a beta distribution; clips are recognised with
it. What the intervals should cover is the mean of that distribution: how well the system works on
people it has never seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from harness.statistics import Interval, cluster_bootstrap, t_interval, wilson_interval
from pipelines.split_task import seed_for

STUDIES = 4000
RESAMPLES = 2000
"""Of the bootstrap: a fifth of a study's, for the time it takes."""
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Population:
    """People, and how well they are recognised."""

    subjects: int
    clips: int
    """Of each."""
    accuracy: float
    spread: float
    """Standard deviation between people."""

    def draw(self, random: np.random.Generator) -> Counts:
        """Return the clips recognised of each subject of a study."""
        both = self.accuracy * (1 - self.accuracy) / self.spread**2 - 1
        each = random.beta(self.accuracy * both, (1 - self.accuracy) * both, self.subjects)
        return random.binomial(self.clips, each)


POPULATIONS = tuple(
    Population(subjects, clips, accuracy, spread)
    for subjects, clips in ((8, 90), (42, 28))  # RML and eNTERFACE'05
    for accuracy, spread in ((0.6, 0.15), (0.95, 0.05))
)


def run() -> dict[str, Any]:
    """Draw studies of each population and count the intervals that hold the true accuracy."""
    return {
        "work": f"{STUDIES} studies of each population; the bootstrap with {RESAMPLES} resamples",
        "repeats": STUDIES,
        "rows": [coverage(population) for population in POPULATIONS],
    }


def coverage(population: Population, studies: int = STUDIES) -> dict[str, Any]:
    """Return the share of studies whose intervals cover, and how wide they are in the median."""
    random = np.random.default_rng(seed_for(0, "coverage", str(population)))
    clips = [population.clips] * population.subjects
    kinds: dict[str, Callable[[Counts, int], Interval]] = {
        "t over subjects": lambda right, _: t_interval((right / population.clips).tolist()),
        "bootstrap of subjects": lambda right, study: cluster_bootstrap(
            right.tolist(), clips, seed=study, resamples=RESAMPLES
        ),
        "Wilson, ignores subjects": lambda right, _: wilson_interval(int(right.sum()), sum(clips)),
    }
    intervals: dict[str, list[Interval]] = {kind: [] for kind in kinds}
    for study in range(studies):
        right = population.draw(random)
        for kind, of in kinds.items():
            intervals[kind].append(of(right, study))
    found = {}
    for kind, each in intervals.items():
        covered = sum(one.low <= population.accuracy <= one.high for one in each)
        exact = stats.binomtest(covered, studies).proportion_ci(0.95, method="exact")
        found[kind] = {
            "covered": covered / studies,
            "covered_low": round(float(exact.low), 4),
            "covered_high": round(float(exact.high), 4),
            "median_width": round(float(np.median([one.high - one.low for one in each])), 4),
        }
    return {
        "subjects": population.subjects,
        "clips_a_subject": population.clips,
        "accuracy": population.accuracy,
        "spread": population.spread,
        "intervals": found,
    }
