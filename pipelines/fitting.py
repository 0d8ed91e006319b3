"""Epochs of one network: train, score on the inner validation subject, keep one of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipelines.checkpoints import Checkpoints, State
from pipelines.precision import at_least_single
from pipelines.split_task import Row
from pipelines.training_config import BEST, LAST


@dataclass(frozen=True)
class Batch:
    """Items that are learned from together, and how they are scored: on demand, in parts."""

    items: Sequence[Any]
    """Clips, or numbers of segments: what a batch can be divided into."""
    scores: Callable[[Sequence[Any]], Tensor]
    """Items -> class scores before the softmax [rows, classes]."""
    labels: Callable[[Sequence[Any]], Tensor]
    """Items -> [rows]."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How one network is trained."""

    name: str
    epochs: int
    schedule: str
    """`constant` learning rates, or `cosine`: falling to zero over the epochs."""
    patience: int
    """Epochs without a lower validation loss after which training stops."""
    keep: str = BEST
    """The `best` epoch by validation loss, or the `last` of all."""
    seed: int
    class_weights: Tensor | None
    device: torch.device
    checkpoints: Checkpoints
    generators: tuple[torch.Generator, ...] = ()
    """What else draws numbers while the network is trained: goes into its checkpoints."""
    reads: dict[str, set[str]] = field(default_factory=dict)
    """Phase -> clips that it read: goes into checkpoints too, and is completed from them."""
    on_epoch: Callable[[Row], None]
    halts: Callable[[Sequence[Row]], bool] = lambda curves: False
    """Whether the split ends after these epochs of the network, because others do better."""


class HaltedError(Exception):
    """A split was ended before its time; what it had learned by then is in `curves`."""

    def __init__(self, curves: Sequence[Row]) -> None:
        super().__init__()
        self.curves = list(curves)


@dataclass
class Fitted:
    """What came of it."""

    chosen_epoch: int
    """From 1."""
    resumed_after: int = 0
    """Epochs that another process had done; 0: none."""
    micro_batch: int | None = None
    """Items that went through the network at once after it ran out of memory."""
    curves: list[Row] = field(default_factory=list)


def fit(
    network: nn.Module,
    settings: Fit,
    *,
    rates: list[tuple[float, list[nn.Parameter]]],
    items: int,
    batches: Callable[[list[int]], Iterable[Batch]],
    validation: Callable[[], Iterable[Batch]],
) -> Fitted:
    """Train a network with Adam and leave it in the epoch with the lowest validation loss.

    Without validation batches nothing can be chosen, and the last epoch is kept; so it is where
    the settings ask for it, and then validation is scored for the curves alone. A device that
    runs out of memory halves the items that pass at once; the gradients of the parts add up to
    those of the whole batch.

    Args:
        network: put in training mode and back.
        settings: see `Fit`.
        rates: learning rate and the parameters that it is for.
        items: number of things that are shuffled.
        batches: makes an epoch's batches from an order of the items.
        validation: makes the batches to choose the epoch by.

    Raises:
        FloatingPointError: the training loss is no longer finite, or the validation loss never.
        MemoryError: not even a single item fits on the device.
        HaltedError: `settings.halts` said so.
    """
    run = _Run(network, settings, rates)
    run.resume()
    while run.epoch < settings.epochs and not run.stopped:
        run.epoch += 1
        network.train()
        order = torch.randperm(items, generator=run.shuffle).tolist()
        trained = run.train(batches(order))
        network.eval()
        run.note(trained, run.evaluate(validation()))
        if settings.halts(run.fitted.curves):
            raise HaltedError(run.fitted.curves)
        if settings.checkpoints.due:
            settings.checkpoints.save(settings.name, run.state())
    return run.finish()


