"""Epochs of one network: train, score on the inner validation subject, keep the best epoch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipelines.split_task import Row


@dataclass(frozen=True)
class Batch:
    """Scores on demand, so that each batch is read when its turn comes, and what is right."""

    scores: Callable[[], Tensor]
    """Returns class scores before the softmax [segments, classes]."""
    labels: Tensor
    """[segments]."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How one network is trained."""

    name: str
    epochs: int
    schedule: str
    """`constant` learning rates, or `cosine`: falling to zero over the epochs."""
    patience: int
    """Epochs without a lower validation loss after which training stops."""
    seed: int
    class_weights: Tensor | None
    on_epoch: Callable[[Row], None]


def fit(
    network: nn.Module,
    settings: Fit,
    *,
    rates: list[tuple[float, list[nn.Parameter]]],
    items: int,
    batches: Callable[[list[int]], Iterable[Batch]],
    validation: Callable[[], Iterable[Batch]],
) -> int:
    """Train a network with Adam and leave it in the epoch with the lowest validation loss.

    Without validation batches nothing can be chosen, and the last epoch is kept.

    Args:
        network: put in training mode and back.
        settings: see `Fit`.
        rates: learning rate and the parameters that it is for.
        items: number of things that are shuffled.
        batches: makes an epoch's batches from an order of the items.
        validation: makes the batches to choose the epoch by.

    Returns:
        The epoch that was kept, from 1.

    Raises:
        FloatingPointError: the training loss is no longer finite, or the validation loss never.
    """
    groups = [{"params": parameters, "lr": rate} for rate, parameters in rates if parameters]
    optimiser = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda done: _rate_factor(settings.schedule, done, settings.epochs)
    )
    # Dropout draws from the global generator; the order of the items has one of its own.
    torch.manual_seed(settings.seed)
    shuffle = torch.Generator().manual_seed(settings.seed)
    best_loss, best_epoch, best_state = math.inf, settings.epochs, None
    held_out: dict[str, float] = {}
    for epoch in range(1, settings.epochs + 1):
        network.train()
        order = torch.randperm(items, generator=shuffle).tolist()
        trained = _train(network, optimiser, batches(order), settings)
        schedule.step()
        network.eval()
        held_out = _evaluate(validation())
        settings.on_epoch({"network": settings.name, "epoch": epoch, **trained, **held_out})
        if not held_out:
            continue
        if held_out["validation_loss"] < best_loss:
            best_loss, best_epoch = held_out["validation_loss"], epoch
            best_state = copy.deepcopy(network.state_dict())
        if epoch - best_epoch >= settings.patience and best_state is not None:
            break
    if best_state is not None:
        network.load_state_dict(best_state)
    elif held_out:
        raise FloatingPointError(
            f"the validation loss of the {settings.name} network was never finite: lower "
            "training.trunk_rate and training.head_rate"
        )
    return best_epoch


def _rate_factor(schedule: str, done: int, epochs: int) -> float:
    if schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * done / epochs))


def _train(
    network: nn.Module, optimiser: torch.optim.Optimizer, batches: Iterable[Batch], settings: Fit
) -> dict[str, float]:
    loss_sum, hits, seen = 0.0, 0, 0
    for batch in batches:
        optimiser.zero_grad(set_to_none=True)
        scores = batch.scores()
        loss = cross_entropy(scores, batch.labels, weight=settings.class_weights)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        loss_sum += loss.item() * len(batch.labels)
        hits += int((scores.argmax(1) == batch.labels).sum())
        seen += len(batch.labels)
    if not math.isfinite(loss_sum):
        raise FloatingPointError(
            f"the training loss of the {settings.name} network is not finite: lower "
            "training.trunk_rate and training.head_rate"
        )
    return {"train_loss": loss_sum / seen, "train_accuracy": hits / seen}


@torch.no_grad()
def _evaluate(batches: Iterable[Batch]) -> dict[str, float]:
    pairs = [(batch.scores(), batch.labels) for batch in batches]
    if not pairs:
        return {}
    scores = torch.cat([pair[0] for pair in pairs])
    labels = torch.cat([pair[1] for pair in pairs])
    return {
        "validation_loss": float(cross_entropy(scores, labels)),
        "validation_accuracy": float((scores.argmax(1) == labels).double().mean()),
    }
