"""One whole result per split, written where a crash can't halve it: resume is plan minus done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.split_task import SplitResult, SplitTask
from pipelines.storage import write_json, write_new_json, write_table

DONE, FAILED, HALTED = "done", "failed", "halted"
UNSEEN = "it ended, but its entry in the ledger is not to be seen: run the same command again"
ATTENTION_COLUMNS = {
    "beta_audio": pa.float64(),
    "beta_visual": pa.float64(),
    "beta_segments": pa.float64(),
    "beta_timesteps": pa.list_(pa.float64()),
}
"""Attention weights of a segment; null where attention did not choose among these."""


@dataclass(kw_only=True)
class Entry:
    """What the ledger knows of one split. It holds no label of a test clip."""

    split_id: str
    status: str
    study_digest: str
    error: str = ""
    parameters: dict[str, int] = field(default_factory=dict)
    chosen_epochs: dict[str, int] = field(default_factory=dict)
    curves: list[dict[str, Any]] = field(default_factory=list)
    reads: dict[str, list[str]] = field(default_factory=dict)
    """Phase -> ids of the clips that it read."""
    fitted: dict[str, list[str]] = field(default_factory=dict)
    """What was fitted besides the networks -> ids of the clips that it was fitted on."""
    chosen: dict[str, float] = field(default_factory=dict)
    """Settings of a rival that were chosen on the inner validation subject, and their score."""
    warnings: list[str] = field(default_factory=list)
    resumed: dict[str, int] = field(default_factory=dict)
    """Network -> epochs that another process had done before this one went on."""
    taken: list[str] = field(default_factory=list)
    """Networks that another study with the same stage 1 had trained."""
    seconds: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    """Those that a search chose for it."""
    device: str = ""
    threads: int = 0


class Ledger:
    """The folder `splits/` of a study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def record(
        self,
        task: SplitTask,
        result: SplitResult,
        *,
        study_digest: str,
        device: str,
        threads: int,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a finished split; the JSON file comes last and stands for both.

        One that was halted, in the last epoch of its curves, has no predictions to write.
        """
        if not result.halted:
            write_table(self.segments_path(task.split_id), segment_table(task, result))
        write_json(
            self._entry_path(task.split_id),
            vars(
                Entry(
                    split_id=task.split_id,
                    status=HALTED if result.halted else DONE,
                    study_digest=study_digest,
                    parameters=result.parameters,
                    chosen_epochs=result.chosen_epochs,
                    curves=result.curves,
                    reads=result.reads,
                    fitted=result.fitted,
                    chosen=result.chosen,
                    warnings=result.warnings,
                    resumed=result.resumed,
                    taken=result.taken,
                    seconds=result.seconds,
                    settings=dict(settings or {}),
                    device=device,
                    threads=threads,
                )
            ),
        )

    def record_failure(self, split_id: str, error: str, study_digest: str) -> None:
        """Write down that a split failed for good in this run; the next run tries it again.

        Never over what is known of it, whether this host sees it yet or not: another may have
        finished it. See `clear`.
        """
        entry = Entry(split_id=split_id, status=FAILED, study_digest=study_digest, error=error)
        write_new_json(self._entry_path(split_id), vars(entry))

    def clear(self, split_id: str, study_digest: str) -> None:
        """Forget what is known of a split that this study has yet to finish, before it is tried.

        It failed in an earlier run, is another study's, or was done and its predictions are lost.
        """
        if not (self.is_done(split_id, study_digest) or self.is_halted(split_id, study_digest)):
            self._entry_path(split_id).unlink(missing_ok=True)

    def entry(self, split_id: str) -> Entry | None:
        """Return what is known of a split; None where nothing is, or its predictions are lost."""
        try:
            entry = Entry(**json.loads(self._entry_path(split_id).read_text()))
        except FileNotFoundError:
            return None
        if entry.status == DONE and not self.segments_path(split_id).exists():
            return None
        return entry

    def is_done(self, split_id: str, study_digest: str) -> bool:
        """Whether this very study has finished the split."""
        entry = self.entry(split_id)
        return entry is not None and entry.status == DONE and entry.study_digest == study_digest

    def is_halted(self, split_id: str, study_digest: str) -> bool:
        """Whether this very study has given the split up."""
        entry = self.entry(split_id)
        return entry is not None and entry.status == HALTED and entry.study_digest == study_digest

    def segments(self, split_ids: Sequence[str]) -> pa.Table:
        """Return the segment predictions of finished splits, in order."""
        return pa.concat_tables(
            pq.ParquetFile(self.segments_path(split_id)).read() for split_id in split_ids
        )

    def segments_path(self, split_id: str) -> Path:
        """Return the file with a split's segment predictions."""
        return self.folder / f"{split_id}.parquet"

    def _entry_path(self, split_id: str) -> Path:
        return self.folder / f"{split_id}.json"


def segment_table(task: SplitTask, result: SplitResult) -> pa.Table:
    """Return a split's segment predictions in the columns of segment_predictions.parquet."""
    rows = result.segments
    columns: dict[str, pa.Array] = {
        "split_id": pa.array([task.split_id] * len(rows), pa.string()),
        "repeat": pa.array([task.repeat] * len(rows), pa.int32()),
        "seed_index": pa.array([task.seed_index] * len(rows), pa.int32()),
        "seed": pa.array([task.seed] * len(rows), pa.int64()),
        "clip_id": pa.array([row.clip_id for row in rows], pa.string()),
        "segment_index": pa.array([row.segment_index for row in rows], pa.int32()),
    }
    for index, label in enumerate(task.classes):
        columns[f"p_{label}"] = pa.array([row.probabilities[index] for row in rows], pa.float64())
    for column, kind in ATTENTION_COLUMNS.items():
        weights = [row.attention.get(column.removeprefix("beta_")) for row in rows]
        columns[column] = pa.array(weights, kind)
    return pa.table(columns)
