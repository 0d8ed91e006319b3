"""Settings of an ablation: its rows, and which of their differences are looked for beforehand."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields

from harness.config import StudyConfig
from pipelines.config import register_schema
from pipelines.errors import require, require_one_of

WHOLE = "whole"
"""The row that all others are compared with: the system as it is configured."""
PRODUCT, MEAN, MEAN_VOTE = "product", "mean", "mean_vote"
COMBINATIONS = (PRODUCT, MEAN, MEAN_VOTE)
VARIANT, RIVAL = "variant", "rival"


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
    """Rows whose differences are looked for: declared before looking, for Holm's correction. All
    others are one more family, called exploratory."""
    only: list[str] = field(default_factory=list)
    """Rows to run, and those that they are made of; empty: all."""
    share_stage1: bool = True
    """Train networks of stage 1 that several rows begin with once, and keep them on disk until the
    last of these rows has run; false: each row trains its own, to the same result."""

    def __post_init__(self) -> None:
        for name, row in self.rows.items():
            require(
                re.fullmatch(r"[a-z]\w*", name) is not None and name != WHOLE,
                f"ablation.rows ({name}) must be named by small letters, digits and _, and not "
                f"{WHOLE}: it names a folder",
            )
            for source in row.of:
                _require_row(f"ablation.rows.{name}.of", source, [WHOLE, *self.rows])
        for key, names in (("family", self.family), ("only", self.only)):
            for name in names:
                _require_row(f"ablation.{key}", name, list(self.rows))

    @property
    def chosen(self) -> dict[str, RowConfig]:
        """The rows to run: those asked for and, before them, those that they are made of."""
        if not self.only:
            return self.rows
        wanted = {*self.only}
        wanted |= {source for name in self.only for source in self.rows[name].of}
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
        """Return the settings of the study alone: its results are those of any such study."""
        return StudyConfig(
            **{entry.name: getattr(self, entry.name) for entry in fields(StudyConfig)}
        )


register_schema("ablate_schema", AblateConfig)
