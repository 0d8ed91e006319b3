"""What the searches came to: each choice, how stable they are, and how far they flatter."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from harness.search_space import Space, Value
from harness.split_search import SplitSearch, name_of
from pipelines.split_task import seed_for

RESAMPLES = 2000
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the search for one outer split chose."""

    split_id: str
    held_out: str
    trial: int | None
    """Number of the trial, from 1; None: none came to its end."""
    settings: Mapping[str, Value]
    inner_best: float | None
    optimism: float | None
    """Of `inner_best`, for it is the best of several; see `optimism_of_choosing`."""
    outer: float | None = None
    """The same metric over the clips that the outer split tests."""
    complete: int
    """Trials that came to their end."""
    halted: int
    failed: int

    @property
    def gap(self) -> float | None:
        """How much more the search promised than came out."""
        if self.inner_best is None or self.outer is None:
            return None
        return self.inner_best - self.outer


def choice_of(search: SplitSearch, outer: float | None = None) -> Choice:
    """Return what a search that has ended chose."""
    states = Counter(trial.state for trial in search.trials)
    best = search.best
    return Choice(
        split_id=search.outer.split_id,
        held_out=search.outer.held_out,
        trial=None if best is None else best.number + 1,
        settings={} if best is None else dict(best.params),
        inner_best=None if best is None else best.value,
        optimism=None if best is None else _optimism(search, best),
        outer=outer,
        complete=states[TrialState.COMPLETE],
        halted=states[TrialState.PRUNED],
        failed=states[TrialState.FAIL],
    )


def _optimism(search: SplitSearch, best: FrozenTrial) -> float | None:
    complete = [trial for trial in search.trials if trial.state == TrialState.COMPLETE]
    each = [search.predictions(name_of(trial)) for trial in complete]
    return optimism_of_choosing(
        each[0][0],
        [predicted for _, predicted in each],
        search.config.search.metric,
        seed_for(search.config.seed, "optimism", search.outer.split_id),
    )


def optimism_of_choosing(
    true: Sequence[str], predicted: Sequence[Sequence[str]], metric: str, seed: int
) -> float | None:
    """Return by how much the best of several trials flatters itself on the clips it was chosen by.

    Bootstrap over clips (BBC-CV, Tsamardinos et al. 2018): the trial that is best on the clips
    drawn is scored on those that were not, and again. By what the best of all falls short of itself
    there, on average, is what choosing adds. Clips are taken to be independent, which those of a
    subject are not: the true figure may be larger.

    Args:
        true: label of each clip.
        predicted: for each trial, its label of each clip.
        metric: `uar` or `accuracy`.
        seed: of the drawing.

    Returns:
        None where there are too few clips to leave any out.
    """
    labels = np.asarray(true)
    right = np.asarray([np.asarray(row) == labels for row in predicted])
    classes = np.asarray([labels == label for label in sorted(set(true))])
    if metric == "accuracy":
        classes = np.ones((1, len(labels)), bool)
    draws = np.random.default_rng(seed).integers(len(labels), size=(RESAMPLES, len(labels)))
    drawn = np.zeros((RESAMPLES, len(labels)))
    np.add.at(drawn, (np.arange(RESAMPLES)[:, None], draws), 1.0)
    kept = (drawn == 0).any(axis=1)
    if not kept.any():
        return None
    chosen = _recalls(right, classes, drawn[kept]).argmax(axis=0)
    outside = _recalls(right, classes, (drawn[kept] == 0).astype(float))
    best = _recalls(right, classes, np.ones((1, len(labels)))).max()
    return float(best - outside[chosen, np.arange(len(chosen))].mean())


def _recalls(right: Bools, classes: Bools, weights: Floats) -> Floats:
    """Return [trials, resamples]: mean recall over the classes that a resample shows."""
    recalls = []
    for members in classes:
        shown = weights[:, members].sum(axis=1)
        hits = right[:, members].astype(float) @ weights[:, members].T
        recalls.append(np.divide(hits, shown, out=np.full(hits.shape, np.nan), where=shown > 0))
    return np.asarray(np.nanmean(recalls, axis=0), dtype=np.float64)


def stability_of(choices: Sequence[Choice], space: Space) -> dict[str, dict[str, Any]]:
    """Return for each setting what was chosen how often, or its range and median."""
    found = [choice.settings for choice in choices if choice.settings]
    if not found:
        return {}
    return {name: _stability(space[name], [of[name] for of in found]) for name in space}


def _stability(distribution: BaseDistribution, values: Sequence[Value]) -> dict[str, Any]:
    if isinstance(distribution, CategoricalDistribution):
        counts = Counter("null" if value is None else str(value) for value in values)
        return {"chosen": dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))}
    numbers = sorted(float(value) for value in values if value is not None)
    return {"low": numbers[0], "median": statistics.median(numbers), "high": numbers[-1]}


def gap_of(choices: Sequence[Choice], complete: bool) -> dict[str, float | None]:
    """Return means over the outer splits; none where a split is missing."""
    columns: dict[str, list[float | None]] = {
        "inner_best": [choice.inner_best for choice in choices],
        "outer": [choice.outer for choice in choices],
        "gap": [choice.gap for choice in choices],
        "optimism": [choice.optimism for choice in choices],
    }
    return {name: _mean(values) if complete else None for name, values in columns.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if values and len(there) == len(values) else None


def plain(choice: Choice) -> dict[str, Any]:
    """Return a choice as it stands in summary.json."""
    return {**asdict(choice), "gap": choice.gap}
