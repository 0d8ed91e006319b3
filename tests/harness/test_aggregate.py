"""What a study reports when its segments vote, and when each clip has one prediction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.aggregate import aggregate
from harness.ledger import Ledger
from harness.mlflow_study import StudyRecord
from harness.report import print_summary
from harness.splits import Plan, Split
from harness.tracking import Tracker, TrackingConfig
from pipelines.records import Clip
from pipelines.split_task import SegmentPrediction, SplitResult, SplitTask

CLASSES = ("anger", "fear")
TRUE = {"s1/a": "anger", "s1/b": "fear", "s2/c": "fear", "s2/d": "anger"}
Rows = dict[str, list[tuple[float, float]]]
VOTING: Rows = {
    "s1/a": [(0.6, 0.4), (0.1, 0.9)],  # one vote each; fear by the sum: wrong
    "s1/b": [(0.2, 0.8)],
    "s2/c": [(0.9, 0.1), (0.3, 0.7), (0.4, 0.6)],
    "s2/d": [(0.8, 0.2)],
}
ONE_A_CLIP: Rows = {
    "s1/a": [(0.3, 0.7)] * 2,  # wrong
    "s1/b": [(0.5, 0.5)],  # the first class: wrong, and nobody voted against it
    "s2/c": [(0.4, 0.6)] * 3,
    "s2/d": [(0.9, 0.1)],
}


def study(folder: Path, rows: Rows, predicts: str) -> dict[str, Any]:
    """Aggregate a study of two splits with these probabilities of segments."""
    ledger, splits = Ledger(folder / "splits"), []
    for subject in ("s1", "s2"):
        test = tuple(clip_id for clip_id in TRUE if clip_id.startswith(subject))
        split = Split(
            split_id=f"held-out-{subject}",
            held_out=subject,
            repeat=0,
            seed=0,
            train=tuple(TRUE.keys() - {*test}),
            validation=(),
            test=test,
        )
        task = SplitTask(
            split_id=split.split_id,
            repeat=0,
            seed=0,
            classes=CLASSES,
            train=(),
            validation=(),
            test=test,
        )
        segments = [
            SegmentPrediction(clip_id=clip_id, segment_index=index, probabilities=row, attention={})
            for clip_id in test
            for index, row in enumerate(rows[clip_id])
        ]
        result = SplitResult(
            segments=segments, curves=[], chosen_epochs={}, reads={}, parameters={}
        )
        ledger.record(task, result, study_digest="", device="cpu", threads=1)
        splits.append(split)
    return aggregate(
        folder,
        plan=Plan(unit="clip", splits=tuple(splits)),
        protocol="LOSO",
        corpus="made",
        clips={
            clip_id: Clip(clip_id=clip_id, path="", subject=clip_id[:2], emotion=emotion)
            for clip_id, emotion in TRUE.items()
        },
        classes=CLASSES,
        predicts=predicts,
        digests={},
        seconds={},
        warnings=[],
    )


def predicted(folder: Path) -> list[tuple[str, str, bool]]:
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    return [(row["clip_id"], row["predicted"], row["tie"]) for row in rows]


def test_segments_vote_and_their_accuracy_and_ties_are_told(tmp_path: Path) -> None:
    summary = study(tmp_path, VOTING, "segment")
    assert predicted(tmp_path) == [
        ("s1/a", "fear", True),
        ("s1/b", "fear", False),
        ("s2/c", "fear", False),
        ("s2/d", "anger", False),
    ]
    assert summary["predicts"] == "segment"
    assert summary["clip_accuracy"] == pytest.approx(3 / 4)
    assert summary["segment_accuracy"] == pytest.approx(5 / 7)
    assert summary["tie_rate"] == pytest.approx(1 / 4)


def test_one_prediction_a_clip_has_neither_ties_nor_an_accuracy_of_segments(
    tmp_path: Path,
) -> None:
    summary = study(tmp_path, ONE_A_CLIP, "clip")
    assert predicted(tmp_path) == [
        ("s1/a", "fear", False),
        ("s1/b", "anger", False),
        ("s2/c", "fear", False),
        ("s2/d", "anger", False),
    ]
    rows = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    for row in rows:
        of_clip = [row["p_anger"], row["p_fear"]]
        assert of_clip == pytest.approx(ONE_A_CLIP[row["clip_id"]][0], abs=1e-15)
    assert summary["clip_accuracy"] == pytest.approx(2 / 4)
    assert summary["tie_rate"] == 0
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["predicts"] == "clip"
    assert written["segment_accuracy"] is None


@pytest.mark.parametrize(
    ("rows", "predicts", "voted"), [(VOTING, "segment", True), (ONE_A_CLIP, "clip", False)]
)
def test_the_table_speaks_of_a_vote_only_where_there_is_one(
    rows: Rows, predicts: str, voted: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker(
        TrackingConfig(enabled=False),
        runs=tmp_path,
        record=StudyRecord(name="made", tags={}, parameters={}),
    )
    print_summary(study(tmp_path, rows, predicts), tmp_path, tracker)
    said = capsys.readouterr().out
    assert "accuracy" in said
    assert ("majority-vote" in said) == voted
