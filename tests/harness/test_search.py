"""Searches run as commands: what they leave behind, recounted from outside."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest
from conftest import SMALL, ForkedCommands, Result, SmallStudy, clean_environment, run_module
from optuna.trial import FrozenTrial
from sklearn.metrics import balanced_accuracy_score

from pipelines.shards import open_shards

EMOTIONS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise"]
TRIED = 2 + 2 + 1
"""Images of noise of one side through the convolutions of a new network."""
FROZEN = (
    "search=demo",
    "training.trunk=frozen",
    "training.precision=float32",
    "training.segments_per_clip=null",
)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def trials_of(folder: Path, split_id: str) -> list[FrozenTrial]:
    storage = f"sqlite:///{folder / 'search' / 'optuna.db'}"
    return optuna.load_study(storage=storage, study_name=split_id).get_trials()


def images_passed(counts: Path) -> Counter[int]:
    """Images that went through the trunk in all processes, by their side."""
    passed: Counter[int] = Counter()
    for path in counts.iterdir():
        for line in path.read_text().splitlines():
            side, count = map(int, line.split())
            passed[side] += count
    return passed


def recount(entries: Path, name: str, planned: list[str], emotion_of: dict[str, str]) -> float:
    """Return the UAR of a trial's votes, from the segments in its ledger entry."""
    chances: dict[str, list[list[float]]] = {}
    for row in pq.read_table(entries / f"{name}.parquet").to_pylist():
        chances.setdefault(row["clip_id"], []).append([row[f"p_{e}"] for e in EMOTIONS])
    predicted = []
    for clip_id in planned:
        votes = Counter(max(range(6), key=row.__getitem__) for row in chances[clip_id])
        tied = [k for k in range(6) if votes[k] == max(votes.values())]
        sums = [sum(column) for column in zip(*chances[clip_id], strict=True)]
        predicted.append(EMOTIONS[max(tied, key=sums.__getitem__)])
    return float(balanced_accuracy_score([emotion_of[c] for c in planned], predicted))


