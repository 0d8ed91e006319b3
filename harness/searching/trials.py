"""What a search tries next and what it has tried: Optuna's TPE, on the trials of whole rounds.

What is proposed is a function of the trials of earlier rounds, the space and the seed, so a killed
search proposes the same again. Optuna's storage holds the trials that have ended.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.searching.space import Space, Value
from harness.sqlite_address import address_of
from pipelines.split_task import seed_for
from pipelines.storage import write_whole

MAXIMIZE = optuna.study.StudyDirection.MAXIMIZE
optuna.logging.set_verbosity(optuna.logging.ERROR)


def open_storage(path: Path) -> RDBStorage:
    """Open the file that holds the trials, made whole where there is none."""
    if not path.exists():
        write_whole(path, _make_storage)
    return RDBStorage(address_of(path))


def _make_storage(path: Path) -> None:
    storage = RDBStorage(address_of(path))
    storage.remove_session()
    storage.engine.dispose()


def propose(
    history: Sequence[FrozenTrial], space: Space, count: int, *, startup: int, seed: int
) -> list[dict[str, Value]]:
    """Return the settings of the next trials, the same for the same history, space and seed.

    Args:
        history: the trials of all earlier rounds, in order.
        space: what is varied.
        count: of trials in this round. None of them knows how the others end, but TPE keeps away
            from what is being tried.
        startup: trials that are drawn at random.
        seed: of this search.
    """
    study = optuna.create_study(direction=MAXIMIZE)
    study.add_trials(history)
    proposals = []
    for number in range(len(history), len(history) + count):
        study.sampler = TPESampler(
            seed=seed_for(seed, "trial", str(number)), n_startup_trials=startup
        )
        proposals.append(dict(study.ask(space).params))
    return proposals


def ended(
    values: Mapping[str, Value],
    space: Space,
    *,
    score: float | None = None,
    halted: tuple[int, float] | None = None,
    told: Mapping[str, Any],
) -> FrozenTrial:
    """Return a trial that has ended, as Optuna keeps it.

    Args:
        values: its settings.
        space: what they were drawn from.
        score: what it came to; None where it was given up or failed.
        halted: at which rung, counted over its inner splits, it was given up, and with which
            validation loss there.
        told: what else is kept of it.
    """
    state = TrialState.FAIL
    if score is not None:
        state = TrialState.COMPLETE
    elif halted is not None:
        state = TrialState.PRUNED
    reached: dict[int, float] = {}
    if halted is not None:
        step, loss = halted
        # Optuna ranks what was given up by how far it came, then by this; higher is better.
        reached[step] = -loss if math.isfinite(loss) else -1e9
    return create_trial(
        state=state,
        value=score,
        params=dict(values),
        distributions=dict(space),
        intermediate_values=reached,
        user_attrs=dict(told),
    )


def best_of(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Return the trial with the highest score; of several the first."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def merged(histories: Sequence[Sequence[FrozenTrial]]) -> optuna.Study:
    """Return all trials of several searches as one study in memory."""
    study = optuna.create_study(direction=MAXIMIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.add_trials([trial for history in histories for trial in history])
    return study
