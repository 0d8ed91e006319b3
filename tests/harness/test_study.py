"""Studies run as commands, and their files recounted from outside."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import pyarrow.parquet as pq
import pytest
from conftest import (
    SMALL,
    ForkedCommands,
    Result,
    SmallStudy,
    clean_environment,
    copy_of,
    run_in_terminal,
    run_module,
)
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score

EMOTIONS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise"]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def rows(path: Path) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return table


def test_the_end_is_a_table_the_run_folder_and_the_way_to_mlflow(small_study: SmallStudy) -> None:
    said = small_study.result.stdout
    for subject in ("s01", "s02", "s03"):
        assert re.search(rf"{subject}\W+6\W+[\d.]+ %\W+[\d.]+ %", said)
    assert re.search(r"pooled accuracy +[\d.]+ %", said)
    assert re.search(r"pooled UAR +[\d.]+ %", said)
    assert re.search(
        r"mean over subjects +[\d.]+ % +\(t interval, nominal 95 % over 3 subjects", said
    )
    assert "3 of 3 splits done, 18 of 18 clips used, 3 subjects" in said
    assert re.search(r"run folder: .*small", said)
    assert re.search(r"mlflow ui --backend-store-uri sqlite:////.*mlflow.db --host 127.0.0.1", said)


def test_one_line_a_stage_and_not_a_word_from_the_libraries(small_study: SmallStudy) -> None:
    lines = small_study.result.stderr.splitlines()
    patterns = [
        r"running on a local Ray: \d+ CPUs, \d+ GPUs",
        r"make corpus: 18 of 18 in [\d.]+ s",
        r"preprocess: 18 of 18 in [\d.]+ s, 18 ok",
        r"train: 3 of 3 in [\d.]+ s",
    ]
    assert len(lines) == len(patterns), small_study.result.stderr
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line)


def test_votes_recounted_from_the_segments_are_the_predictions(small_study: SmallStudy) -> None:
    segments: dict[tuple[str, str], list[list[float]]] = {}
    for row in rows(small_study.folder / "segment_predictions.parquet"):
        chances = [row[f"p_{emotion}"] for emotion in EMOTIONS]
        assert sum(chances) == pytest.approx(1.0, abs=1e-9)
        assert row["beta_audio"] + row["beta_visual"] == pytest.approx(1.0, abs=1e-5)
        segments.setdefault((row["split_id"], row["clip_id"]), []).append(chances)
    predictions = rows(small_study.folder / "predictions.parquet")
    assert {(row["split_id"], row["clip_id"]) for row in predictions} == set(segments)
    for row in predictions:
        of_clip = segments[row["split_id"], row["clip_id"]]
        votes = Counter(EMOTIONS[chances.index(max(chances))] for chances in of_clip)
        most = max(votes.values())
        tied = [emotion for emotion in EMOTIONS if votes[emotion] == most]
        sums = dict(zip(EMOTIONS, np.sum(of_clip, axis=0), strict=True))
        assert row["predicted"] == max(tied, key=lambda emotion: sums[emotion])
        assert row["tie"] == (len(tied) > 1)
        for emotion in EMOTIONS:
            assert row[f"p_{emotion}"] == pytest.approx(sums[emotion] / len(of_clip))


def test_figures_recounted_from_the_predictions_are_the_summary(small_study: SmallStudy) -> None:
    summary = read_json(small_study.folder / "summary.json")
    predictions = rows(small_study.folder / "predictions.parquet")
    true = [row["emotion"] for row in predictions]
    predicted = [row["predicted"] for row in predictions]
    assert len(predictions) == summary["clips"] == 18
    assert summary["clip_accuracy"] == accuracy_score(true, predicted)
    assert summary["uar"] == balanced_accuracy_score(true, predicted)
    assert summary["coverage"] == 1.0
    assert summary["clip_accuracy_all"] == summary["clip_accuracy"]
    assert sum(map(sum, summary["confusion"])) == 18
    shares = []
    for told in summary["per_subject"]:
        own = [row for row in predictions if row["subject"] == told["subject"]]
        shares.append(sum(row["emotion"] == row["predicted"] for row in own) / len(own))
        assert told["clips"] == len(own) == 6
        assert told["clip_accuracy"] == pytest.approx(shares[-1])
    half = stats.t.ppf(0.975, 2) * np.std(shares, ddof=1) / np.sqrt(3)
    assert summary["clip_accuracy_subject_mean"] == pytest.approx(np.mean(shares))
    assert summary["ci95_low"] == pytest.approx(max(0.0, np.mean(shares) - half))
    assert summary["ci95_high"] == pytest.approx(min(1.0, np.mean(shares) + half))
    segments = rows(small_study.folder / "segment_predictions.parquet")
    emotion_of = {row["clip_id"]: row["emotion"] for row in predictions}
    right = [
        max(EMOTIONS, key=lambda emotion: row[f"p_{emotion}"]) == emotion_of[row["clip_id"]]
        for row in segments
    ]
    assert summary["segment_accuracy"] == pytest.approx(np.mean(right))
    assert summary["tie_rate"] == pytest.approx(np.mean([row["tie"] for row in predictions]))


def test_every_clip_is_tested_once_by_a_split_that_held_its_subject_out(
    small_study: SmallStudy,
) -> None:
    plan = read_json(small_study.folder / "plan.json")
    assert plan["unit"] == "clip"
    outcomes = rows(small_study.shards / "outcomes")
    subject_of = {row["clip_id"]: row["subject"] for row in outcomes}
    tested = Counter(clip_id for split in plan["splits"] for clip_id in split["test"])
    assert tested == Counter(dict.fromkeys(subject_of, 1))
    for split in plan["splits"]:
        assert {subject_of[c] for c in split["test"]} == {split["held_out"]}
        others = [{subject_of[c] for c in split[part]} for part in ("train", "validation")]
        assert split["held_out"] not in set.union(*others)
        assert not set.intersection(*others)


def test_the_ledger_lists_what_each_phase_read_and_holds_no_test_label(
    small_study: SmallStudy,
) -> None:
    for split in read_json(small_study.folder / "plan.json")["splits"]:
        path = small_study.folder / "splits" / f"{split['split_id']}.json"
        entry = read_json(path)
        assert entry["status"] == "done"
        reads = {phase: set(clip_ids) for phase, clip_ids in entry["reads"].items()}
        assert reads == {
            "stage1_fit": set(split["train"]),
            "stage1_choose": set(split["validation"]),
            "stage2_fit": set(split["train"]),
            "stage2_choose": set(split["validation"]),
            "test": set(split["test"]),
        }
        columns = pq.read_schema(path.with_suffix(".parquet")).names
        assert not {"emotion", "label", "subject"} & set(columns)


def test_the_shards_are_as_the_contract_says(small_study: SmallStudy) -> None:
    outcomes = rows(small_study.shards / "outcomes")
    manifest = read_json(small_study.shards / "manifest.json")
    assert {row["clip_id"] for row in outcomes} == {
        clip["outcome"]["clip_id"] for clip in manifest["clips"]
    }
    assert sorted(outcomes, key=lambda row: str(row["clip_id"])) == [
        clip["outcome"] for clip in manifest["clips"]
    ]
    frames = pq.read_table(small_study.shards / "frames")
    segments = pq.read_table(small_study.shards / "segments")
    assert frames.num_rows == sum(row["frames"] for row in outcomes)
    assert segments.num_rows == sum(row["segments"] for row in outcomes)
    assert str(frames.schema.field("crop").type) == "fixed_size_binary[154587]"
    for row in outcomes:
        assert (row["status"], row["voice_found"], row["reason"]) == ("ok", True, "")
        own = frames.filter(np.equal(frames["clip_id"].to_pylist(), row["clip_id"]))
        assert sorted(own["frame_index"].to_pylist()) == list(range(row["frames"]))
    for row in segments.select(["clip_id", "frame_indices"]).to_pylist():
        assert len(row["frame_indices"]) == 20
        assert row["frame_indices"] == sorted(row["frame_indices"])


def test_mlflow_has_one_parent_and_a_child_a_split_with_their_figures(
    small_study: SmallStudy,
) -> None:
    from mlflow import MlflowClient

    summary = read_json(small_study.folder / "summary.json")
    client = MlflowClient(f"sqlite:///{small_study.cwd / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("emotion")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.data.tags["held_out"] for run in children} == {"s01", "s02", "s03"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    for name in ("clip_accuracy", "uar", "clip_accuracy_subject_mean", "ci95_low", "ci95_high"):
        assert parent.data.metrics[name] == pytest.approx(summary[name])
    assert parent.data.tags["complete"] == "true"
    accuracy_of = {row["subject"]: row["clip_accuracy"] for row in summary["per_subject"]}
    for run in children:
        held_out = run.data.tags["held_out"]
        assert run.data.metrics["test/clip_accuracy"] == pytest.approx(accuracy_of[held_out])
        assert len(client.get_metric_history(run.info.run_id, "audio/validation_loss")) == 2
    sent = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert sent >= {"config.yaml", "plan.json", "predictions.parquet", "summary.json"}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of each file: another inode means that it was written again."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_second_run_redoes_nothing_and_duplicates_nothing(small_study: SmallStudy) -> None:
    ledger, shards = small_study.folder / "splits", small_study.cwd / "data"
    before = snapshot(ledger), snapshot(shards)
    predictions = (small_study.folder / "predictions.parquet").read_bytes()
    again = run_module("harness.loso", *small_study.arguments, cwd=small_study.cwd)
    assert again.status == 0
    assert "preprocess: 18 clips were done before" in again.stderr
    assert "train: 3 splits were done before" in again.stderr
    assert (snapshot(ledger), snapshot(shards)) == before
    assert (small_study.folder / "predictions.parquet").read_bytes() == predictions
    with sqlite3.connect(small_study.cwd / "runs" / "mlflow.db") as store:
        assert store.execute("select count(*) from runs").fetchone() == (4,)


def test_other_workers_and_networks_that_are_not_kept_give_the_same_predictions(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    (corpus,) = (small_study.cwd / "data" / "corpora").iterdir()
    arguments = (*small_study.arguments, f"corpus.root={corpus}", "cluster.cpus=1")
    arguments += ("model.keep=false",)
    again = run_module("harness.loso", *arguments, cwd=tmp_path)
    assert again.status == 0, again.stderr
    for name in ("predictions.parquet", "segment_predictions.parquet"):
        one = pq.read_table(small_study.folder / name)
        assert one.equals(pq.read_table(tmp_path / "runs" / "small" / name))


@pytest.mark.long
def test_a_normaliser_tells_which_clips_it_saw_and_a_planted_leak_stops_the_study(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    cwd = copy_of(small_study, tmp_path, runs=False)
    arguments = (*small_study.arguments, "training.rescaling=standardised")
    result = run_module("harness.loso", *arguments, cwd=cwd)
    assert result.status == 0, result.stderr
    folder = cwd / "runs" / "small"
    split = read_json(folder / "plan.json")["splits"][0]
    path = folder / "splits" / f"{split['split_id']}.json"
    entry = read_json(path)
    assert entry["fitted"] == {"standardiser": split["train"]}
    entry["fitted"]["standardiser"].append(split["test"][0])
    path.write_text(json.dumps(entry))
    again = run_module("harness.loso", *arguments, cwd=cwd)
    assert again.status == 2
    assert f"the standardiser was fitted on {split['test'][0]}" in again.stderr
    # What stood there as the study's result stands no longer.
    for name in ("summary.json", "predictions.parquet", "report.html", "tables", "figures"):
        assert not (folder / name).exists()


def test_in_a_terminal_each_stage_is_one_live_line_and_another_seed_gives_other_probabilities(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    cwd = copy_of(small_study, tmp_path, runs=False)
    other = run_in_terminal("harness.loso", *small_study.arguments, "seed=1", cwd=cwd)
    assert other.status == 0, other.stdout
    # The live line is drawn over itself: it is cleared, and never ended by a new line.
    live = re.findall(r"[^\r\n]*train [^\r\n]*[012]/3[^\r\n]*\r?\n?", other.stdout)
    assert live
    assert not [line for line in live if line.endswith("\n")]
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", other.stdout)
    # Done, rate, time gone, time left.
    assert re.search(r"train +\S+ +[12]/3 +[\d.]+/(s|min) +\d:\d\d:\d\d +\d:\d\d:\d\d", shown), (
        shown
    )
    for stage in ("preprocess: 18 clips were done before", "train: 3 of 3 in"):
        assert other.stdout.count(stage) == 1
    one = pq.read_table(small_study.folder / "predictions.parquet")
    two = pq.read_table(cwd / "runs" / "small" / "predictions.parquet")
    assert one["clip_id"].to_pylist() == two["clip_id"].to_pylist()
    assert one["p_anger"].to_pylist() != two["p_anger"].to_pylist()


def test_a_study_killed_in_its_training_goes_on_to_the_same_result(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    cwd = copy_of(small_study, tmp_path, runs=False)
    command = [sys.executable, "-m", "harness.loso", *small_study.arguments, "cluster.cpus=1"]
    driver = subprocess.Popen(
        command,
        cwd=cwd,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ledger = cwd / "runs" / "small" / "splits"
    deadline = time.monotonic() + 300
    while not list(ledger.glob("*.json")) and time.monotonic() < deadline:
        assert driver.poll() is None, "the study ended before it could be killed"
        time.sleep(0.05)
    below = psutil.Process(driver.pid).children(recursive=True)
    trials = [each for each in below if each.name().startswith("ray::Implicit")]
    assert trials
    driver.kill()
    driver.wait()
    # They outlive it for a moment, in which another split may still be entered.
    _, left = psutil.wait_procs(trials, timeout=60)
    assert not left
    done = sorted(path.name for path in ledger.glob("*.json"))
    assert 1 <= len(done) < 3
    times = {name: (ledger / name).stat().st_mtime_ns for name in done}
    again = run_module("harness.loso", *small_study.arguments, cwd=cwd)
    assert again.status == 0, again.stderr
    assert f"train: {3 - len(done)} of {3 - len(done)}" in again.stderr
    assert {name: (ledger / name).stat().st_mtime_ns for name in done} == times
    for name in ("predictions.parquet", "segment_predictions.parquet"):
        one = pq.read_table(small_study.folder / name)
        assert one.equals(pq.read_table(cwd / "runs" / "small" / name))
    with sqlite3.connect(cwd / "runs" / "mlflow.db") as store:
        assert store.execute("select count(*) from runs where status = 'FINISHED'").fetchone() == (
            4,
        )


def trial_processes(mark: str) -> list[int]:
    """Return the processes of running trials that inherited an environment variable."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            name = (folder / "cmdline").read_bytes().split(b"\0")[0]
            if (
                name.startswith(b"ray::ImplicitFunc")
                and mark.encode() in (folder / "environ").read_bytes()
            ):
                found.append(int(folder.name))
        except (OSError, ValueError):
            continue
    return found


