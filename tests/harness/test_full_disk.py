"""A study whose folder can't be written to, from the beginning or from some moment on."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from cluster_study import SPLITS, check_same
from conftest import SmallStudy, copy_of, run_module

pytestmark = pytest.mark.long


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def test_a_folder_that_cannot_be_written_is_told_before_any_work(
    small_study: SmallStudy, tmp_path: Path, small_disk: Path
) -> None:
    remount(small_disk, "ro")
    done = run_module(
        "harness.loso", *small_study.arguments, f"paths.runs={small_disk}/runs", cwd=tmp_path
    )
    assert done.status == 2
    assert done.stderr.splitlines() == [
        f"error: paths.runs ({small_disk}/runs) can't be written to: Read-only file system; name "
        "another folder or change its permissions"
    ]
    assert not (tmp_path / "data").exists()


# From nothing at all to nearly enough: each breaks at another place.
@pytest.mark.parametrize("kilobytes", [40, 120, 400, 900])
def test_a_disk_that_is_full_is_told_and_the_next_run_goes_on(
    small_study: SmallStudy, tmp_path: Path, small_disk: Path, kilobytes: int
) -> None:
    cwd = copy_of(small_study, tmp_path, runs=False)
    remount(small_disk, f"size={kilobytes}k")
    arguments = (*small_study.arguments, f"paths.runs={small_disk}/runs", "tracking.enabled=false")
    full = run_module("harness.loso", *arguments, cwd=cwd)
    assert full.status == 1, full.stderr
    # It is told as the end of the study, or as that of the splits that could not be entered.
    said = full.stdout + full.stderr
    assert "Traceback" not in said
    stopped = "make room there and run the same command again" in full.stderr
    failed = re.search(r"failed: loso-s0\d: .*No space left on device", full.stdout)
    assert stopped or (failed and "incomplete" in full.stdout), said
    remount(small_disk, "size=100m")
    again = run_module("harness.loso", *arguments, cwd=cwd)
    assert again.status == 0, again.stderr
    for name in ("predictions.parquet", "segment_predictions.parquet"):
        whole = (small_study.folder / name).read_bytes()
        assert (small_disk / "runs" / "small" / name).read_bytes() == whole


# The store is made while splits are trained: it has no room, half of it, or all but the last rows.
@pytest.mark.parametrize("kilobytes", [400, 900, 1600])
def test_a_disk_that_is_full_leaves_no_half_of_a_store(
    small_study: SmallStudy, tmp_path: Path, small_disk: Path, kilobytes: int
) -> None:
    cwd = copy_of(small_study, tmp_path, runs=False)
    remount(small_disk, f"size={kilobytes}k")
    arguments = (*small_study.arguments, "model.keep=false", f"paths.runs={small_disk}/runs")
    full = run_module("harness.loso", *arguments, cwd=cwd)
    assert "Traceback" not in full.stdout + full.stderr
    told = "make room there" if full.status else "did not take this study"
    assert told in full.stderr or "No space left on device" in full.stdout
    remount(small_disk, "size=100m")
    again = run_module("harness.loso", *arguments, cwd=cwd)
    assert (again.status, "did not take" in again.stderr) == (0, False), again.stderr
    check_same(small_disk / "runs" / "small", small_study.folder)
    with closing(sqlite3.connect(small_disk / "runs" / "mlflow.db")) as store:
        found = store.execute("select name, status from runs order by name").fetchall()
    assert found == [(name, "FINISHED") for name in (*SPLITS, "small")]


def test_a_disk_that_fills_up_while_features_are_made(
    small_study: SmallStudy, tmp_path: Path, small_disk: Path
) -> None:
    cwd = copy_of(small_study, tmp_path, runs=False)
    features = cwd / "data" / "features"
    features.symlink_to(small_disk)
    remount(small_disk, "size=300k")
    arguments = (*small_study.arguments, "training.trunk=frozen", "tracking.enabled=false")
    full = run_module("harness.loso", *arguments, cwd=cwd)
    assert full.status == 1, full.stderr
    last = full.stderr.splitlines()[-1]
    assert re.match(r"error: features of \S+ can't be made in paths\.data \(", last), last
    assert "No space left on device" in last
    assert "run the same command again" in last
    assert "Traceback" not in full.stderr
    remount(small_disk, "size=100m")
    gone_on = run_module("harness.loso", *arguments, cwd=cwd)
    assert gone_on.status == 0, gone_on.stderr
    features.unlink()
    anew = run_module("harness.loso", *arguments, "paths.runs=anew", cwd=cwd)
    assert anew.status == 0, anew.stderr
    one, other = (
        (cwd / runs / "small" / "segment_predictions.parquet").read_bytes()
        for runs in ("runs", "anew")
    )
    assert one == other