@pytest.mark.long
def test_a_nested_search_chooses_within_each_outer_split_and_tests_once(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    shutil.copytree(small_study.cwd / "data", tmp_path / "data")
    shutil.copy(Path(__file__).parent.parent / "tiny_network.py", tmp_path)
    (tmp_path / "counts").mkdir()
    done = run_module(
        "harness.search",
        *SMALL,
        *FROZEN,
        "model=tiny_network:CountingBackbone",
        "search.trials=2",
        "search.round=2",
        "search.startup=2",
        "name=s",
        cwd=tmp_path,
        COUNT_IMAGES_IN=str(tmp_path / "counts"),
    )
    assert done.status == 0, done.stderr
    for line in ("features: 18 of 18", "search: 6 of 6", "train: 3 of 3"):
        assert line in done.stderr
    assert "stability of the choices over 3 outer splits" in done.stdout
    folder = tmp_path / "runs" / "s"

    # Six trials and three splits, and each image passed the trunk once.
    (shards,) = (tmp_path / "data" / "shards").iterdir()
    usable = open_shards(shards).usable
    passed = images_passed(tmp_path / "counts")
    noise = passed[24] - sum(outcome.frames for outcome in usable)
    assert 0 <= noise < sum(outcome.frames for outcome in usable)
    assert noise % TRIED == 0
    assert passed[64] - sum(outcome.segments for outcome in usable) == noise

    summary = read_json(folder / "summary.json")
    section = summary["search"]
    emotion_of = {outcome.clip_id: outcome.emotion for outcome in usable}
    predictions = pq.read_table(folder / "predictions.parquet").to_pylist()
    assert section["kind"] == "nested"
    assert len(predictions) == 18
    for split, told in zip(
        read_json(folder / "plan.json")["splits"], section["splits"], strict=True
    ):
        own = folder / "search" / split["split_id"]
        (inner,) = read_json(own / "plan.json")["splits"]
        seen = {*inner["train"], *inner["validation"], *inner["test"]}
        assert seen == {*split["train"], *split["validation"]}
        trials = trials_of(folder, split["split_id"])
        scores = [
            recount(own / "splits", f"trial{n:03d}-inner1", inner["test"], emotion_of)
            for n in (1, 2)
        ]
        assert [trial.value for trial in trials] == pytest.approx(scores)
        best = scores.index(max(scores))
        assert told["trial"] == best + 1
        assert told["settings"] == trials[best].params
        assert told["inner_best"] == pytest.approx(max(scores))
        entry = read_json(folder / "splits" / f"{split['split_id']}.json")
        assert entry["settings"] == trials[best].params
        tested = [row for row in predictions if row["split_id"] == split["split_id"]]
        labels = [[row[key] for row in tested] for key in ("emotion", "predicted")]
        outer = balanced_accuracy_score(*labels)
        assert told["outer"] == pytest.approx(outer)
        assert told["gap"] == pytest.approx(max(scores) - outer)
    gaps = [told["gap"] for told in section["splits"]]
    assert section["gap"] == pytest.approx(sum(gaps) / 3)
    for figure in section["figures"]:
        assert (folder / "figures" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    with sqlite3.connect(tmp_path / "runs" / "mlflow.db") as store:
        kinds = store.execute("select distinct value from tags where key = 'search'").fetchall()
        chosen = store.execute(
            "select count(*) from tags where key = 'chosen/model.lstm_hidden'"
        ).fetchone()
    assert (kinds, chosen) == ([("nested",)], (3,))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search.space={model.dropout: {low: 0.5, high: 1.5}}"], r"model.dropout (1.5) must be"),
        (["search.space={corpus.root: {choices: [a]}}"], "corpus.root is not for a search"),
        (["protocol=kfold", "protocol.unit=segment"], "protocol.unit (segment) divides clips"),
        (["search=deflaut"], "search (deflaut) must be one of: default, demo"),
    ],
)
def test_a_wrong_search_is_refused_in_one_line_before_any_work(
    forked_commands: ForkedCommands, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = forked_commands.run("harness.search", *arguments, cwd=tmp_path)
    assert (done.status, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("search=demo", "error: search is of another command"),
        ("profile=demo_search", "error: profile=demo_search sets search, which is of another"),
    ],
)
def test_other_commands_say_what_is_of_a_search(
    forked_commands: ForkedCommands, tmp_path: Path, override: str, said: str
) -> None:
    done = forked_commands.run("harness.loso", override, cwd=tmp_path)
    assert (done.status, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(said)


def test_help_shows_examples_and_the_settings_of_a_search(
    forked_commands: ForkedCommands, tmp_path: Path
) -> None:
    done = forked_commands.run("harness.search", "--help", cwd=tmp_path)
    assert done.status == 0
    for line in ("python -m harness.search search.nested=false", "search.trials=8"):
        assert line in done.stdout


# What takes longer

FOUR = (
    "corpus.subjects=4",
    "corpus.takes=1",
    "corpus.difficulty=0.2",
    "training.audio_epochs=3",
    "training.visual_epochs=4",
    "training.fusion_epochs=3",
    "training.patience=9",
    *FROZEN,
    "search.trials=6",
    "search.round=2",
    "search.startup=2",
    "search.halving.least=2",
    "search.halving.rungs={visual: [1], fusion: [1]}",
    "tracking.enabled=false",
    "name=s",
)
"""Development on three people: one is held out, one validates, one trains."""


@dataclass(frozen=True)
class Searched:
    cwd: Path
    result: Result

    @property
    def folder(self) -> Path:
        return self.cwd / "runs" / "s"


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    cwd = tmp_path_factory.mktemp("four")
    result = run_module("harness.search", *FOUR, "cluster.cpus=2", cwd=cwd)
    assert result.status == 0, result.stderr
    return Searched(cwd, result)


def outcome_of(folder: Path) -> dict[str, Any]:
    """Return all that must be the same to the bit whenever the same search is run."""
    trials = {
        path.name: [
            (t.number, t.state.name, t.value, t.params, t.user_attrs)
            for t in trials_of(folder, path.name)
        ]
        for path in sorted((folder / "search").iterdir())
        if path.is_dir()
    }
    entries = {
        str(path.relative_to(folder)): {
            key: value
            for key, value in read_json(path).items()
            if key in ("status", "curves", "reads", "chosen_epochs", "settings", "study_digest")
        }
        for path in sorted(folder.rglob("splits/*.json"))
    }
    predictions = pq.read_table(folder / "predictions.parquet").to_pylist()
    section = read_json(folder / "summary.json")["search"]
    return {"trials": trials, "entries": entries, "predictions": predictions, "section": section}


@pytest.mark.long
def test_trials_are_given_up_where_earlier_ones_did_better(searched: Searched) -> None:
    halted = 0
    for split in read_json(searched.folder / "plan.json")["splits"]:
        ledger = searched.folder / "search" / split["split_id"] / "splits"
        trials = trials_of(searched.folder, split["split_id"])
        assert len(trials) == 6
        losses: list[float] = []
        for start in (0, 2, 4):
            names = [f"{t.user_attrs['entries']}-inner1" for t in trials[start : start + 2]]
            entries = [read_json(ledger / f"{name}.json") for name in names]
            first = [
                next(row for row in entry["curves"] if row["network"] == "visual")
                for entry in entries
            ]
            for entry, row in zip(entries, first, strict=True):
                here = entry["status"] == "halted" and entry["curves"][-1] == row
                better = sum(loss < row["validation_loss"] for loss in losses)
                best_part = max(1, (len(losses) + 1) // 2)
                assert here == (start > 0 and better >= best_part)
                if here:
                    halted += 1
                    assert set(entry["reads"]) == {"stage1_fit", "stage1_choose"}
            losses += [row["validation_loss"] for row in first]
        assert all(t.state.name == "COMPLETE" for t in trials[:2])
    assert halted > 0


@pytest.mark.long
def test_one_worker_finds_what_two_found(searched: Searched, tmp_path: Path) -> None:
    shutil.copytree(searched.cwd / "data", tmp_path / "data")
    again = run_module("harness.search", *FOUR, "cluster.cpus=1", cwd=tmp_path)
    assert again.status == 0, again.stderr
    assert outcome_of(tmp_path / "runs" / "s") == outcome_of(searched.folder)


@pytest.mark.long
@pytest.mark.parametrize("entries", [3, 11])
def test_killed_and_started_again_it_finds_the_same(
    searched: Searched, tmp_path: Path, entries: int
) -> None:
    shutil.copytree(searched.cwd / "data", tmp_path / "data")
    command = [sys.executable, "-m", "harness.search", *FOUR]
    driver = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    folder = tmp_path / "runs" / "s"
    deadline = time.monotonic() + 300
    while len(list(folder.glob("search/*/splits/*.json"))) < entries:
        assert driver.poll() is None, "the search ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    kept = {p: p.stat().st_mtime_ns for p in folder.glob("search/*/splits/*.json")}
    again = run_module("harness.search", *FOUR, cwd=tmp_path)
    assert again.status == 0, again.stderr
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in kept.items())
    assert outcome_of(folder) == outcome_of(searched.folder)


@pytest.mark.long
def test_a_planted_leak_stops_a_search_that_was_done(searched: Searched, tmp_path: Path) -> None:
    cwd = tmp_path / "copy"
    shutil.copytree(searched.cwd, cwd)
    split = read_json(cwd / "runs" / "s" / "plan.json")["splits"][1]
    path = cwd / "runs" / "s" / "search" / split["split_id"] / "splits" / "trial002-inner1.json"
    entry = read_json(path)
    entry["reads"]["stage1_fit"].append(split["test"][0])
    path.write_text(json.dumps(entry))
    again = run_module("harness.search", *FOUR, "cluster.cpus=2", cwd=cwd)
    assert again.status == 2
    told = f"error: search of {split['split_id']}: trial002-inner1: stage1_fit: clip "
    assert again.stderr.splitlines()[-1].startswith(told + split["test"][0])


@pytest.mark.long
def test_a_plain_search_gives_no_test_score(searched: Searched) -> None:
    arguments = [a for a in FOUR if a not in ("name=s", "search.trials=6")]
    done = run_module(
        "harness.search", *arguments, "search.nested=false", "search.trials=2", "name=p",
        "search.inner_splits=2", cwd=searched.cwd,
    )  # fmt: skip
    assert done.status == 0, done.stderr
    assert "inner validation, not a test score" in done.stdout
    folder = searched.cwd / "runs" / "p"
    summary = read_json(folder / "summary.json")
    assert not {"clip_accuracy", "uar", "per_subject"} & set(summary)
    assert summary["search"]["figures_are"] == "inner validation, not a test score"
    assert not (folder / "predictions.parquet").exists()
    (choice,) = summary["search"]["splits"]
    assert choice["outer"] is None
    inner = read_json(folder / "search" / "all" / "plan.json")["splits"]
    tested = [clip_id for split in inner for clip_id in split["test"]]
    assert len(set(tested)) == len(tested) == 24


@pytest.mark.long
def test_preprocessing_can_be_searched_and_each_way_is_prepared_once(searched: Searched) -> None:
    arguments = [a for a in FOUR if a not in ("name=s", "search.trials=6")]
    space = "null, ".join(f"{name}: " for name in ("model.lstm_hidden", "model.dropout"))
    done = run_module(
        "harness.search",
        *arguments,
        f"search.space={{{space}null, mfcc.features: {{choices: [mfcc, log_mel]}}}}",
        "search.trials=4",
        "name=m",
        cwd=searched.cwd,
    )
    assert done.status == 0, done.stderr
    assert len(list((searched.cwd / "data" / "shards").iterdir())) == 2
    section = read_json(searched.cwd / "runs" / "m" / "summary.json")["search"]
    assert set(section["stability"]["mfcc.features"]["chosen"]) <= {"mfcc", "log_mel"}
