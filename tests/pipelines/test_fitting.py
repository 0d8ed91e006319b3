"""Epochs, their rates and the one that is kept, against figures worked out by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipelines.checkpoints import Checkpoints
from pipelines.fitting import Batch, Fit, Fitted, fit
from pipelines.split_task import Row

INPUTS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.5], [0.5, 1.0]])
LABELS = torch.tensor([0, 1, 0, 1])
NO_CHECKPOINTS = Checkpoints(folder=None, key="", every_s=0.0)


def settings(**changes: object) -> Fit:
    defaults: dict[str, object] = {
        "name": "audio",
        "epochs": 6,
        "schedule": "constant",
        "patience": 100,
        "seed": 1,
        "class_weights": None,
        "device": torch.device("cpu"),
        "checkpoints": NO_CHECKPOINTS,
        "on_epoch": lambda row: None,
    }
    return Fit(**{**defaults, **changes})  # type: ignore[arg-type]


class Student:
    """A linear network, and a record of every epoch that it went through."""

    def __init__(self, scale: float = 1.0) -> None:
        torch.manual_seed(0)
        self.network = nn.Linear(2, 2)
        self.scale = scale
        self.rows: list[Row] = []
        self.states: list[dict[str, Tensor]] = []
        self.orders: list[list[int]] = []

    def on_epoch(self, row: Row) -> None:
        self.rows.append(row)
        self.states.append(copy.deepcopy(self.network.state_dict()))

    def batch(self, items: list[int], labels: Tensor = LABELS) -> Batch:
        return Batch(
            items,
            lambda part: self.scale * self.network(INPUTS[list(part)]),
            lambda part: labels[list(part)],
        )

    def batches(self, order: list[int]) -> Iterable[Batch]:
        self.orders.append(order)
        return (self.batch(order[i : i + 2]) for i in range(0, len(order), 2))

    def fit(
        self,
        validation: Callable[[], Iterable[Batch]] = lambda: (),
        rate: float = 0.05,
        **c: object,
    ) -> int:
        return self.fitted(validation, rate, **c).chosen_epoch

    def fitted(
        self,
        validation: Callable[[], Iterable[Batch]] = lambda: (),
        rate: float = 0.05,
        **c: object,
    ) -> Fitted:
        return fit(
            self.network,
            settings(on_epoch=self.on_epoch, **c),
            rates=[(rate, list(self.network.parameters()))],
            items=len(INPUTS),
            batches=self.batches,
            validation=validation,
        )

    def losses(self) -> list[float]:
        return [float(row["validation_loss"]) for row in self.rows]


def whole(scores: Callable[[], Tensor], labels: Tensor) -> Batch:
    """A batch of one item that can't be divided."""
    return Batch([0], lambda part: scores(), lambda part: labels)


def test_the_epoch_with_the_lowest_validation_loss_is_kept() -> None:
    student = Student()
    # Three right labels of four: first it learns, then its growing certainty costs more.
    wrong = torch.tensor([0, 1, 0, 0])
    chosen = student.fit(lambda: [student.batch([0, 1, 2, 3], wrong)], rate=0.5, epochs=20)
    losses = student.losses()
    assert len(losses) == 20
    assert chosen == 1 + losses.index(min(losses))
    assert 1 < chosen < 20
    for name, value in student.network.state_dict().items():
        assert torch.equal(value, student.states[chosen - 1][name])
        assert not torch.equal(value, student.states[-1][name])


def test_where_the_last_epoch_is_to_be_kept_validation_changes_nothing() -> None:
    alone, scored = Student(), Student()
    wrong = torch.tensor([0, 1, 0, 0])
    assert alone.fit(rate=0.5, epochs=20) == 20
    chosen = scored.fit(
        lambda: [scored.batch([0, 1, 2, 3], wrong)], rate=0.5, epochs=20, patience=1, keep="last"
    )
    # The best is an earlier one, after which patience would have ended it.
    assert scored.losses().index(min(scored.losses())) < 17
    assert chosen == len(scored.losses()) == 20
    for name, value in scored.network.state_dict().items():
        assert torch.equal(value, alone.states[-1][name])


