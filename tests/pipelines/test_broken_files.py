"""The real command over broken files with good ones among them.

`BROKEN_FILES=150 python -m pytest tests/pipelines/test_broken_files.py` takes more than the sample.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import clean_environment

from benchmarks import broken_files
from benchmarks.clip_forms import USUAL, encode
from benchmarks.damage import Breaker
from pipelines.shards import open_shards

SAMPLE = int(os.environ.get("BROKEN_FILES", "12"))
GOOD_PART = 4
"""One good file to so many broken ones: `UNUSUAL` has 18 forms."""


def test_every_broken_file_has_its_true_outcome_and_good_ones_are_as_good_as_alone(
    tmp_path: Path,
) -> None:
    finding = broken_files.check(SAMPLE, max(3, SAMPLE // GOOD_PART), tmp_path)
    assert list(finding.problems) == []
    assert sum(sum(count.values()) for kind, count in finding.counts.items() if kind != "good") == (
        SAMPLE
    )


@pytest.mark.long
def test_a_thousand_broken_files_have_their_true_outcomes(tmp_path: Path) -> None:
    finding = broken_files.check(broken_files.BROKEN, broken_files.GOOD, tmp_path)
    assert list(finding.problems) == []


PLANT = """
import sys
if "pipelines.sandbox_child" in sys.orig_argv:
    import ctypes, time
    from pipelines.decode.reader import ClipReader
    read = ClipReader.__init__
    def plant(self, path, *arguments):
        if path.endswith("segfault.avi"):
            ctypes.string_at(0)
        if path.endswith("hang.avi"):
            time.sleep(600)
        read(self, path, *arguments)
    ClipReader.__init__ = plant
"""


def test_decoders_that_crash_hang_or_are_killed_cost_their_own_clips_alone(
    tmp_path: Path,
) -> None:
    recording = broken_files.record(0)
    names = ["a.avi", "b.avi", "c.avi", "d.avi", "hang.avi", "segfault.avi"]
    for name in names:
        encode(recording, USUAL[0], tmp_path / name)
    rows = [f"{name},s{number % 2},fear" for number, name in enumerate(names)]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,subject,label", *rows]) + "\n")
    (tmp_path / "plant").mkdir()
    (tmp_path / "plant" / "sitecustomize.py").write_text(PLANT)
    inherited = os.environ.get("PYTHONPATH", "")
    settings = ["corpus=csv_manifest", f"corpus.root={tmp_path}", f"paths.data={tmp_path / 'data'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.preprocess", *settings, "preprocess.time_limit_s=8"],
        env=clean_environment(PYTHONPATH=f"{tmp_path / 'plant'}{os.pathsep}{inherited}"),
        stdout=subprocess.PIPE,
        text=True,
    )
    killed = kill_one_decoder(process, str(tmp_path / "plant"))
    stdout, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    assert killed is not None
    outcomes = {o.clip_id: o.reason for o in open_shards(Path(stdout.strip())).outcomes}
    assert outcomes.pop("segfault") == "decoder_crashed"
    assert outcomes.pop("hang") == "time_limit"
    # The clip whose decoder was killed got another one.
    assert outcomes == dict.fromkeys("abcd", "")
    assert not Path(f"/proc/{killed}").exists()


def kill_one_decoder(run: subprocess.Popen[str], mark: str) -> int | None:
    """Kill the first decoder that the run starts, and return its process id."""
    while run.poll() is None:
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if (
                    folder.name.isdigit()
                    and b"pipelines.sandbox_child" in (folder / "cmdline").read_bytes()
                    and mark.encode() in (folder / "environ").read_bytes()
                ):
                    os.kill(int(folder.name), signal.SIGKILL)
                    return int(folder.name)
        time.sleep(0.02)
    return None


def test_the_same_seed_breaks_the_same_files_in_the_same_way(tmp_path: Path) -> None:
    recording = broken_files.record(0)
    contents = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        made = Breaker([recording], tmp_path / name, seed=3).make(24)
        contents.append([(file.path.name, file.truth, file.path.read_bytes()) for file in made])
    assert contents[0] == contents[1]
    assert len({name for name, *_ in contents[0]}) == 24
