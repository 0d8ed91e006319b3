"""A training that is given up: what it leaves behind, also when its process was killed before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from pipelines.checkpoints import Checkpoints
from pipelines.fitting import Batch, Fit, Fitted, HaltedError, fit
from pipelines.split_task import Row

INPUTS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.5], [0.5, 1.0]])
LABELS = torch.tensor([0, 1, 0, 1])


def learn(checkpoints: Checkpoints, halts_after: int = 99, killed_after: int = 99) -> Fitted:
    """Train a small network; `halts` is asked with all epochs so far, whoever did them."""
    torch.manual_seed(0)
    network = nn.Linear(2, 2)

    def batches(items: Sequence[int]) -> Iterable[Batch]:
        yield Batch(items, lambda part: network(INPUTS[list(part)]), lambda p: LABELS[list(p)])

    def kill(row: Row) -> None:
        if int(row["epoch"]) > killed_after:
            raise KeyboardInterrupt

    settings = Fit(
        name="audio",
        epochs=6,
        schedule="constant",
        patience=100,
        seed=1,
        class_weights=None,
        device=torch.device("cpu"),
        checkpoints=checkpoints,
        on_epoch=kill,
        halts=lambda curves: len(curves) >= halts_after,
    )
    return fit(
        network,
        settings,
        rates=[(0.05, list(network.parameters()))],
        items=4,
        batches=batches,
        validation=lambda: batches([0, 1, 2, 3]),
    )


def nowhere() -> Checkpoints:
    return Checkpoints(folder=None, key="", every_s=0.0)


def test_it_ends_after_the_epoch_that_is_given_up_with_the_curves_until_then() -> None:
    whole = learn(nowhere())
    assert len(whole.curves) == 6
    with pytest.raises(HaltedError) as halted:
        learn(nowhere(), halts_after=4)
    assert halted.value.curves == whole.curves[:4]


def test_after_a_kill_it_ends_at_the_same_epoch_with_the_same_curves(tmp_path: Path) -> None:
    with pytest.raises(HaltedError) as without:
        learn(nowhere(), halts_after=4)
    with pytest.raises(KeyboardInterrupt):
        learn(Checkpoints(folder=tmp_path, key="k", every_s=0.0), halts_after=4, killed_after=2)
    assert (tmp_path / "audio.pt").exists()
    with pytest.raises(HaltedError) as resumed:
        learn(Checkpoints(folder=tmp_path, key="k", every_s=0.0), halts_after=4)
    assert resumed.value.curves == without.value.curves
