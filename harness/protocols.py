"""How a corpus may be divided, and what must be said wherever the numbers appear."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from pipelines.errors import require, require_one_of

LOSO, KFOLD, CROSS = "loso", "kfold", "cross"
UNITS = ("clip", "subject", "sentence", "segment")
SUBJECT_DEPENDENT = "subject-dependent: the people tested were also trained on"
LEAKING = (
    "leaking: demonstration only. Segments of the very clips that are tested were trained on, so "
    "the figures say nothing about people, nor about clips, that the model has not seen"
)


SETTLED_BY_A_PLAN = (
    "subjects_out",
    "sentence_disjoint",
    "sentence_groups",
    "folds",
    "unit",
    "repeats",
    "seeds",
)


@dataclass
class ProtocolConfig:
    """How a corpus is divided."""

    kind: str = LOSO
    """`loso`: each subject is tested once, by a model that never saw them; `kfold`; `cross`:
    trained on one corpus, tested on another."""
    subjects_out: int = 1
    """Subjects that LOSO holds out together."""
    sentence_disjoint: bool = False
    """LOSO that also trains on other sentences than it tests."""
    sentence_groups: int = 3
    """Parts that the sentences are folded into: with them the number of splits is multiplied."""
    folds: int = 10
    """Number of folds of K-fold."""
    unit: str = "clip"
    """What K-fold keeps together: `clip` (subject-dependent), `subject`, `sentence`, or `segment`
    (a leak, for demonstration only)."""
    repeats: int = 1
    """Times that K-fold is done, with other folds."""
    seeds: int = 1
    """Times that each split is trained, with other weights and orders."""
    plan: str | None = None
    """A plan.json whose splits are run as they stand there."""
    labels: dict[str, str] = field(default_factory=dict)
    """`cross`: label of the test corpus -> label of the training corpus, where they differ."""

    def __post_init__(self) -> None:
        require_one_of("protocol.kind", self.kind, (LOSO, KFOLD, CROSS))
        require_one_of("protocol.unit", self.unit, UNITS)
        for name, least in (
            ("folds", 2),
            ("sentence_groups", 2),
            ("subjects_out", 1),
            ("repeats", 1),
            ("seeds", 1),
        ):
            value = getattr(self, name)
            require(value >= least, f"protocol.{name} ({value}) must be at least {least}")
        require(
            self.repeats == 1 or self.kind == KFOLD,
            f"protocol.repeats ({self.repeats}) draws other folds, which only K-fold has: use "
            "protocol.seeds to train the same splits again",
        )
        require(
            self.kind == LOSO or (self.subjects_out == 1 and not self.sentence_disjoint),
            "protocol.subjects_out and protocol.sentence_disjoint are of LOSO: use python -m "
            "harness.loso",
        )
        require(
            self.kind == CROSS or not self.labels,
            "protocol.labels joins the labels of two corpora: use python -m harness.cross",
        )
        require(
            self.plan is None or self.kind != CROSS,
            "protocol.plan is of one corpus, and harness.cross tests on another",
        )
        if self.plan is not None:
            for entry in fields(self):
                if entry.name in SETTLED_BY_A_PLAN:
                    value = getattr(self, entry.name)
                    require(
                        value == entry.default,
                        f"protocol.{entry.name} ({value}) is settled by protocol.plan "
                        f"({self.plan}), which holds every split: leave it out",
                    )
            self.plan = str(Path(self.plan).expanduser().absolute())

    @property
    def label(self) -> str:
        """How numbers under this protocol are introduced."""
        return self._name + (f", {self.seeds} seeds" if self.seeds > 1 else "")

    @property
    def _name(self) -> str:
        if self.plan is not None:
            return f"splits of {Path(self.plan).name}"
        if self.kind == CROSS:
            return "cross-corpus"
        if self.kind == KFOLD:
            times = f", {self.repeats} times" if self.repeats > 1 else ""
            return f"{self.folds}-fold by {self.unit}{times}"
        name = "LOSO" if self.subjects_out == 1 else f"leave {self.subjects_out} subjects out"
        if self.sentence_disjoint:
            name += f", other sentences in {self.sentence_groups} groups"
        return name

    @property
    def keeps_subjects_apart(self) -> bool:
        """Whether nobody who is tested may be trained on: a plan that breaks it is refused."""
        return self.kind in (LOSO, CROSS) or (self.unit == "subject" and self.plan is None)
