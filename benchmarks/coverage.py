"""How often nominal 95 % intervals cover the truth, on studies drawn from known accuracies.

Every subject has an accuracy of his own, drawn from a beta distribution; clips are recognised with
it. What the intervals should cover is the mean of that distribution: how well the system works on
people it has never seen. For the difference of two systems on the same clips each subject has two
accuracies, which go together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from harness.statistics import (
    Interval,
    cluster_bootstrap,
    paired_bootstrap,
    paired_t_interval,
    t_interval,
    wilson_interval,
)
from pipelines.split_task import seed_for

STUDIES = 4000
RESAMPLES = 2000
"""Of the bootstrap: a fifth of a study's, for the time it takes."""
TOGETHER = 0.8
"""Correlation, as normal scores, of how well two systems recognise the same person."""
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
        each = _beta(self.accuracy, self.spread).rvs(self.subjects, random_state=random)
        recognised: Counts = random.binomial(self.clips, each)
        return recognised

    def draw_pair(self, gain: float, random: np.random.Generator) -> tuple[Counts, Counts]:
        """Return the clips recognised of each subject by two systems, the second the better one.

        Args:
            gain: of the second system, in the mean over people.
            random: where draws come from.
        """
        covariance = [[1.0, TOGETHER], [TOGETHER, 1.0]]
        drawn = random.multivariate_normal([0.0, 0.0], covariance, self.subjects)
        ranks = stats.norm.cdf(drawn)
        first = _beta(self.accuracy, self.spread).ppf(ranks[:, 0])
        second = _beta(self.accuracy + gain, self.spread).ppf(ranks[:, 1])
        return random.binomial(self.clips, first), random.binomial(self.clips, second)


def _beta(mean: float, deviation: float) -> Any:
    both = mean * (1 - mean) / deviation**2 - 1
    return stats.beta(mean * both, (1 - mean) * both)


POPULATIONS = tuple(
    Population(subjects, clips, accuracy, spread)
    for subjects, clips in ((8, 90), (42, 28))  # RML and eNTERFACE'05
    for accuracy, spread in ((0.6, 0.15), (0.95, 0.05))
)


GAINS = {0.6: 0.05, 0.95: 0.02}
"""Accuracy of a system -> what the one that it is compared with is better by."""


def run() -> dict[str, Any]:
    """Draw studies of each population and count the intervals that hold the true accuracy."""
    return _result([coverage(population) for population in POPULATIONS])


def run_differences() -> dict[str, Any]:
    """Draw pairs of studies and count the intervals that hold the true difference."""
    return _result([coverage_of_difference(population) for population in POPULATIONS])


def _result(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "work": f"{STUDIES} studies of each population; the bootstrap with {RESAMPLES} resamples",
        "repeats": STUDIES,
        "rows": rows,
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
    return {**vars(population), "intervals": _covered(intervals, population.accuracy)}


def coverage_of_difference(population: Population, studies: int = STUDIES) -> dict[str, Any]:
    """Return the share of pairs of studies whose intervals cover the true difference."""
    gain = GAINS[population.accuracy]
    random = np.random.default_rng(seed_for(0, "difference", str(population)))
    clips = [population.clips] * population.subjects
    intervals: dict[str, list[Interval]] = {"t over subjects": [], "bootstrap of subjects": []}
    for study in range(studies):
        a, b = population.draw_pair(gain, random)
        shares = (a / population.clips).tolist(), (b / population.clips).tolist()
        intervals["t over subjects"].append(paired_t_interval(*shares))
        intervals["bootstrap of subjects"].append(
            paired_bootstrap(a.tolist(), b.tolist(), clips, seed=study, resamples=RESAMPLES)
        )
    return {**vars(population), "gain": gain, "intervals": _covered(intervals, gain)}


def _covered(intervals: dict[str, list[Interval]], truth: float) -> dict[str, Any]:
    found = {}
    for kind, each in intervals.items():
        covered = sum(one.low <= truth <= one.high for one in each)
        exact = stats.binomtest(covered, len(each)).proportion_ci(0.95, method="exact")
        found[kind] = {
            "covered": covered / len(each),
            "covered_low": round(float(exact.low), 4),
            "covered_high": round(float(exact.high), 4),
            "median_width": round(float(np.median([one.high - one.low for one in each])), 4),
        }
    return found
