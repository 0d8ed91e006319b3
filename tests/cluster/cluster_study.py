"""The study that the tests on hosts run, and what must be true of it whatever happened."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from conftest import SMALL, Result, run_module
from hosts import SHARED_AT
from pandas.testing import assert_frame_equal
from ray_up import Cluster

STUDY = (*SMALL, "training.visual_epochs=20")
"""Its trials last until one has begun on each host."""
SPLITS = ["loso-s01", "loso-s02", "loso-s03"]
MOST_COMMANDS = 4
"""A study that has not come to its end after so many of them never does."""


class Seen:
    """Which hosts were seen to have a kind of process, and how many there were at most."""

    def __init__(self) -> None:
        self.hosts: dict[str, set[str]] = {}
        self.most: dict[str, int] = {}


@contextmanager
def watched(cluster: Cluster, **kinds: str) -> Iterator[Seen]:
    """Look at the hosts' processes until the block ends."""
    seen, over = Seen(), threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            for kind, word in kinds.items():
                found = cluster.hosts.processes(word)
                seen.hosts.setdefault(kind, set()).update(n for n, some in found.items() if some)
                together = sum(len(some) for some in found.values())
                seen.most[kind] = max(together, seen.most.get(kind, 0))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def undisturbed_study(cwd: Path, *more: str) -> Path:
    """Run the study to which nothing happens, on this machine alone; return its folder."""
    done = run_module("harness.loso", *STUDY, *more, "name=study", cwd=cwd)
    assert done.status == 0, done.stderr
    return cwd / "runs" / "study"


def arguments(name: str, *more: str) -> tuple[str, ...]:
    """Return a study of its own down to its shards, so that every stage can be struck."""
    return (*STUDY, *more, f"name={name}", f"paths.data={SHARED_AT}/data-{name}")


def run_to_the_end(cluster: Cluster, name: str, *more: str) -> tuple[Result, int]:
    """Give the command until its study is complete; return how it ended, and how many it took."""
    for number in range(1, MOST_COMMANDS + 1):
        done = cluster.submit("harness.loso", *arguments(name, *more))
        if done.status == 0:
            return done, number
    raise AssertionError(f"{name} is not complete after {MOST_COMMANDS} commands: {done.stderr}")


def check_same(folder: Path, undisturbed: Path) -> None:
    """Nothing lost, nothing twice, nothing different."""
    for table in ("predictions", "segment_predictions"):
        assert_frame_equal(
            pd.read_parquet(folder / f"{table}.parquet"),
            pd.read_parquet(undisturbed / f"{table}.parquet"),
            check_exact=True,
        )
    outcomes, before = (pd.read_csv(place / "outcomes.csv") for place in (folder, undisturbed))
    same = [column for column in before.columns if "seconds" not in column]
    assert_frame_equal(outcomes[same], before[same])
    told = json.loads((folder / "summary.json").read_text())
    expected = json.loads((undisturbed / "summary.json").read_text())
    for key in ("splits_done", "clip_accuracy", "uar", "coverage", "confusion", "config_digest"):
        assert told[key] == expected[key], key


def children_in_mlflow(cluster: Cluster, name: str) -> list[str]:
    """Return the names of a study's splits as the server on the head has them as finished."""
    with cluster.tunnel(5000) as port:
        experiments = ask(port, "experiments/search", {"max_results": 100})["experiments"]
        ids = [experiment["experiment_id"] for experiment in experiments]
        runs = ask(port, "runs/search", {"experiment_ids": ids, "max_results": 1000})["runs"]
    by_id = {run["info"]["run_id"]: run["info"]["run_name"] for run in runs}
    found = []
    for run in runs:
        tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}
        if by_id.get(tags.get("mlflow.parentRunId", "")) == name:
            assert run["info"]["status"] == "FINISHED", run["info"]
            found.append(run["info"]["run_name"])
    return sorted(found)


def ask(port: int, what: str, told: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/{what}",
        json.dumps(told).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