class _Run:
    """One network on its way through the epochs: all that a checkpoint has to hold."""

    def __init__(
        self,
        network: nn.Module,
        settings: Fit,
        rates: list[tuple[float, list[nn.Parameter]]],
    ) -> None:
        self.network, self.settings = network, settings
        groups = [{"params": parameters, "lr": rate} for rate, parameters in rates if parameters]
        self.optimiser = torch.optim.Adam(groups, fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda done: _rate_factor(settings.schedule, done, settings.epochs)
        )
        # Dropout draws from the global generator; the order of the items has one of its own.
        torch.manual_seed(settings.seed)
        self.shuffle = torch.Generator().manual_seed(settings.seed)
        self.epoch = 0
        self.stopped = False
        self.best_loss = math.inf
        self.best_state: State | None = None
        self.has_validation = False
        self.fitted = Fitted(chosen_epoch=settings.epochs)

    # Between two processes

    def state(self) -> State:
        """Return all that decides how the training goes on."""
        cuda = self.settings.device.type == "cuda"
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
            "random": torch.get_rng_state(),
            "random_of_gpu": torch.cuda.get_rng_state(self.settings.device) if cuda else None,
            "generators": [g.get_state() for g in (self.shuffle, *self.settings.generators)],
            "epoch": self.epoch,
            "stopped": self.stopped,
            "best_loss": self.best_loss,
            "best_state": self.best_state,
            "has_validation": self.has_validation,
            "chosen_epoch": self.fitted.chosen_epoch,
            "micro_batch": self.fitted.micro_batch,
            "curves": self.fitted.curves,
            "reads": {phase: sorted(ids) for phase, ids in self.settings.reads.items()},
        }

    def resume(self) -> None:
        """Go on where another process was killed."""
        state = self.settings.checkpoints.load(self.settings.name)
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.last_epoch = state["schedule"]["last_epoch"]
        torch.set_rng_state(state["random"])
        if state["random_of_gpu"] is not None:
            torch.cuda.set_rng_state(state["random_of_gpu"], self.settings.device)
        for generator, held in zip(
            (self.shuffle, *self.settings.generators), state["generators"], strict=True
        ):
            generator.set_state(held)
        self.epoch, self.stopped = state["epoch"], state["stopped"]
        self.best_loss, self.best_state = state["best_loss"], state["best_state"]
        self.has_validation = state["has_validation"]
        self.fitted = Fitted(
            chosen_epoch=state["chosen_epoch"],
            resumed_after=state["epoch"],
            micro_batch=state["micro_batch"],
            curves=state["curves"],
        )
        for phase, clip_ids in state["reads"].items():
            self.settings.reads.setdefault(phase, set()).update(clip_ids)

    # An epoch

    def train(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Learn from each batch once."""
        device = self.settings.device
        # Summed where they are computed: asking for a number at every batch would halt a GPU.
        loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        weight_sum, hits = torch.zeros_like(loss_sum), torch.zeros_like(loss_sum)
        rows = 0
        for batch in batches:
            labels = batch.labels(batch.items)
            weight = self._weight(labels)
            for scores, of_part in self._gradients(batch, weight):
                loss_sum += self._loss(scores, of_part).double()
                hits += (scores.argmax(1) == of_part).sum()
            self.optimiser.step()
            weight_sum += weight
            rows += len(labels)
        self.schedule.step()
        loss = float(loss_sum / weight_sum)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the training loss of the {self.settings.name} network is not finite: lower "
                "training.trunk_rate and training.head_rate"
            )
        return {"train_loss": loss, "train_accuracy": float(hits) / rows}

    def _gradients(self, batch: Batch, weight: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Leave the gradients of a batch's mean loss in the parameters."""

        def add(part: Sequence[Any]) -> tuple[Tensor, Tensor]:
            scores, labels = batch.scores(part), batch.labels(part)
            loss = self._loss(scores, labels) / weight
            loss.backward()  # type: ignore[no-untyped-call]
            return scores.detach(), labels

        self.optimiser.zero_grad(set_to_none=True)
        return self._in_parts(batch.items, add)

    def _in_parts(
        self, items: Sequence[Any], work: Callable[[Sequence[Any]], tuple[Tensor, Tensor]]
    ) -> list[tuple[Tensor, Tensor]]:
        """Do the work for all items at once; in parts if the device runs out of memory."""
        while True:
            try:
                return [work(part) for part in _parts(items, self.fitted.micro_batch)]
            except torch.OutOfMemoryError as error:
                self._halve(len(items), error)

    def _halve(self, items: int, error: torch.OutOfMemoryError) -> None:
        tried = min(items, self.fitted.micro_batch or items)
        if tried == 1:
            raise MemoryError(
                f"the {self.settings.name} network does not fit on {self.settings.device} with one "
                "item at a time: set training.trunk=frozen or fc, choose a smaller model, or give "
                "each trial more of the GPU (cluster.trial_gpus)"
            ) from error
        self.fitted.micro_batch = tried // 2
        self.optimiser.zero_grad(set_to_none=True)
        if self.settings.device.type == "cuda":
            torch.cuda.empty_cache()

    def _loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        scores, weights = at_least_single(scores), self.settings.class_weights
        weights = weights if weights is None else weights.to(scores.dtype)
        return cross_entropy(scores, labels, weight=weights, reduction="sum")

    def _weight(self, labels: Tensor) -> Tensor:
        """Return what a batch's summed loss is divided by: the sum of its labels' weights."""
        weights = self.settings.class_weights
        if weights is None:
            return torch.tensor(float(len(labels)), device=labels.device)
        return weights[labels].sum()

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return loss and accuracy over all rows; nothing where there is nothing to score."""
        pairs: list[tuple[Tensor, Tensor]] = []
        for batch in batches:

            def score(part: Sequence[Any], of: Batch = batch) -> tuple[Tensor, Tensor]:
                return at_least_single(of.scores(part)), of.labels(part)

            pairs += self._in_parts(batch.items, score)
        if not pairs:
            return {}
        scores = torch.cat([pair[0] for pair in pairs])
        labels = torch.cat([pair[1] for pair in pairs])
        return {
            "validation_loss": float(cross_entropy(scores, labels)),
            "validation_accuracy": float((scores.argmax(1) == labels).double().mean()),
        }

    def note(self, trained: dict[str, float], held_out: dict[str, float]) -> None:
        """Keep the epoch if it is the best so far, and see whether it was the last."""
        row: Row = {
            "network": self.settings.name,
            "epoch": self.epoch,
            **trained,
            **held_out,
        }
        self.fitted.curves.append(row)
        self.settings.on_epoch(row)
        if not held_out or self.settings.keep == LAST:
            return
        self.has_validation = True
        if held_out["validation_loss"] < self.best_loss:
            self.best_loss, self.fitted.chosen_epoch = held_out["validation_loss"], self.epoch
            if self.epoch < self.settings.epochs:
                self._keep()
        since = self.epoch - self.fitted.chosen_epoch
        self.stopped = since >= self.settings.patience and math.isfinite(self.best_loss)

    def _keep(self) -> None:
        """Copy the network as it is; into the last copy, because new memory costs as much again."""
        if self.best_state is None:
            self.best_state = copy.deepcopy(self.network.state_dict())
            return
        for name, value in self.network.state_dict().items():
            self.best_state[name].copy_(value)

    def finish(self) -> Fitted:
        """Leave the network in the epoch that is kept."""
        self.network.eval()
        if math.isfinite(self.best_loss):
            if self.best_state is not None and self.fitted.chosen_epoch < self.epoch:
                self.network.load_state_dict(self.best_state)
        elif self.has_validation:
            raise FloatingPointError(
                f"the validation loss of the {self.settings.name} network was never finite: lower "
                "training.trunk_rate and training.head_rate"
            )
        return self.fitted


def _parts(items: Sequence[Any], size: int | None) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size or max(1, len(items))):
        yield items[start : start + size] if size else items


def _rate_factor(schedule: str, done: int, epochs: int) -> float:
    if schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * done / epochs))
