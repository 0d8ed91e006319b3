"""Settings of an ablation: its rows, and which of their differences are looked for beforehand."""

from __future__ import annotations

import re
from collections.abc import Collection
from copy import deepcopy
from dataclasses import dataclass, field, fields

from harness.config import StudyConfig
from pipelines.config import register_schema
from pipelines.errors import require, require_one_of

WHOLE = "whole"
"""The row that all others are compared with: the system as it is configured."""
PRODUCT, MEAN, MEAN_VOTE = "product", "mean", "mean_vote"
COMBINATIONS = (PRODUCT, MEAN, MEAN_VOTE)
VARIANT, RIVAL = "variant", "rival"
TAKEN = (WHOLE, "stage1", "tables", "figures")
"""Folders of an ablation that are no row's."""


@dataclass
class RowConfig:
    """One row: settings that differ from the whole system's, or predictions that are combined."""

    title: str = ""
    """As the tables name it."""
    kind: str = VARIANT
    """`variant`: the system with one part changed; `rival`: another system."""
    changes: list[str] = field(default_factory=list)
    """Settings as on a command line: `vad.enabled=false`."""
    of: list[str] = field(default_factory=list)
    """Rows whose predictions are combined; nothing is trained."""
    combine: str = ""
    """How: `product` or `mean` of the rows' probabilities, or `mean_vote`, by which the segments of
    one row's clips are summed up by mean probability in place of the vote."""
    note: str = ""
    """What must be said of it: where it is from, and how it differs from there."""

    def __post_init__(self) -> None:
        require_one_of("ablation.rows.*.kind", self.kind, (VARIANT, RIVAL))
        if self.of or self.combine:
            require_one_of("ablation.rows.*.combine", self.combine, COMBINATIONS)
            enough = len(self.of) == 1 if self.combine == MEAN_VOTE else len(self.of) > 1
            require(
                enough and not self.changes,
                f"ablation.rows: {self.title or self.combine} combines ({self.combine}) the rows "
                f"{self.of} and changes {self.changes}: {MEAN_VOTE} is of one row, the others of "
                "two or more, and what is combined changes nothing",
            )


@dataclass
class AblationConfig:
    """What is compared with the whole system."""

    rows: dict[str, RowConfig] = field(default_factory=dict)
    """By name, in the order of the tables."""
    family: list[str] = field(default_factory=list)
    """Rows whose differences are looked for: declared before looking, for Holm's correction. The
    rivals are a second family; all others are a third, called exploratory."""
    only: list[str] = field(default_factory=list)
    """Rows to run, with those that they are made of; empty: all. What is done is told too."""
    alexnet_weights: str = "none"
    """Of the rows on AlexNet: `none`, `imagenet` or a file. conf/ablation/paper.yaml takes
    model.weights, which where they are a file are another network's."""
    share_stage1: bool = True
    """Train networks of stage 1 that several rows begin with once, and keep them on disk until the
    last of these rows has run; false: each row trains its own, to the same result."""

    def __post_init__(self) -> None:
        for name, row in self.rows.items():
            require(
                re.fullmatch(r"[a-z][a-z0-9_]*", name) is not None and name not in TAKEN,
                f"ablation.rows ({name}) must be named by small letters, digits and _, and not "
                f"{' or '.join(TAKEN)}: it names a folder",
            )
            # Those before it: they are run in this order.
            before = [*self.rows][: [*self.rows].index(name)]
            for source in row.of:
                _require_row(f"ablation.rows.{name}.of", source, [WHOLE, *before])
        for key, names in (("family", self.family), ("only", self.only)):
            for name in names:
                _require_row(f"ablation.{key}", name, list(self.rows))

    @property
    def rivals(self) -> list[str]:
        """The rivals, which are a family of their own."""
        return [
            name for name, row in self.rows.items() if row.kind == RIVAL and name not in self.family
        ]

    def chosen(self, done: Collection[str] = ()) -> dict[str, RowConfig]:
        """Return the rows to run: those asked for, those that they are made of, and those that are
        done: whoever asks for one more row does not leave out the others.
        """
        if not self.only:
            return self.rows
        wanted, new = {*done}, {*self.only, *done}
        while new:
            wanted |= new
            new = {s for name in new if name in self.rows for s in self.rows[name].of} - wanted
        return {name: row for name, row in self.rows.items() if name in wanted}


def _require_row(key: str, name: str, known: list[str]) -> None:
    require(name in known, f"{key} ({name}) is no row: there are {', '.join(known)}")


@dataclass
class AblateConfig(StudyConfig):
    """What `python -m harness.ablate` is told."""

    ablation: AblationConfig = field(default_factory=AblationConfig)

    @property
    def kind(self) -> str:
        """What names the folder."""
        return f"ablate-{super().kind}"

    def of_study(self) -> StudyConfig:
        """Return a copy of the settings of the study alone, whose results are those of any such
        study.
        """
        return StudyConfig(
            **{entry.name: deepcopy(getattr(self, entry.name)) for entry in fields(StudyConfig)}
        )


register_schema("ablate_schema", AblateConfig)
