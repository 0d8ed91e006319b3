"""Why a trial failed, and what a search makes of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from harness.crowding import Shortage
from harness.ledger import Ledger
from harness.plan import Plan, Split
from harness.searching.split_search import Proposal, SplitSearch
from harness.trial_failures import NO_RESULT, Failures
from pipelines.errors import StoppedError
from pipelines.session import ClusterConfig, Host

IN_WORKER = 'ray::train() (pid=7, ip=10.0.0.7)\n  File "x.py"\n{}\n'


def failures(monkeypatch: pytest.MonkeyPatch, *hosts: Host) -> Failures:
    monkeypatch.setattr("harness.trial_failures.hosts_now", lambda: hosts)
    return Failures(ClusterConfig(), crowding=1)


def test_only_one_that_fewer_beside_it_may_help_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowded = failures(monkeypatch, Host(4))
    assert not crowded.may_retry("a", MemoryError())
    assert crowded.may_retry("b", RuntimeError("worker process has died"))
    assert crowded.crowded == {"a": Shortage.NODE}
    alone = failures(monkeypatch, Host(1))
    assert alone.may_retry("a", MemoryError())
    assert not alone.crowded


def test_the_reason_is_a_line_and_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    found = failures(monkeypatch, Host(1))
    for name, line in (("a", "ValueError: no"), ("b", "MemoryError"), ("c", "IndexError")):
        found.may_retry(name, RuntimeError(IN_WORKER.format(line)))
    found.given_up = {"a", "b"}
    assert found.reason("a") == "ValueError: no"
    assert found.reason("b") == (
        "out of memory with a node to itself: it takes a node with more, a smaller "
        "model.lstm_hidden or less training.cache_mb (MemoryError)"
    )
    # It was tried again, and then Tune lost it; of another one it knows nothing.
    assert found.reason("c") == found.reason("d") == NO_RESULT


@pytest.mark.parametrize(
    ("line", "of_its_settings"),
    [
        ("MemoryError", True),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", True),
        ("FloatingPointError: the loss is nan", True),
        ("OSError: [Errno 5] Input/output error", False),
    ],
)
def test_a_search_goes_on_without_a_trial_whose_settings_end_it(
    line: str, of_its_settings: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry is what a trial's failure leaves, and not one made by hand."""
    found = failures(monkeypatch, Host(1, 1))
    found.may_retry("s", RuntimeError(IN_WORKER.format(line)))
    found.given_up = {"s"}
    inner = Split(split_id="inner1", held_out="x", repeat=0, seed_index=0, seed=0, train=("a",),
                  validation=("b",), test=("c",))  # fmt: skip
    study: Any = SimpleNamespace(folder=tmp_path)
    search = SplitSearch(
        outer=Split(**{**vars(inner), "split_id": "outer"}),
        inner=Plan(unit="clip", splits=(inner,)),
        study=study,
        config=SimpleNamespace(),  # type: ignore[arg-type]
        space={"model.lstm_hidden": CategoricalDistribution([64, 10**6])},
        tried=optuna.create_study(),
    )
    Ledger(search.folder / "splits").record_failure("trial001-inner1", found.reason("s"), "now")
    proposal = Proposal(0, "trial001", {"model.lstm_hidden": 10**6})
    if of_its_settings:
        search.tell(proposal)
        (trial,) = search.trials
        assert trial.state == TrialState.FAIL
        assert line in trial.user_attrs["error"]
    else:
        with pytest.raises(StoppedError, match="Input/output error"):
            search.tell(proposal)