@pytest.mark.long
def test_a_trial_killed_in_its_work_is_tried_again_and_changes_nothing(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    cwd = copy_of(small_study, tmp_path, runs=False)
    mark = f"TEST_MARK={tmp_path}"
    arguments = (*small_study.arguments, "training.checkpoint_seconds=0")
    command = [sys.executable, "-m", "harness.loso", *arguments]
    driver = subprocess.Popen(
        command,
        cwd=cwd,
        env=clean_environment(TEST_MARK=str(tmp_path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    checkpoints = cwd / "runs" / "small" / "checkpoints"
    deadline = time.monotonic() + 300
    while len(list(checkpoints.glob("*/audio.pt"))) < 2 and time.monotonic() < deadline:
        assert driver.poll() is None, "the study ended before a trial could be killed"
        time.sleep(0.02)
    running = trial_processes(mark)
    os.kill(running[0], signal.SIGKILL)
    _, said = driver.communicate(timeout=600)
    assert driver.returncode == 0, said
    for name in ("predictions.parquet", "segment_predictions.parquet"):
        one = pq.read_table(small_study.folder / name)
        assert one.equals(pq.read_table(cwd / "runs" / "small" / name))
    ledger = cwd / "runs" / "small" / "splits"
    resumed = [read_json(path)["resumed"] for path in ledger.glob("*.json")]
    assert sum(bool(networks) for networks in resumed) == 1
    assert not list(checkpoints.iterdir())


@pytest.mark.long
def test_a_split_that_fails_makes_the_study_incomplete_and_is_tried_again(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    cwd = copy_of(small_study, tmp_path, runs=False)
    planted = cwd / "runs" / "small" / "splits" / "loso-s02.parquet"
    planted.mkdir(parents=True)  # a folder where the trial wants to write its file
    failed = run_module("harness.loso", *small_study.arguments, cwd=cwd)
    assert failed.status == 1
    assert "failed: loso-s02: IsADirectoryError" in failed.stdout
    assert "incomplete: 2 of 3 splits are done" in failed.stdout
    assert "pooled accuracy" not in failed.stdout
    summary = read_json(cwd / "runs" / "small" / "summary.json")
    assert not summary["complete"]
    assert (summary["splits_done"], summary["splits_expected"]) == (2, 3)
    assert [entry["split_id"] for entry in summary["splits_failed"]] == ["loso-s02"]
    assert not {"clip_accuracy", "uar", "clip_accuracy_subject_mean"} & summary.keys()
    assert [row["subject"] for row in summary["per_subject"]] == ["s01", "s03"]
    planted.rmdir()
    mended = run_module("harness.loso", *small_study.arguments, cwd=cwd)
    assert mended.status == 0
    one = pq.read_table(small_study.folder / "predictions.parquet")
    assert one.equals(pq.read_table(cwd / "runs" / "small" / "predictions.parquet"))


def test_a_tracking_server_that_is_down_stops_nothing(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    cwd = copy_of(small_study, tmp_path, runs=True)
    done = run_module(
        "harness.loso",
        *small_study.arguments,
        cwd=cwd,
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
    )
    assert done.status == 0
    assert "pooled accuracy" in done.stdout
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("warning:")]
    assert "http://127.0.0.1:9 did not take this study" in warning


def test_a_study_that_is_being_worked_on_is_not_started_twice(
    small_study: SmallStudy, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    cwd = copy_of(small_study, tmp_path, runs=True)
    with (cwd / "runs" / "small" / ".lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = forked_commands.run("harness.loso", *small_study.arguments, cwd=cwd)
    assert result.status == 2
    assert "name (small) is being worked on by another process" in result.stderr


def test_a_name_that_another_study_has_is_refused(
    small_study: SmallStudy, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    cwd = copy_of(small_study, tmp_path, runs=True)
    before = snapshot(cwd / "runs" / "small")
    arguments = (*small_study.arguments, "fusion.dropout=0.1")
    result = forked_commands.run("harness.loso", *arguments, cwd=cwd)
    assert result.status == 2
    assert "name (small) is taken" in result.stderr
    assert snapshot(cwd / "runs" / "small") == before


@pytest.mark.long
def test_one_changed_clip_costs_that_clip_alone(small_study: SmallStudy, tmp_path: Path) -> None:
    corpus = next((small_study.cwd / "data" / "corpora").iterdir())
    clips = tmp_path / "clips"
    shutil.copytree(corpus, clips)
    files = sorted((clips / "s01").glob("*.avi"))
    listed = [f"{f.relative_to(clips)},{f.parent.name},{f.stem[:-2]}" for f in files]
    (clips / "manifest.csv").write_text("\n".join(["path,subject,label", *listed]) + "\n")
    own = ["corpus=csv_manifest", f"corpus.root={clips}"]
    first = run_module("pipelines.preprocess", *own, cwd=tmp_path)
    assert "preprocess: 6 of 6" in first.stderr, first.stderr
    shutil.copy(files[1], files[0])
    files[2].write_bytes(b"")
    second = run_module("pipelines.preprocess", *own, cwd=tmp_path)
    assert second.status == 0, second.stderr
    assert re.search(r"preprocess: 2 of 2 in [\d.]+ s, 1 ok, 1 failed", second.stderr)
    name = files[2].relative_to(clips).with_suffix("")
    assert f"  {name}: failed: empty_file" in second.stderr
    assert "5 of 6 clips usable" in second.stderr


def test_kfold_runs_on_the_same_machinery_and_says_what_its_numbers_are(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    cwd = copy_of(small_study, tmp_path, runs=False)
    arguments = [*SMALL, "name=folds", "protocol.folds=2", "--json"]
    result = run_module("harness.kfold", *arguments, cwd=cwd)
    assert result.status == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["protocol"] == "2-fold by clip"
    assert any(warning.startswith("subject-dependent") for warning in summary["warnings"])
    assert summary["splits_done"] == 2
    plan = read_json(cwd / "runs" / "folds" / "plan.json")
    tested = Counter(clip_id for split in plan["splits"] for clip_id in split["test"])
    assert len(tested) == 18
    assert set(tested.values()) == {1}
    assert len(rows(cwd / "runs" / "folds" / "predictions.parquet")) == 18


def one_line_refusal(result: Result) -> str:
    assert result.status == 2, result.stderr
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["corpus=csv_manifest", "corpus.root=/no/such/folder"], "corpus.root (/no/such/folder)"),
        (["corpus=rml2"], "corpus (rml2) must be one of: crema_d, csv_manifest"),
        (["trainin.patience=3"], "did you mean training.patience?"),
        (["training.patience=soon"], "training.patience (soon)"),
        (["training.patience=0"], "training.patience (0) must be at least 1"),
        (["corpus.subjects=1"], "corpus.subjects (1) must be at least 2"),
        (["cluster.trial_cpus=0"], "cluster.trial_cpus (0) must be at least 1"),
        (["model.weights=/no/such/file"], "model.weights (/no/such/file) is not a file"),
        (["faces=ssd_resnet", "faces.model_dir=/no/such"], "/no/such"),
        (
            ["cluster.address=127.0.0.1:9"],
            "no Ray cluster answers at cluster.address (127.0.0.1:9)",
        ),
        (["cluster.address=127.0.0.1"], "must be host:port of a running Ray cluster"),
        (["paths.runs=/proc/nowhere"], "paths.runs (/proc/nowhere) can't be written to"),
        (["name=.."], "name (..) must be of letters"),
        (["seed=4294967296"], "seed (4294967296) must be from 0 to 4294967295"),
        (["protocol=kfold"], "use python -m harness.kfold"),
        (["protocol.folds"], "settings are written key=value"),
    ],
)
def test_a_wrong_request_is_one_line_and_status_2_before_any_work(
    arguments: list[str], said: str, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    result = forked_commands.run("harness.loso", *arguments, cwd=tmp_path)
    assert said in one_line_refusal(result)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("path,subject,label\n", "is empty"),
        ("path,subject,label\na.avi,p1,joy\nb.avi,p1,fear\n", "one subject only (p1)"),
        ("path,subject,label\na.avi,p1,joy\nb.avi,p2,joy\n", "a single label (joy)"),
        ("path,subject,label\nb.avi,p1,joy\nc.avi,p2,fear\n", "none of the 2 files"),
        ("path,who,label\na.avi,p1,joy\n", "no column subject"),
        ("path,subject,label\n../a.avi,p1,joy\n", "line 2: path (../a.avi) must stay inside"),
    ],
)
def test_a_corpus_that_cannot_be_studied_is_refused_before_any_work(
    manifest: str, said: str, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    (tmp_path / "manifest.csv").write_text(manifest)
    (tmp_path / "a.avi").touch()
    result = forked_commands.run(
        "harness.loso", "corpus=csv_manifest", f"corpus.root={tmp_path}", cwd=tmp_path
    )
    assert said in one_line_refusal(result)
    assert {path.name for path in tmp_path.iterdir()} == {"a.avi", "manifest.csv"}


def test_help_shows_what_can_be_set_and_how(tmp_path: Path) -> None:
    result = run_module("harness.loso", "--help", cwd=tmp_path)
    assert result.status == 0
    assert "python -m harness.loso corpus=csv_manifest corpus.root=" in result.stdout
    assert re.search(r"faces= +haar \| ssd_resnet \| yunet", result.stdout)
    assert "training.patience" in result.stdout
