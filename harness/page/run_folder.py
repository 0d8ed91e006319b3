"""What the page is made of: the files of one run folder, those that there are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.errors import UsageError, require

DONE = "done"
KEYS = ("split_id", "repeat", "seed_index", "clip_id")
"""Columns that tell one prediction from another, where a table has them."""
TEXTS = ("clip_id", "subject", "emotion", "status", "reason", "detail")
"""Columns of outcomes.csv that are no numbers, whatever they look like."""


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A study as it lies on the disk. Only the summary is always there."""

    name: str
    summary: Mapping[str, Any]
    predictions: pd.DataFrame | None
    """Columns of predictions.parquet, sorted; None before any split is done."""
    segments: pd.DataFrame | None
    """Columns of segment_predictions.parquet, sorted; None for predictions made elsewhere."""
    outcomes: pd.DataFrame | None
    """What became of each clip of the corpus."""
    entries: tuple[Mapping[str, Any], ...]
    """The ledger's word on each split, in the plan's order."""
    provenance: Mapping[str, Any]
    config: str
    """config.yaml as it stands; empty where there is none."""

    @property
    def complete(self) -> bool:
        """Whether every split is done: only then are there figures of the study."""
        return bool(self.summary.get("complete"))

    @property
    def classes(self) -> list[str]:
        """All labels, in order."""
        return list(self.summary["classes"])

    @property
    def votes(self) -> bool:
        """Whether segments voted, rather than a clip being recognised as a whole."""
        return self.segments is not None and self.summary.get("predicts", "segment") == "segment"

    @property
    def done(self) -> list[Mapping[str, Any]]:
        """The finished splits."""
        return [entry for entry in self.entries if entry.get("status") == DONE]

    @property
    def labels(self) -> pd.DataFrame:
        """Subject and true emotion by clip_id."""
        assert self.predictions is not None
        by_clip = self.predictions.drop_duplicates("clip_id").set_index("clip_id")
        return by_clip[["subject", "emotion"]]


def read_run_folder(folder: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        UsageError: it is not one, or its study has not come to its end yet.
    """
    require(folder.is_dir(), f"{folder} is no folder: name a run folder, as in runs/demo")
    require(
        (folder / "summary.json").is_file(),
        f"{folder} holds no summary.json: it is no run folder, or its study is not at its end yet",
    )
    try:
        return _read(folder)
    except (ValueError, OSError) as error:
        raise UsageError(f"{folder} can't be read ({error}): is it whole?") from error


def _read(folder: Path) -> RunFolder:
    summary = _json(folder / "summary.json")
    # Without a finished split a table that lies there is of an earlier study.
    some = "per_subject" in summary
    entries = _entries(folder)
    _check_ledger(folder, summary, entries)
    return RunFolder(
        name=_json(folder / "study.json").get("name", folder.resolve().name),
        summary=summary,
        predictions=_table(folder / "predictions.parquet") if some else None,
        segments=_table(folder / "segment_predictions.parquet") if some else None,
        outcomes=_outcomes(folder / "outcomes.csv"),
        entries=tuple(entries),
        provenance=_json(folder / "provenance.json"),
        config=_text(folder / "config.yaml"),
    )


def _check_ledger(
    folder: Path, summary: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse a summary that speaks of splits which the ledger does not hold."""
    plan = _json(folder / "plan.json")
    if not summary.get("complete") or not (folder / "splits").is_dir():
        return
    done = sum(entry.get("status") == DONE for entry in entries)
    require(
        done >= len(plan.get("splits", ())),
        f"{folder}: summary.json says that the study is complete, and its ledger holds {done} of "
        f"{len(plan.get('splits', ()))} splits: run the study's command again",
    )


def _entries(folder: Path) -> list[Mapping[str, Any]]:
    """Return the ledger's entries of the plan's splits; of all where there is no plan."""
    plan = _json(folder / "plan.json")
    names = [split["split_id"] for split in plan.get("splits", ())] or sorted(
        path.stem for path in (folder / "splits").glob("*.json")
    )
    paths = [folder / "splits" / f"{name}.json" for name in names]
    return [_json(path) for path in paths if path.is_file()]


def _table(path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    table = pd.read_parquet(path)
    keys = [key for key in (*KEYS, "segment_index") if key in table]
    return table.sort_values(keys, ignore_index=True)


def _outcomes(path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    # A subject 01 stays 01, and one called NA is somebody.
    return pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False)


def _json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(_text(path) or "{}")
    return value


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
