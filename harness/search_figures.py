"""Pictures of a search: its history, which settings mattered, and what was tried together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from harness.search_trials import merged
from pipelines.storage import write_whole

FIGURES = ("search_history", "search_importance", "search_parallel")


def draw_search(histories: Sequence[Sequence[FrozenTrial]], metric: str, folder: Path) -> list[str]:
    """Draw the trials of all outer splits; return the names of the pictures that there are.

    Settings have no importance, and are not compared, where all trials came to the same score.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from optuna.visualization import matplotlib as pictures

    name = f"inner {'UAR' if metric == 'uar' else 'accuracy'}"
    every = merged(histories)
    complete = every.get_trials(states=(TrialState.COMPLETE,))
    drawn: list[str] = []

    def draw(figure: str, picture: Callable[[], Any], title: str) -> None:
        axes = picture()
        axes.set_title("", loc="left")
        axes.set_title(title)
        axes.figure.set_size_inches(9, 6)
        write_whole(
            folder / f"{figure}.png",
            lambda path: axes.figure.savefig(path, format="png", dpi=120, bbox_inches="tight"),
        )
        plt.close("all")
        drawn.append(figure)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if complete:
            draw(
                FIGURES[0],
                lambda: _history(pictures, [merged([each]) for each in histories], name),
                f"{name} of the trials, mean over {len(histories)} outer splits"
                if len(histories) > 1
                else f"{name} of the trials",
            )
        if len({trial.value for trial in complete}) > 1:
            draw(FIGURES[1], lambda: _importance(pictures, every, name), f"what moved the {name}")
            draw(
                FIGURES[2],
                lambda: pictures.plot_parallel_coordinate(every, target_name=name),
                f"{name} by settings, all trials",
            )
    return drawn


def _history(pictures: Any, searches: Sequence[optuna.Study], name: str) -> Any:
    from matplotlib.ticker import MaxNLocator

    axes = pictures.plot_optimization_history(
        searches, target_name=name, error_bar=len(searches) > 1
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return axes


def _importance(pictures: Any, every: optuna.Study, name: str) -> Any:
    return pictures.plot_param_importances(
        every, evaluator=FanovaImportanceEvaluator(seed=0), target_name=name
    )
