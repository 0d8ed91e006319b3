"""Run folders with nothing but predictions, made by hand to be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CLASSES = ("anger", "fear", "joy")
SUBJECTS = ("s1", "s2", "s3", "s4", "s5")
Rows = list[dict[str, Any]]


def made(seed: int, share: float) -> Rows:
    """Predictions of 5 subjects with 6 to 10 clips each."""
    random = np.random.default_rng(seed)
    rows = []
    for number, subject in enumerate(SUBJECTS):
        for clip in range(6 + number):
            emotion = CLASSES[clip % 3]
            said = emotion if random.random() < share else CLASSES[(clip + 1) % 3]
            rows.append(
                {
                    "split_id": f"loso-{subject}",
                    "clip_id": f"{subject}/{clip}",
                    "subject": subject,
                    "emotion": emotion,
                    "predicted": said,
                }
            )
    return rows


def write_run(folder: Path, rows: Rows, **summary: Any) -> None:
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "predictions.parquet")
    told = {
        "protocol": "LOSO",
        "corpus": "made",
        "complete": True,
        "splits_done": 5,
        "splits_expected": 5,
        "warnings": [],
        "protocol_warnings": [],
        **summary,
    }
    (folder / "summary.json").write_text(json.dumps(told))
