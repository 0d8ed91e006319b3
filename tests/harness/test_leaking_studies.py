"""Leaks planted in a corpus and in a study's folder are refused, by name, by the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import SmallStudy, run_module
from performances import record, take

NUMBERS = {"ann/anger": 0, "ann/disgust": 1, "bob/anger": 6, "bob/disgust": 7}
"""Clips -> their numbers in the synthetic corpus."""
FIRST, COUNT = 20, 40
"""Frames: a second and a third is enough to find a face and a sound by."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two short clips of each of two people."""
    folder = tmp_path_factory.mktemp("corpus") / "clips"
    for name, number in NUMBERS.items():
        played = take(number, FIRST, COUNT)
        path = folder / f"{name}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        record(path, played.pictures, played.samples, video="mpeg4", audio="pcm_s16le")
    (folder / "eve").mkdir()
    shutil.copy(folder / "bob/anger.avi", folder / "eve" / "copied.avi")
    played = take(NUMBERS["bob/anger"], FIRST, COUNT)
    record(folder / "eve" / "encoded.mp4", played.pictures, 0.5 * played.samples)
    return folder


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        pytest.param(
            "eve/copied.avi",
            "the same recording under two names",
            marks=pytest.mark.long,
            id="copied",
        ),
        pytest.param(
            "eve/encoded.mp4",
            "the same recording in two files",
            id="in another container, other codecs, at half the level",
        ),
    ],
)
def test_a_recording_under_two_subjects_is_refused_by_name(
    planted: str, said: str, clips: Path
) -> None:
    rows = [f"{name}.avi,{name.replace('/', ',')}" for name in NUMBERS]
    listed = ["path,subject,label", *rows, f"{planted},eve,anger"]
    (clips / "manifest.csv").write_text("\n".join(listed) + "\n")
    result = run_module(
        "harness.loso",
        "corpus=csv_manifest",
        f"corpus.root={clips}",
        "name=leaking",
        "-q",
        cwd=clips.parent,
    )
    assert (result.status, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert said in line
    assert "bob/anger in " in line
    assert f"{planted.partition('.')[0]} in " in line
    assert not (clips.parent / "runs" / "leaking").exists()


def test_a_ledger_that_does_not_say_what_was_read_fails_the_study(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    shutil.copytree(small_study.cwd, tmp_path / "cwd", symlinks=True)
    path = tmp_path / "cwd" / "runs" / "small" / "splits" / "loso-s02.json"
    entry = json.loads(path.read_text())
    unread = entry["reads"]["stage2_choose"].pop(0)
    path.write_text(json.dumps(entry))
    result = run_module("harness.loso", *small_study.arguments, "-q", cwd=tmp_path / "cwd")
    assert result.status == 2
    (line,) = result.stderr.splitlines()
    assert "split loso-s02: the ledger does not say that phase stage2_choose read" in line
    assert unread in line
