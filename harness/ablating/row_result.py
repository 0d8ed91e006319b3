"""What came of a row, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.ablating.rows import Row
from harness.ledger import DONE, Ledger
from harness.plan_file import read_plan

DONE_ROW, INCOMPLETE, NOT_RUN = "done", "incomplete", "not run"


@dataclass(frozen=True, kw_only=True)
class RowResult:
    """What came of a row."""

    row: Row
    status: str
    reason: str = ""
    """Why it was not run, or what is missing."""
    expected: bool = True
    """Whether somebody who reads the reason has nothing to mend."""
    folder: Path | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)
    parameters: int = 0
    """Of all networks of one split."""
    seconds: float = 0.0
    """That all splits took to train and to predict, one after another."""
    same_as: str = ""
    """Another row of the very same settings, whose results these are."""


def cost_of(folder: Path) -> tuple[int, float]:
    """Return parameters of a split's networks, and seconds that all splits took."""
    ledger = Ledger(folder / "splits")
    entries = [ledger.entry(split.split_id) for split in read_plan(folder / "plan.json").splits]
    done = [entry for entry in entries if entry is not None and entry.status == DONE]
    parameters = max((sum(entry.parameters.values()) for entry in done), default=0)
    return parameters, sum(sum(entry.seconds.values()) for entry in done)
