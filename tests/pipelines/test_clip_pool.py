"""A clip that kills its worker costs itself alone: a real Ray, real deaths."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import clean_environment

from pipelines.clip_pool import PoolSize, map_clips
from pipelines.progress import Reporter
from pipelines.session import ClusterConfig, Place, ray_session


class MortalWorker:
    """Notes each call, and dies of the clips that it is told to die of."""

    def __init__(self, notes: str, deadly: list[str], once: list[str]) -> None:
        self.notes, self.deadly, self.once = Path(notes), deadly, once

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        clip_id = row["clip_id"]
        again = (self.notes / clip_id).exists()
        with (self.notes / clip_id).open("a") as file:
            file.write("called\n")
        if clip_id in self.deadly or (clip_id in self.once and not again):
            os.kill(os.getpid(), signal.SIGSEGV if clip_id < "05" else signal.SIGKILL)
        return {"clip_id": clip_id, "answer": json.dumps(row)}


class SlowWorker:
    """Needs a moment for each."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.3)
        return row


@pytest.mark.long
def test_only_what_kills_each_of_its_workers_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray's workers are to find this module.
    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    rows = [{"clip_id": f"{index:02d}", "text": f"row {index}"} for index in range(12)]
    arguments = {"notes": str(tmp_path), "deadly": ["03", "08"], "once": ["05"]}
    with ray_session(ClusterConfig(), Reporter(quiet=True)):
        answers = {
            row["clip_id"]: row
            for row in map_clips(MortalWorker, arguments, rows, PoolSize(2, grows=False))
        }
    assert sorted(answers) == [row["clip_id"] for row in rows]
    assert [clip_id for clip_id, row in answers.items() if row.get("lost")] == ["03", "08"]
    whole = [row for row in rows if row["clip_id"] not in ("03", "08")]
    assert [json.loads(answers[row["clip_id"]]["answer"]) for row in whole] == whole
    calls = {path.name: len(path.read_text().split()) for path in tmp_path.iterdir()}
    # Ray may have handed one to a worker that another had just killed: then it was not called.
    assert {calls["03"], calls["08"]} <= {2, 3}
    assert calls["05"] == 2


LEFT_EARLY = """
import time
from contextlib import closing
from pipelines.clip_pool import PoolSize, map_clips
from pipelines.errors import StoppedError
from pipelines.progress import Reporter
from pipelines.session import ClusterConfig, ray_session
from test_clip_pool import SlowWorker

rows = [{"clip_id": f"{index:02d}"} for index in range(40)]
try:
    with ray_session(ClusterConfig(), Reporter(quiet=True)):
        with closing(map_clips(SlowWorker, {}, rows, PoolSize(2, grows=False))) as answers:
            for answer in answers:
                raise StoppedError("the first is enough")
except StoppedError:
    time.sleep(4)
import ray
print("RAY", ray.is_initialized())
"""


def test_a_pool_that_is_left_early_leaves_no_ray_and_not_a_word_behind(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", LEFT_EARLY],
        cwd=tmp_path,
        env=clean_environment(PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), *sys.path])),
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "RAY False\n"
    assert "Traceback" not in told.stderr
    assert "Started a local Ray" not in told.stderr


@pytest.mark.parametrize(
    ("local", "cpus", "told", "rows", "expected"),
    [
        (True, 2, None, 1000, 2),
        (True, 2, None, 1, 1),
        (False, 0, None, 20, 1),
        (False, 0, None, 61, 3),  # each of them waits for a host
        (False, 8, None, 61, 8),
        (False, 8, 2, 1000, 2),
    ],
)
def test_a_cluster_is_asked_at_once_for_as_many_hosts_as_clips_are_worth(
    local: bool, cpus: int, told: int | None, rows: int, expected: int
) -> None:
    place = Place(address="10.0.0.1:6379", local=local, cpus=cpus, gpus=0)
    assert PoolSize.on(place, told=told, share=30).at_first(rows) == expected