def test_the_first_of_equally_good_epochs_is_kept() -> None:
    student = Student()
    still = whole(lambda: torch.zeros(2, 2), torch.tensor([0, 1]))
    assert student.fit(lambda: [still]) == 1
    assert torch.equal(student.network.weight, student.states[0]["weight"])


def test_training_stops_after_so_many_epochs_without_a_lower_loss() -> None:
    losses = iter([3.0, 2.0, 2.5, 1.0, 1.5, 1.0, 1.2, 0.1])

    def validation() -> Iterator[Batch]:
        # Scores of [0, log(exp(loss) - 1)] cost exactly `loss` where class 0 is right.
        worse = math.log(math.expm1(next(losses)))
        yield whole(lambda: torch.tensor([[0.0, worse]]), torch.tensor([0]))

    student = Student()
    assert student.fit(validation, patience=3, epochs=8) == 4
    assert student.losses() == pytest.approx([3.0, 2.0, 2.5, 1.0, 1.5, 1.0, 1.2])


def test_without_validation_the_last_epoch_is_kept() -> None:
    student = Student()
    assert student.fit(epochs=5, patience=1) == 5
    assert [row["epoch"] for row in student.rows] == [1, 2, 3, 4, 5]
    assert all("validation_loss" not in row for row in student.rows)
    assert torch.equal(student.network.weight, student.states[-1]["weight"])


def test_figures_of_an_epoch_are_those_worked_by_hand() -> None:
    student = Student()
    weights = torch.tensor([3.0, 0.5])
    before = student.network(INPUTS).log_softmax(1).detach()
    student.fit(
        # In two batches of unequal size: the mean is over segments, not over batches.
        lambda: [student.batch([0, 1, 2]), student.batch([3])],
        rate=1e-12,
        epochs=1,
        class_weights=weights,
    )
    share = weights[LABELS]
    loss = float(-(share * before[torch.arange(4), LABELS]).sum() / share.sum())
    hits = before.argmax(1) == LABELS
    row = student.rows[0]
    assert row["network"] == "audio"
    assert row["train_loss"] == pytest.approx(loss, abs=1e-6)
    assert row["train_accuracy"] == pytest.approx(float(hits.double().mean()))
    # The validation loss is unweighted: it must compare across splits.
    plain = -before[torch.arange(4), LABELS].mean()
    assert row["validation_loss"] == pytest.approx(float(plain), abs=1e-6)
    assert row["validation_accuracy"] == pytest.approx(float(hits.double().mean()))


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("cosine", [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
    ],
)
def test_rates_follow_their_schedule_and_stay_apart(schedule: str, factors: list[float]) -> None:
    slow, fast = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    network = nn.Module()
    network.register_parameter("slow", slow)
    network.register_parameter("fast", fast)
    places: list[tuple[float, float]] = [(0.0, 0.0)]

    def scores() -> Tensor:
        return torch.stack([slow + fast, -slow - fast], dim=1)

    fit(
        network,
        settings(
            epochs=4,
            schedule=schedule,
            on_epoch=lambda row: places.append((slow.item(), fast.item())),
        ),
        rates=[(1e-5, [slow]), (1e-4, [fast]), (1.0, [])],
        items=1,
        batches=lambda order: [whole(scores, torch.tensor([0]))],
        validation=lambda: (),
    )
    # Adam's step under a gradient that hardly changes is the rate itself.
    steps = torch.tensor(places).double().diff(dim=0)
    expected = torch.tensor(factors).double()
    torch.testing.assert_close(steps[:, 0], 1e-5 * expected, rtol=1e-3, atol=1e-10)
    torch.testing.assert_close(steps[:, 1], 1e-4 * expected, rtol=1e-3, atol=1e-9)


