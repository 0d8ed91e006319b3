"""`python -m pipelines.preprocess` stopped, started again, twice at once and on a full disk."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import SMALL, SmallStudy, clean_environment, run_module

MODULE = "pipelines.preprocess"
CLIPS = 18


def arguments(study: SmallStudy, data: Path) -> tuple[str, ...]:
    """Return the settings of the small corpus, whose clips are there, for another data folder."""
    (corpus,) = (study.cwd / "data" / "corpora").iterdir()
    return (*SMALL, f"corpus.root={corpus}", f"paths.data={data}")


def leave_part(study: SmallStudy, data: Path, missing: int) -> None:
    """Put the study's shards into another data folder as if work on the last clips were to come."""
    shards = data / "shards" / study.shards.name
    shutil.copytree(study.shards, shards, ignore=shutil.ignore_patterns("manifest.json", ".lock"))
    for outcome in sorted((shards / "outcomes").iterdir())[CLIPS - missing :]:
        for table in ("frames", "segments", "sounds", "outcomes"):
            (shards / table / outcome.name).unlink()


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, *arguments],
        cwd=cwd,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def contents(shards: Path) -> dict[str, Any]:
    """Return all that a shard folder holds, but for how long it took."""
    held: dict[str, Any] = {}
    for path in sorted(shards.rglob("*")):
        name = path.relative_to(shards).as_posix()
        if name.startswith("outcomes/"):
            held[name] = pq.read_table(path).drop(["seconds"]).to_pylist()
        elif path.name == "manifest.json":
            manifest = json.loads(path.read_text())
            for clip in manifest["clips"]:
                del clip["outcome"]["seconds"]
            held[name] = manifest
        elif path.is_file() and path.name != ".lock":
            held[name] = path.read_bytes()
    return held


def done_clips(data: Path) -> dict[str, int]:
    """Return the outcomes on the disk, with what tells whether they were written again."""
    return {path.name: path.stat().st_ino for path in data.glob("shards/*/outcomes/*.parquet")}


def wait_for(count: int, data: Path, process: subprocess.Popen[str]) -> None:
    while len(done_clips(data)) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.long
def test_killed_and_run_again_it_does_what_is_missing_and_ends_as_if_undisturbed(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    settings = arguments(small_study, data)
    leave_part(small_study, data, missing=10)
    driver = start(*settings, cwd=tmp_path)
    wait_for(CLIPS - 10 + 2, data, driver)
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    kept = done_clips(data)
    (shards,) = (data / "shards").iterdir()
    assert not (shards / "manifest.json").exists()
    (shards / "frames" / ".torn.parquet.0.tmp").write_bytes(b"PAR1 half")
    again = run_module(MODULE, *settings, cwd=tmp_path)
    assert again.status == 0, again.stderr
    # Ray's workers may have ended a clip or two after their driver was gone.
    left = int(again.stderr.partition("preprocess: ")[2].split()[0])
    assert CLIPS - len(kept) - 2 <= left <= CLIPS - len(kept)
    assert kept.items() <= done_clips(data).items()
    assert shards.name == small_study.shards.name
    assert contents(shards) == contents(small_study.shards)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_at_any_moment_it_ends_as_if_undisturbed(
    small_study: SmallStudy, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    data = tmp_path / "data"
    # Its own corpus as well: making it is stopped too.
    settings = (*SMALL, f"paths.data={data}")
    for _ in range(6):
        driver = start(*settings, cwd=tmp_path)
        try:
            driver.communicate(timeout=chance.uniform(3.0, 25.0))
        except subprocess.TimeoutExpired:
            how = chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            os.kill(driver.pid, how)
            driver.communicate()
    done = run_module(MODULE, *settings, cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert contents(data / "shards" / small_study.shards.name) == contents(small_study.shards)
    assert not list(data.rglob("*.tmp"))


@pytest.mark.long
def test_of_two_runs_at_once_one_works_and_the_other_waits_and_says_so(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    leave_part(small_study, data, missing=5)
    both = [start(*arguments(small_study, data), cwd=tmp_path) for _ in range(2)]
    said = {process.pid: process.communicate()[1] for process in both}
    assert [process.returncode for process in both] == [0, 0], said
    # Whichever came first did all of the work that was left.
    ((first, worked),) = [one for one in said.items() if "is working on" not in one[1]]
    ((_, waited),) = [one for one in said.items() if one[0] != first]
    assert "preprocess: 5 of 5" in worked
    assert f"process {first} on " in waited
    assert "waiting for it to end" in waited
    assert "5 of 5 in" not in waited
    assert contents(data / "shards" / small_study.shards.name) == contents(small_study.shards)


@pytest.mark.long
def test_a_full_disk_is_one_clear_line_and_the_next_run_goes_on(
    small_study: SmallStudy, tmp_path: Path, small_disk: Path
) -> None:
    data = small_disk / "data"
    settings = arguments(small_study, data)
    full = run_module(MODULE, *settings, cwd=tmp_path)
    assert full.status == 1, full.stderr
    (error,) = [line for line in full.stderr.splitlines() if line.startswith("error:")]
    assert f"paths.data ({data}) can't be written to" in error
    assert "No space left" in error
    assert "run the same command again" in error
    assert "Traceback" not in full.stderr
    kept = done_clips(data)
    assert 0 < len(kept) < CLIPS
    subprocess.run(["mount", "-o", "remount,size=500m", str(small_disk)], check=True)
    again = run_module(MODULE, *settings, cwd=tmp_path)
    assert again.status == 0, again.stderr
    assert kept.items() <= done_clips(data).items()
    assert contents(data / "shards" / small_study.shards.name) == contents(small_study.shards)


def test_a_dry_run_says_what_it_would_do_and_touches_nothing(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    settings = (*arguments(small_study, data), "dry_run=true")
    said = run_module(MODULE, *settings, "--json", cwd=tmp_path, HOME=str(tmp_path / "home"))
    assert said.status == 0, said.stderr
    told = json.loads(said.stdout)
    assert told["clips"] == CLIPS
    reckoned = told["estimate"]
    assert (reckoned["clips"], reckoned["done"], reckoned["unusable"]) == (CLIPS, 0, {})
    real = sum(path.stat().st_size for path in small_study.shards.glob("[fs]*/*.parquet"))
    assert reckoned["bytes"] == pytest.approx(real, rel=0.1)
    # Nothing at all: no folder, no copy, no cached file.
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_fetches_no_detector_and_shows_the_corpus_all_the_same(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    settings = (*arguments(small_study, tmp_path / "data"), "dry_run=true", "faces=yunet")
    cache = tmp_path / "cache"
    said = run_module(
        MODULE,
        *settings,
        cwd=tmp_path,
        XDG_CACHE_HOME=str(cache),
        https_proxy="http://127.0.0.1:9",
    )
    assert said.status == 0, said.stderr
    assert f"{CLIPS} clips of 3 subjects" in said.stdout
    assert "would fetch the files of the yunet detector" in said.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_what_is_finished_says_so(small_study: SmallStudy, tmp_path: Path) -> None:
    settings = (*arguments(small_study, small_study.cwd / "data"), "dry_run=true")
    said = run_module(MODULE, *settings, cwd=tmp_path)
    assert said.status == 0, said.stderr
    assert f"all {CLIPS} clips are done" in said.stdout
