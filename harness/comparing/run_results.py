"""What a finished study predicted, read from its run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.ledger import DONE, Ledger
from harness.plan_file import read_plan
from harness.predictions import CONTENTS
from pipelines.errors import UsageError, require

COLUMNS = ["clip_id", "subject", "emotion", "predicted"]
NAMED = 5
"""Clips that a line names; the others are counted."""
MARKED = ("subject-dependent", "leaking")
"""Beginnings of the warnings without which a number must not be read."""


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """One test clip, and what was said of it each time that it was tested."""

    subject: str
    emotion: str
    """True."""
    predicted: tuple[str, ...]

    @property
    def right(self) -> float:
        """Share of the predictions that are right."""
        return sum(label == self.emotion for label in self.predicted) / len(self.predicted)


@dataclass(frozen=True, kw_only=True)
class RunResults:
    """A study that came to its end."""

    name: str
    """The folder as it was named."""
    summary: Mapping[str, Any]
    clips: Mapping[str, ClipResult]
    """By clip_id, in order."""
    contents: Mapping[str, str]
    """clip_id -> sha256 of its file; empty where the folder does not tell."""

    @property
    def protocol_warnings(self) -> list[str]:
        """What must stand beside its numbers."""
        told = [text for text in self.summary.get("warnings", ()) if text.startswith(MARKED)]
        return list(dict.fromkeys([*self.summary.get("protocol_warnings", ()), *told]))

    def labels(self, clip_ids: Sequence[str]) -> tuple[list[str], list[str], list[float]]:
        """Return true and predicted label and weight of each prediction: a clip counts once."""
        clips = [self.clips[clip_id] for clip_id in clip_ids]
        rows = [(clip, label) for clip in clips for label in clip.predicted]
        return (
            [clip.emotion for clip, _ in rows],
            [label for _, label in rows],
            [1 / len(clip.predicted) for clip, _ in rows],
        )


def few(clip_ids: Sequence[str]) -> str:
    """Return how many clips these are, and the names of the first."""
    more = f" and {len(clip_ids) - NAMED} more" if len(clip_ids) > NAMED else ""
    count = f"{len(clip_ids)} clip{'s' if len(clip_ids) > 1 else ''}"
    return f"{count} ({', '.join(clip_ids[:NAMED])}{more})"


def read_run(folder: Path) -> RunResults:
    """Read the folder of a finished study.

    Raises:
        UsageError: it is none, it is incomplete, or its files don't fit together.
    """
    require(folder.is_dir(), f"{folder} is no folder: name the folder of a study, as in runs/demo")
    for name in ("summary.json", "predictions.parquet"):
        require(
            (folder / name).is_file(),
            f"{folder} holds no {name}: it is no study's folder, or no split of the study is done",
        )
    try:
        summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
        rows = pq.read_table(folder / "predictions.parquet", columns=COLUMNS).to_pylist()
    except (ValueError, pa.ArrowException) as error:
        raise UsageError(f"{folder} can't be read: {' '.join(str(error).split())}") from error
    done, expected = summary.get("splits_done"), summary.get("splits_expected")
    require(
        bool(summary.get("complete", done == expected)),
        f"{folder} is incomplete ({done} of {expected} splits are done): run its command again, "
        "and compare when all are",
    )
    clips: dict[str, ClipResult] = {}
    for row in sorted(rows, key=lambda row: str(row["clip_id"])):
        clip_id = row["clip_id"]
        empty = [name for name in COLUMNS if not row[name]]
        require(not empty, f"{folder}: a row of clip {clip_id} has no {', '.join(empty)}")
        held = clips.get(clip_id)
        require(
            held is None or (held.subject, held.emotion) == (row["subject"], row["emotion"]),
            f"{folder}: clip {clip_id} has two subjects or two true labels",
        )
        clips[clip_id] = ClipResult(
            subject=row["subject"],
            emotion=row["emotion"],
            predicted=(*(held.predicted if held else ()), row["predicted"]),
        )
    _check_against_plan(folder, clips)
    told = folder / CONTENTS
    contents = json.loads(told.read_text()) if told.is_file() else {}
    return RunResults(name=str(folder), summary=summary, clips=clips, contents=contents)


def _check_against_plan(folder: Path, clips: Mapping[str, ClipResult]) -> None:
    """See that all splits of the plan are done and all its clips have a prediction, whatever the
    summary says.
    """
    path = folder / "plan.json"
    if not path.is_file():
        return
    plan = read_plan(path)
    if (folder / "splits").is_dir():
        ledger = Ledger(folder / "splits")
        entries = {split.split_id: ledger.entry(split.split_id) for split in plan.splits}
        undone = [name for name, entry in entries.items() if entry is None or entry.status != DONE]
        require(
            not undone,
            f"{folder} is incomplete: its split {undone[0] if undone else ''} is not done "
            f"({len(undone)} such in all), whatever summary.json says: run its command again",
        )
    missing = sorted(plan.test_clips - clips.keys())
    require(not missing, f"{folder} is incomplete: its plan tests {few(missing)} without result")
