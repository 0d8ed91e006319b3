"""What a study reports when its segments vote, and when each clip has one prediction."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness.aggregate import aggregate
from harness.ledger import UNSEEN, Ledger
from harness.mlflow_study import StudyRecord
from harness.plan import Plan, Split
from harness.terminal import print_summary
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


def study(
    folder: Path,
    rows: Rows,
    predicts: str,
    *,
    lost: Sequence[str] = (),
    seeds: int = 1,
    done: Sequence[str] = ("s1", "s2"),
    same_people: bool = False,
) -> dict[str, Any]:
    """Aggregate a study of two splits with these probabilities of segments."""
    ledger, splits = Ledger(folder / "splits"), []
    for subject, seed_index in itertools.product(("s1", "s2"), range(seeds)):
        test = tuple(clip_id for clip_id in TRUE if clip_id.startswith(subject))
        split = Split(
            split_id=f"held-out-{subject}-{seed_index}",
            held_out=subject,
            repeat=0,
            seed_index=seed_index,
            seed=0,
            train=tuple(TRUE.keys() - ({test[0]} if same_people else {*test})),
            validation=(),
            test=test,
        )
        task = SplitTask(
            split_id=split.split_id,
            repeat=0,
            seed_index=seed_index,
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
        splits.append(split)
        if subject in done:
            ledger.record(task, result, study_digest="", device="cpu", threads=1)
    return aggregate(
        folder,
        plan=Plan(unit="clip", splits=tuple(splits), lost=tuple(lost)),
        protocol="LOSO",
        corpus="made",
        clips={
            clip_id: Clip(clip_id=clip_id, path="", subject=clip_id[:2], emotion=emotion)
            for clip_id, emotion in {**TRUE, **dict.fromkeys(lost, "fear")}.items()
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
    for name in ("accuracy", "uar", "weighted_f1", "confusion"):
        assert written[f"segment_{name}"] is None


def test_lost_clips_lower_coverage_and_count_as_wrong_beside_the_headline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = study(tmp_path, VOTING, "segment", lost=["s1/x", "s3/y"])
    assert summary["clip_accuracy"] == 3 / 4
    assert summary["coverage"] == pytest.approx(4 / 6)
    assert summary["clip_accuracy_all"] == pytest.approx(3 / 6)
    assert (summary["clips"], summary["clips_usable"], summary["subjects"]) == (6, 4, 3)
    assert [row["clips_missing"] for row in summary["per_subject"]] == [1, 0]
    assert "no clip of s3 could be used: the figures are without them" in summary["warnings"]
    print_summary(summary, tmp_path)
    assert "with lost clips wrong  50.0 %  (66.7 %" in capsys.readouterr().out


def test_each_seed_is_told_and_each_clip_counts_once(tmp_path: Path) -> None:
    summary = study(tmp_path, VOTING, "segment", seeds=3)
    assert summary["clip_accuracy"] == summary["clip_accuracy_all"] == pytest.approx(3 / 4)
    assert [row["clip_accuracy"] for row in summary["seeds"]["each"]] == [3 / 4] * 3
    assert summary["seeds"]["sd"] == 0
    assert summary["subject_sd"] == pytest.approx(0.5 / 2**0.5)
    assert summary["repeats"] is None
    assert summary["segments"] == 7
    assert np.sum(summary["confusion"]) == pytest.approx(4)


def test_an_incomplete_study_has_a_bound_and_no_headline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = study(tmp_path, VOTING, "segment", done=["s2"])
    assert not {"clip_accuracy", "uar", "ci95_low", "intervals"} & summary.keys()
    assert summary["clip_accuracy_all"] == 2 / 4
    assert summary["coverage"] == 2 / 4
    assert summary["splits_failed"] == [{"split_id": "held-out-s1-0", "error": UNSEEN}]
    print_summary(summary, tmp_path)
    said = capsys.readouterr().out
    assert "pooled" not in said
    assert "at least" in said


def test_each_seed_owes_each_clip_in_an_incomplete_study(tmp_path: Path) -> None:
    summary = study(tmp_path, VOTING, "segment", seeds=3, done=["s2"])
    assert summary["splits_done"] == 3
    assert summary["coverage"] == pytest.approx(2 / 4)
    assert summary["clip_accuracy_all"] == pytest.approx(2 / 4)


def test_a_warning_of_the_protocol_stands_beside_the_number_and_in_the_title(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(study(tmp_path, VOTING, "segment", same_people=True), tmp_path)
    said = capsys.readouterr().out.splitlines()
    for start in (
        "LOSO on made",
        "mean over subjects",
        "pooled accuracy",
        "pooled UAR",
        "by mean probability",
        "single segments",
        "between subjects",
    ):
        (line,) = [line for line in said if line.startswith(start)]
        assert "[subject-dependent: the people tested were also trained on]" in line


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
