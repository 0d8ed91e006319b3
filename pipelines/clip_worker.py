"""A clip's processing as a pool of processes has it: rows in, rows out, and no error raised."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from pipelines.errors import UsageError
from pipelines.process import ClipProcessor
from pipelines.records import Clip, ClipOutcome, from_row
from pipelines.shards import ShardFolder


class ClipWorker:
    """A `ClipProcessor` for a pool: the row of a clip in, its outcome as JSON out.

    A user's mistake comes back as a row with a `problem`: an actor that can't be made would hide
    it in a trace of Ray's.
    """

    def __init__(self, root: str, **settings: Any) -> None:
        self.problem = ""
        try:
            self.processor = ClipProcessor(ShardFolder(root), **settings)
        except UsageError as error:
            self.problem = str(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        if self.problem:
            return {"clip_id": row["clip_id"], "problem": self.problem}
        outcome = self.processor.process(from_row(row), row["key"], row["content"])
        return {"clip_id": outcome.clip_id, "outcome": json.dumps(asdict(outcome))}


def outcome_of(clip: Clip, answer: str | None) -> ClipOutcome:
    """Return the outcome in a worker's answer; None where the worker died of the clip."""
    if answer is not None:
        return ClipOutcome(**json.loads(answer))
    return ClipOutcome(
        clip_id=clip.clip_id,
        subject=clip.subject,
        emotion=clip.emotion,
        status="failed",
        reason="worker_died",
        detail="its process was killed or crashed, twice",
        transient=True,
    )
