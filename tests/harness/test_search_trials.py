"""What is tried next, when it is given up, and what the best of several is worth."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from harness.ledger import DONE, FAILED, HALTED, Entry
from harness.searching.config import HalvingConfig
from harness.searching.halving import loss_at, rungs_of, worst_to_go_on
from harness.searching.results import Choice, gap_of, optimism_of_choosing, stability_of
from harness.searching.space import Value
from harness.searching.trials import MAXIMIZE, best_of, ended, open_storage, propose
from harness.trial import Rung
from pipelines.split_task import Row

SPACE: dict[str, BaseDistribution] = {
    "model.dropout": FloatDistribution(0.0, 0.7),
    "training.head_rate": FloatDistribution(1e-4, 1e-2, log=True),
    "fusion.attend_over": CategoricalDistribution(["modalities", "concat"]),
}


def history(count: int) -> list[FrozenTrial]:
    """Trials of one round after another; the higher the dropout the better."""
    trials: list[FrozenTrial] = []
    while len(trials) < count:
        for values in propose(trials, SPACE, 2, startup=4, seed=5):
            score = float(str(values["model.dropout"]))
            trials.append(ended(values, SPACE, score=score, told={"entries": str(len(trials))}))
    return trials


def test_proposals_are_the_same_from_memory_and_from_the_storage(tmp_path: Path) -> None:
    trials = history(6)
    storage = open_storage(tmp_path / "optuna.db")
    study = optuna.create_study(storage=storage, study_name="s", direction=MAXIMIZE)
    study.add_trials(trials)
    again = optuna.load_study(
        storage=open_storage(tmp_path / "optuna.db"), study_name="s"
    ).get_trials()
    assert [trial.params for trial in again] == [trial.params for trial in trials]
    one, two = (propose(each, SPACE, 3, startup=4, seed=5) for each in (trials, again))
    assert one == two
    assert one != propose(trials, SPACE, 3, startup=4, seed=6)
    # The first of a round does not depend on how many there are in it.
    assert propose(trials, SPACE, 1, startup=4, seed=5) == one[:1]
    assert len({str(proposal) for proposal in one}) == 3


def test_after_the_startup_it_goes_where_scores_are_high() -> None:
    found = [trial.value or 0.0 for trial in history(40)]
    assert np.mean(found[20:]) > np.mean(found[:4]) + 0.1
    assert np.mean(found[20:]) > 0.45


def test_the_best_is_the_first_of_the_highest_that_came_to_their_end() -> None:
    values: dict[str, Value] = {
        "model.dropout": 0.1,
        "training.head_rate": 0.001,
        "fusion.attend_over": "concat",
    }
    study = optuna.create_study(direction=MAXIMIZE)
    study.add_trials(
        [
            ended(values, SPACE, score=0.5, told={}),
            ended(values, SPACE, halted=(3, 0.2), told={}),
            ended(values, SPACE, score=0.75, told={}),
            ended(values, SPACE, score=0.75, told={}),
            ended(values, SPACE, halted=(0, math.inf), told={}),
            ended(values, SPACE, told={"error": "FloatingPointError"}),
        ]
    )
    best = best_of(study.trials)
    assert best is not None
    assert best.number == 2
    assert [trial.state for trial in study.trials] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
    ]
    assert best_of(study.trials[-2:]) is None


def curves(network: str, *losses: float) -> list[Row]:
    return [
        {"network": network, "epoch": epoch, "validation_loss": loss}
        for epoch, loss in enumerate(losses, start=1)
    ]


def entry(status: str, rows: list[Row], finished: tuple[str, ...] = ()) -> Entry:
    return Entry(
        split_id="x",
        status=status,
        study_digest="d",
        curves=rows,
        chosen_epochs=dict.fromkeys(finished, 1),
    )


def test_the_loss_at_a_rung_is_the_best_until_then_of_those_that_got_there() -> None:
    rows = curves("visual", 2.0, 1.0, 1.5, 0.5)
    assert loss_at(entry(DONE, rows, ("visual",)), "visual", 3) == 1.0
    assert loss_at(entry(HALTED, rows), "visual", 4) == 0.5
    assert loss_at(entry(HALTED, rows), "visual", 5) is None
    # It stopped by itself, by its patience: 0.5 is what it came to.
    assert loss_at(entry(DONE, rows, ("visual",)), "visual", 9) == 0.5
    assert loss_at(entry(DONE, rows, ("visual",)), "fusion", 1) is None
    assert loss_at(entry(FAILED, rows), "visual", 1) is None
    assert loss_at(entry(DONE, curves("visual", math.nan), ("visual",)), "visual", 1) == math.inf


@pytest.mark.parametrize("eta", [2, 3, 4])
@pytest.mark.parametrize("others", range(1, 13))
def test_the_worst_to_go_on_makes_one_more_of_the_best_part(eta: int, others: int) -> None:
    losses = list(np.random.default_rng(others).permutation(np.arange(1.0, others + 1)))
    limit = worst_to_go_on(losses, eta)
    for one_more in np.arange(0.5, others + 1):
        rank = 1 + sum(loss < one_more for loss in losses)
        among_best = rank <= max(1, (others + 1) // eta)
        assert (one_more <= limit) == among_best


def test_rungs_are_settled_by_earlier_trials_and_not_before_there_are_enough() -> None:
    settings = HalvingConfig(eta=2, least=3, rungs={"fusion": [1], "visual": [2]})
    earlier = [
        entry(DONE, curves("visual", 9.0, loss) + curves("fusion", loss), ("visual", "fusion"))
        for loss in (1.0, 3.0, 2.0)
    ]
    earlier.append(entry(HALTED, curves("visual", 9.0, 8.0)))
    assert rungs_of(earlier, settings, ended=2) == ()
    assert rungs_of(earlier, settings, ended=3) == (
        Rung(network="visual", epoch=2, most=2.0),
        Rung(network="fusion", epoch=1, most=2.0),
    )
    assert rungs_of([], settings, ended=3) == ()
    joint = HalvingConfig(eta=2, least=3, rungs={"joint": [2, 1]})
    assert joint.places == [("joint", 1), ("joint", 2)]
    one_stage = [entry(DONE, curves("joint", 5.0, loss), ("joint",)) for loss in (4.0, 2.0, 3.0)]
    assert rungs_of(one_stage, joint, ended=3) == (
        Rung(network="joint", epoch=1, most=5.0),
        Rung(network="joint", epoch=2, most=3.0),
    )


def test_a_training_halts_at_its_rung_and_nowhere_else() -> None:
    rung = Rung(network="visual", epoch=2, most=1.0)
    assert rung.halts(curves("visual", 3.0, 2.0))
    assert not rung.halts(curves("visual", 3.0, 1.0))
    assert not rung.halts(curves("visual", 0.5, 2.0))
    assert not rung.halts(curves("visual", 3.0))
    assert not rung.halts(curves("visual", 3.0, 2.0, 2.0))
    assert not rung.halts(curves("audio", 3.0, 2.0))


def test_a_single_trial_flatters_nobody_and_many_by_chance_do() -> None:
    generator = np.random.default_rng(1)
    labels = [label for label in "abcdef" for _ in range(8)]
    for metric in ("accuracy", "uar"):
        guesses = [list(generator.choice(list("abcdef"), size=48)) for _ in range(40)]
        alone = optimism_of_choosing(labels, guesses[:1], metric, seed=0)
        assert alone == pytest.approx(0.0, abs=0.02)
        share = [
            np.mean([guess == label for guess, label in zip(row, labels, strict=True)])
            for row in guesses
        ]
        added = optimism_of_choosing(labels, guesses, metric, seed=0)
        assert added is not None
        # By chance a sixth is right: what the best has beyond it is all due to choosing.
        assert added == pytest.approx(max(share) - 1 / 6, abs=0.05)
        assert added == optimism_of_choosing(labels, guesses, metric, seed=0)


def test_the_optimism_of_choosing_by_enumeration_of_three_clips() -> None:
    right = np.array([[1, 1, 0], [0, 1, 1]])
    predicted = [["a" if hit else "b" for hit in row] for row in right]
    gaps = []
    for drawn in itertools.product(range(3), repeat=3):
        left = [clip for clip in range(3) if clip not in drawn]
        if left:
            best = int(np.argmax(right[:, drawn].mean(axis=1)))
            gaps.append(2 / 3 - right[best, left].mean())
    found = optimism_of_choosing(["a"] * 3, predicted, "accuracy", seed=0)
    assert found == pytest.approx(np.mean(gaps), abs=0.03)


def choice(held_out: str, inner: float | None, outer: float | None, **settings: float) -> Choice:
    return Choice(
        split_id=held_out,
        held_out=held_out,
        trial=None if inner is None else 1,
        settings={name.replace("__", "."): value for name, value in settings.items()},
        inner_best=inner,
        optimism=0.1,
        outer=outer,
        complete=3,
        halted=1,
        failed=0,
    )


def test_stability_counts_choices_and_gives_the_range_of_numbers() -> None:
    space: dict[str, BaseDistribution] = {
        "model.lstm_hidden": CategoricalDistribution([64, 128]),
        "model.dropout": FloatDistribution(0.0, 0.7),
    }
    choices = [
        choice("a", 0.5, 0.5, model__lstm_hidden=64, model__dropout=0.3),
        choice("b", 0.5, 0.5, model__lstm_hidden=128, model__dropout=0.1),
        choice("c", 0.5, 0.5, model__lstm_hidden=128, model__dropout=0.6),
        choice("d", None, None),
    ]
    assert stability_of(choices, space) == {
        "model.lstm_hidden": {"chosen": {"128": 2, "64": 1}},
        "model.dropout": {"low": 0.1, "median": 0.3, "high": 0.6},
    }


def test_the_gap_is_a_mean_over_all_outer_splits_or_none() -> None:
    choices = [choice("a", 0.75, 0.5), choice("b", 0.5, 0.5)]
    gap = gap_of(choices, complete=True)
    assert gap == {"inner_best": 0.625, "outer": 0.5, "gap": 0.125, "optimism": pytest.approx(0.1)}
    assert set(gap_of(choices, complete=False).values()) == {None}
    assert gap_of([*choices, choice("c", 0.5, None)], complete=True)["gap"] is None
