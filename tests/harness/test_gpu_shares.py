"""How many trials a GPU has at once: whole, shared, or several for one trial.

Ray is told of GPUs that are not there, and each trial sleeps in place of training.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from benchmarks.nap import DURATIONS, TOGETHER, nap, naps_in
from benchmarks.tune_splits import TinyStudy
from pipelines.session import hosts_now, quiet_libraries

SUBJECTS, NAP_S = 8, 2.0


@pytest.fixture(scope="module")
def two_gpus() -> Iterator[None]:
    ray.init(address="local", num_cpus=8, num_gpus=2, include_dashboard=False, log_to_driver=False)
    quiet_libraries()
    (host,) = hosts_now()
    assert (host.cpus, host.gpus) == (8, 2.0)
    yield
    ray.shutdown()


def _napping(durations: Path, together: int) -> Callable[[dict[str, Any]], None]:
    def told(config: dict[str, Any]) -> None:
        os.environ[DURATIONS] = str(durations)
        # However slowly processes start: nobody sleeps before that many are there.
        os.environ[TOGETHER] = str(together)
        nap(config)

    return told


def at_once(naps: list[list[tuple[float, float]]]) -> int:
    """Return the most that slept at one moment."""
    ends = [(begin, 1) for process in naps for begin, _ in process]
    ends += [(end, -1) for process in naps for _, end in process]
    now, most = 0, 0
    for _, step in sorted(ends):
        now += step
        most = max(most, now)
    return most


@pytest.mark.long
@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("gpus", "together"), [(1, 2), (0.5, 4), (0.25, 8), (2, 1)])
def test_a_trial_takes_its_gpus_or_its_share_of_one(
    gpus: float, together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = TinyStudy.write(tmp_path, subjects=SUBJECTS, cluster=[f"cluster.trial_gpus={gpus}"])
    assert len(study.splits) == SUBJECTS
    (tmp_path / "durations.json").write_text(
        json.dumps({split.split_id: NAP_S for split in study.splits})
    )
    # Processes of a Ray that runs already have the variables of its start: the trial is told.
    monkeypatch.setattr(
        "harness.scheduling.trainable", _napping(tmp_path / "durations.json", together)
    )
    study.run()
    naps = naps_in(tmp_path)
    assert sum(len(process) for process in naps) == SUBJECTS
    assert at_once(naps) == together