def test_each_epoch_takes_every_item_once_in_an_order_of_the_seed() -> None:
    def orders(seed: int, disturb: int) -> list[list[int]]:
        student = Student()
        torch.manual_seed(disturb)
        student.fit(seed=seed, epochs=8)
        return student.orders

    first = orders(seed=1, disturb=0)
    assert all(sorted(order) == [0, 1, 2, 3] for order in first)
    assert len({tuple(order) for order in first}) > 2
    assert orders(seed=1, disturb=99) == first
    assert orders(seed=2, disturb=0) != first


def test_training_and_scoring_modes_are_where_they_belong() -> None:
    student = Student()
    modes: dict[str, set[bool]] = {"train": set(), "score": set()}

    def watched(kind: str) -> Batch:
        def scores() -> Tensor:
            modes[kind].add(student.network.training)
            assert torch.is_grad_enabled() == (kind == "train")
            result: Tensor = student.network(INPUTS)
            return result

        return whole(scores, LABELS)

    fit(
        student.network,
        settings(epochs=2),
        rates=[(0.1, list(student.network.parameters()))],
        items=1,
        batches=lambda order: [watched("train")],
        validation=lambda: [watched("score")],
    )
    assert modes == {"train": {True}, "score": {False}}
    assert not student.network.training


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_said_at_once_with_what_to_lower(value: float) -> None:
    student = Student(scale=value)
    with pytest.raises(FloatingPointError, match=r"audio network.*training\.trunk_rate") as raised:
        student.fit()
    assert "training.head_rate" in str(raised.value)
    assert student.rows == []


def test_a_validation_loss_that_is_never_finite_fails_the_network_by_name() -> None:
    student = Student()
    broken = whole(lambda: torch.full((1, 2), math.nan), torch.tensor([0]))
    with pytest.raises(FloatingPointError, match=r"validation loss of the .* never finite"):
        student.fit(lambda: [broken], patience=1, epochs=3)
    assert len(student.rows) == 3


