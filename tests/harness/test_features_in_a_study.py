"""A study on a frozen trunk: features are made once, for it and for the studies after it."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import SMALL, Result, SmallStudy, run_module

from pipelines.shards import open_shards

FROZEN = (
    *SMALL,
    "tracking.enabled=false",
    "model=tiny_network:CountingBackbone",
    "training.trunk=frozen",
    "training.precision=float32",
)

TRIED = 2 + 2 + 1
"""Images of noise of one side through the convolutions of a new network."""


@pytest.fixture
def cwd(small_study: SmallStudy, tmp_path: Path) -> Path:
    """A folder with the small corpus and its shards, and an own network that counts."""
    shutil.copytree(small_study.cwd / "data", tmp_path / "data", copy_function=shutil.copy)
    shutil.copy(Path(__file__).parent.parent / "tiny_network.py", tmp_path)
    (tmp_path / "counts").mkdir()
    return tmp_path


def study(cwd: Path, name: str, *arguments: str) -> Result:
    done = run_module(
        "harness.loso",
        *FROZEN,
        f"name={name}",
        *arguments,
        cwd=cwd,
        COUNT_IMAGES_IN=str(cwd / "counts"),
    )
    assert done.status == 0, done.stderr
    return done


def images_passed(cwd: Path) -> Counter[int]:
    """Images that went through the trunk in all processes, by their side."""
    passed: Counter[int] = Counter()
    for path in (cwd / "counts").iterdir():
        for line in path.read_text().splitlines():
            side, count = map(int, line.split())
            passed[side] += count
        path.unlink()
    return passed


def test_each_image_passes_the_trunk_once_for_all_splits_and_all_studies(cwd: Path) -> None:
    first = study(cwd, "first")
    (folder,) = (cwd / "data" / "shards").iterdir()
    usable = open_shards(folder).usable
    frames, segments = (sum(getattr(o, what) for o in usable) for what in ("frames", "segments"))
    passed = images_passed(cwd)
    # Whenever a new network is built it is tried on noise of each side (two images whole and in
    # halves, one alone): once by the command, once by each of the two processes of extraction.
    tried = 3 * TRIED
    assert passed[24] - frames <= tried
    assert passed[64] - segments <= tried
    assert passed[24] >= frames
    assert passed[64] >= segments
    assert "features: 18 of 18" in first.stderr

    again = study(cwd, "second", "fusion.attention_size=5", "model.lstm_hidden=9")
    assert "features: 18 clips were done before" in again.stderr
    alone = images_passed(cwd)
    assert set(alone) <= {24, 64}
    assert max(alone.values(), default=0) <= TRIED  # by the command
    one, other = (
        pq.read_table(cwd / "runs" / n / "predictions.parquet") for n in ("first", "second")
    )
    assert one["clip_id"].to_pylist() == other["clip_id"].to_pylist()
    assert one["p_anger"].to_pylist() != other["p_anger"].to_pylist()


@pytest.mark.long
def test_features_that_a_killed_run_left_out_are_made_and_no_others(cwd: Path) -> None:
    study(cwd, "first")
    predictions = cwd / "runs" / "first" / "predictions.parquet"
    one = pq.read_table(predictions)
    for kind in (cwd / "data" / "features").iterdir():
        for path in sorted(kind.glob("*.safetensors"))[:3]:
            path.unlink()
    shutil.rmtree(cwd / "runs" / "first")
    assert "features: 3 of 3" in study(cwd, "first", "cluster.cpus=1").stderr
    assert pq.read_table(predictions).equals(one)
