"""Protocols as commands, on the shards of the small study."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import SMALL, SmallStudy, clean_environment, run_module

from harness.protocols import LEAKING

TABLES = ("predictions.parquet", "segment_predictions.parquet")


@pytest.fixture
def cwd(small_study: SmallStudy, tmp_path: Path) -> Path:
    """A folder with the small corpus and its shards."""
    shutil.copytree(small_study.cwd / "data", tmp_path / "data")
    return tmp_path


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.long
def test_by_segment_the_clips_are_divided_and_every_figure_is_called_leaking(cwd: Path) -> None:
    settings = ("protocol.unit=segment", "protocol.folds=2", "name=leak")
    result = run_module("harness.kfold", *SMALL, *settings, cwd=cwd)
    assert result.status == 0, result.stderr
    assert f"warning: {LEAKING}" in result.stdout
    folder = cwd / "runs" / "leak"
    summary, plan = (read_json(folder / name) for name in ("summary.json", "plan.json"))
    assert (summary["protocol"], summary["warnings"]) == ("2-fold by segment", [LEAKING])
    assert summary["clips"] == 18
    with sqlite3.connect(cwd / "runs" / "mlflow.db") as store:
        said = store.execute("select value from tags where key = 'protocol_warning'").fetchall()
    assert (LEAKING,) in said

    assert plan["unit"] == "segment"
    rows = pq.read_table(folder / "segment_predictions.parquet").to_pylist()
    judged = [(row["split_id"], row["clip_id"], row["segment_index"]) for row in rows]
    planned = [(split["split_id"], *piece) for split in plan["splits"] for piece in split["test"]]
    assert sorted(judged) == sorted(planned)
    (shards,) = (cwd / "data" / "shards").iterdir()
    outcomes = pq.read_table(shards / "outcomes").to_pylist()
    every = {(row["clip_id"], number) for row in outcomes for number in range(row["segments"])}
    assert len(judged) == len(every)
    assert {(clip_id, number) for _, clip_id, number in judged} == every
    for split in plan["splits"]:
        reads = read_json(folder / "splits" / f"{split['split_id']}.json")["reads"]
        for phase, part in (
            ("stage1_fit", "train"),
            ("stage2_choose", "validation"),
            ("test", "test"),
        ):
            assert set(reads[phase]) == {clip_id for clip_id, _ in split[part]}
    # A clip whose segments were tested in both folds has one vote.
    predictions = pq.read_table(folder / "predictions.parquet")
    assert sorted(predictions["clip_id"].to_pylist()) == sorted(r["clip_id"] for r in outcomes)


@pytest.mark.long
def test_the_plan_of_a_study_gives_its_predictions_again_to_the_bit(
    small_study: SmallStudy, cwd: Path
) -> None:
    plan = small_study.folder / "plan.json"
    # The seed draws folds and weights, and both stand in the plan.
    settings = (f"protocol.plan={plan}", "seed=5", "name=again")
    result = run_module("harness.kfold", *SMALL, *settings, cwd=cwd)
    assert result.status == 0, result.stderr
    assert "splits of plan.json on synthetic" in result.stdout
    for name in TABLES:
        one = pq.read_table(small_study.folder / name)
        assert one.equals(pq.read_table(cwd / "runs" / "again" / name))
    assert read_json(cwd / "runs" / "again" / "summary.json")["warnings"] == []


@pytest.mark.long
def test_seeds_train_each_split_again_and_their_spread_is_told(
    small_study: SmallStudy, cwd: Path
) -> None:
    result = run_module("harness.loso", *SMALL, "protocol.seeds=2", "name=seeds", cwd=cwd)
    assert result.status == 0, result.stderr
    folder = cwd / "runs" / "seeds"
    summary = read_json(folder / "summary.json")
    assert summary["splits_done"] == summary["splits_expected"] == 6
    assert summary["clips"] == 18
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    alone = pq.read_table(small_study.folder / "predictions.parquet").to_pylist()
    # The first training of each split is that of a study without seeds, to the bit.
    first = {row["clip_id"]: row["p_anger"] for row in rows if row["seed_index"] == 0}
    second = {row["clip_id"]: row["p_anger"] for row in rows if row["seed_index"] == 1}
    assert first == {row["clip_id"]: row["p_anger"] for row in alone}
    assert second.keys() == first.keys()
    assert second != first
    each = [
        np.mean([row["predicted"] == row["emotion"] for row in rows if row["seed_index"] == index])
        for index in (0, 1)
    ]
    told = summary["seeds"]
    assert [row["clip_accuracy"] for row in told["each"]] == pytest.approx(each)
    assert told["mean"] == pytest.approx(np.mean(each))
    assert told["sd"] == pytest.approx(np.std(each, ddof=1))
    assert "between seeds" in result.stdout
    assert "between subjects" in result.stdout


@pytest.mark.long
def test_curves_are_in_mlflow_while_a_trial_still_trains(
    cwd: Path,
) -> None:
    longer = ("training.audio_epochs=400", "training.patience=400", "name=live", "seed=3")
    command = [sys.executable, "-m", "harness.loso", *SMALL, *longer]
    with (cwd / "said").open("w") as said:
        study = subprocess.Popen(
            command, cwd=cwd, env=clean_environment(), stdout=said, stderr=said
        )
    curves = 0
    try:
        while study.poll() is None and not curves:
            time.sleep(0.5)
            if not (cwd / "runs" / "mlflow.db").exists():
                continue
            with (
                suppress(sqlite3.OperationalError),  # its tables are still being made
                closing(sqlite3.connect(cwd / "runs" / "mlflow.db", timeout=5)) as store,
            ):
                curves = store.execute(
                    "select count(*) from metrics m join runs r using (run_uuid) "
                    "where m.key = 'audio/train_loss' and r.status = 'RUNNING'"
                ).fetchone()[0]
        assert study.poll() is None, (cwd / "said").read_text()[-2000:]
        assert curves > 0
        assert not list((cwd / "runs" / "live" / "splits").glob("*.json"))
    finally:
        study.terminate()
        study.wait(60)