class CrampedStudent(Student):
    """A network whose device holds only so many items at once."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.network.double()
        self.room = room
        self.tried: list[int] = []

    def batch(self, items: list[int], labels: Tensor = LABELS) -> Batch:
        def scores(part: Sequence[int]) -> Tensor:
            self.tried.append(len(part))
            if len(part) > self.room:
                raise torch.OutOfMemoryError("planted")
            result: Tensor = self.network(INPUTS[list(part)].double())
            return result

        return Batch(items, scores, lambda part: labels[list(part)])

    def batches(self, order: list[int]) -> Iterable[Batch]:
        return [self.batch(order)]


@pytest.mark.parametrize("weights", [None, torch.tensor([3.0, 0.5])])
def test_a_device_out_of_memory_takes_batches_in_parts_and_learns_the_same(
    weights: Tensor | None,
) -> None:
    states, fits = [], []
    for room in (4, 1):
        student = CrampedStudent(room)
        fits.append(student.fitted(epochs=5, class_weights=weights))
        states.append(student.network.state_dict())
        if room == 1:
            # Once tried whole and in halves, then never again.
            assert student.tried == [4, 2, *[1] * 20]
    assert [fitted.micro_batch for fitted in fits] == [None, 1]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-9, atol=1e-12)
    one, other = (fitted.curves[-1]["train_loss"] for fitted in fits)
    assert one == pytest.approx(other, rel=1e-9)


def test_a_device_out_of_memory_scores_held_out_items_in_parts_too() -> None:
    curves = []
    for room in (4, 2):
        student = CrampedStudent(room)
        fitted = fit(
            student.network,
            settings(epochs=2),
            rates=[(0.1, list(student.network.parameters()))],
            items=2,
            batches=lambda order, of=student: [of.batch(order)],  # type: ignore[misc]
            validation=lambda of=student: [of.batch([0, 1, 2, 3])],  # type: ignore[misc]
        )
        curves.append([row["validation_loss"] for row in fitted.curves])
        assert fitted.micro_batch == (None if room == 4 else 2)
    assert curves[0] == pytest.approx(curves[1], rel=1e-12)


def test_a_device_that_holds_not_one_item_is_told_with_what_to_set() -> None:
    with pytest.raises(MemoryError, match=r"audio network does not fit on cpu.*training\.trunk"):
        CrampedStudent(room=0).fitted()


class KilledError(Exception):
    """The process ended here."""


def dropping_student() -> Student:
    """A network that draws numbers while it learns."""
    student = Student()
    torch.manual_seed(0)
    student.network = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 2))  # type: ignore[assignment]
    return student


@pytest.mark.parametrize("killed_after", [1, 3, 6, 8])
@pytest.mark.parametrize("held_out", [[0, 1, 0, 0], [1, 0, 1, 0]])
def test_a_killed_training_goes_on_to_the_same_bits(
    held_out: list[int], killed_after: int, tmp_path: Path
) -> None:
    """The second held-out labels contradict what is learned: the first epochs are the best."""

    def keep(key: str = "k") -> Checkpoints:
        return Checkpoints(tmp_path, key, every_s=0.0)

    def run(checkpoints: Checkpoints, die: bool = False) -> tuple[Student, Fitted]:
        student = dropping_student()
        variation = torch.Generator().manual_seed(5)

        def varied(order: list[int]) -> Iterable[Batch]:
            for batch in student.batches(order):
                shift = torch.randn(2, generator=variation)
                yield replace(batch, scores=partial(shifted, batch, shift))

        def shifted(batch: Batch, shift: Tensor, part: Sequence[int]) -> Tensor:
            return batch.scores(part) + shift

        def on_epoch(row: Row) -> None:
            student.on_epoch(row)
            if die and row["epoch"] == killed_after + 1:
                raise KilledError

        fitted = fit(
            student.network,
            settings(
                epochs=8,
                schedule="cosine",
                patience=5,
                on_epoch=on_epoch,
                checkpoints=checkpoints,
                generators=(variation,),
                reads={"fit": {"a" if die else "b"}},
            ),
            rates=[(0.5, list(student.network.parameters()))],
            items=len(INPUTS),
            batches=varied,
            validation=lambda: [student.batch([0, 1, 2, 3], torch.tensor(held_out))],
        )
        return student, fitted

    whole_run, undisturbed = run(NO_CHECKPOINTS)
    last = len(undisturbed.curves)
    assert held_out[0] == 0 or undisturbed.chosen_epoch < last
    if killed_after < last:
        with pytest.raises(KilledError):
            run(keep(), die=True)
    else:
        run(keep())
    student, fitted = run(keep())
    done = min(killed_after, last)
    assert fitted.resumed_after == done
    assert len(student.rows) == last - done
    assert fitted.curves == undisturbed.curves
    assert fitted.chosen_epoch == undisturbed.chosen_epoch
    for name, value in student.network.state_dict().items():
        assert torch.equal(value, whole_run.network.state_dict()[name])
    # Another split's, another study's or a broken state is not taken up.
    assert run(keep("other"))[1].resumed_after == 0
    (tmp_path / "audio.pt").write_bytes((tmp_path / "audio.pt").read_bytes()[:500])
    assert run(keep())[1].resumed_after == 0


def test_reads_of_a_killed_process_are_not_forgotten(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "k", every_s=0.0)
    dropping_student().fitted(checkpoints=checkpoints, reads={"stage1_fit": {"a", "b"}})
    reads = {"stage1_fit": {"c"}, "stage1_choose": {"d"}}
    dropping_student().fitted(checkpoints=checkpoints, reads=reads)
    assert reads == {"stage1_fit": {"a", "b", "c"}, "stage1_choose": {"d"}}


def test_a_checkpoint_that_cannot_be_written_stops_nothing_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    checkpoints = Checkpoints(tmp_path / "file" / "folder", "k", every_s=0.0)
    assert len(dropping_student().fitted(checkpoints=checkpoints, epochs=2).curves) == 2
    assert "no checkpoint could be written" in checkpoints.problem


def test_checkpoints_are_as_far_apart_as_asked(tmp_path: Path) -> None:
    dropping_student().fitted(checkpoints=Checkpoints(tmp_path, "k", every_s=1000.0))
    assert list(tmp_path.iterdir()) == []
