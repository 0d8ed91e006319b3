"""Processes and hosts are lost while a study runs on three hosts: its result is the same."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from cluster_study import (
    SPLITS,
    arguments,
    check_same,
    children_in_mlflow,
    run_to_the_end,
    watched,
)
from faults import CLIPS, CUT_SHORT, HAS_COME, TRIAL, Fault, Struck, finished, host_at_work, killer
from hosts import SHARED_AT
from ray_up import Cluster, ended

pytestmark = [pytest.mark.cluster, pytest.mark.long]

RAYLET = "raylet/raylet"
AT_WORK_S = 1.5
"""The work of one of three hosts is soon over, a trial's in about five seconds."""
DRIVER = "python -m harness.loso"


KILLS = {
    # What -> words of its command line, how that begins, within seconds of the first.
    "a decode child": (*CLIPS, 4.0),
    "a Data worker": (("ClipWorker",), "ray::Map", 4.0),
    "a trial": (*TRIAL, AT_WORK_S),
}
AT_WORK = pytest.mark.parametrize(
    ("work", "at", "seed"), [("clips", CLIPS, 0), ("a trial", TRIAL, 1)], ids=["clips", "trial"]
)
"""What a host is at when it is struck; the number is added to a seed."""
Work = tuple[Sequence[str], str]


@pytest.mark.parametrize(
    ("what", "seed"),
    [
        ("a decode child", 101),
        ("a decode child", 102),
        ("a Data worker", 103),
        ("a Data worker", 104),
        ("a trial", 105),
        ("a trial", 106),
    ],
)
def test_a_process_is_killed(whole: Cluster, undisturbed: Path, what: str, seed: int) -> None:
    words, begins, within_s = KILLS[what]
    # One of two is not the head's, where work begins.
    hosts = whole.workers if seed % 2 == 0 else whole.hosts.all
    there, strike = killer(hosts, words, begins)
    fault = Fault(strike, there, seed, within_s)
    row, said = struck_by(whole, fault, f"fault-{seed}", undisturbed, what)
    if what == "a trial":
        assert re.search(r"is tried again \(.*worker process has died", said), said
    row.keep()


@AT_WORK
def test_the_driver_is_killed(
    whole: Cluster, undisturbed: Path, work: str, at: Work, seed: int
) -> None:
    name = f"fault-{109 + seed}"
    _, strike = killer(whole.hosts.all, (), DRIVER)
    at_trial, _ = killer(whole.hosts.all, *TRIAL)

    def there() -> bool:
        return bool(finished_of(whole, name)) if at is CLIPS else at_trial()

    fault = Fault(strike, there, 109 + seed, AT_WORK_S)
    row, _ = struck_by(whole, fault, name, undisturbed, "the driver")
    row.victim += f", at {work}"
    row.keep()


def finished_of(cluster: Cluster, name: str) -> dict[Path, int]:
    """Return what is done of a study, and when it was written."""
    return finished(cluster.hosts.shared / f"data-{name}", cluster.runs / name)


def struck_by(
    cluster: Cluster, fault: Fault, name: str, undisturbed: Path, what: str
) -> tuple[Struck, str]:
    """Run a study while a fault waits for its moment, and again until it is complete.

    Returns:
        Its row, and what the first command said.
    """
    row = Struck("three hosts", what, fault.seed)
    with fault:
        done = ended(cluster.submitted("harness.loso", *arguments(name)))
    assert fault.victim, f"{what} was never there to be struck"
    row.victim, row.after_s = fault.victim, fault.after_s
    if done.status != 0:
        # All else ends by itself.
        assert what == "the driver", done.stderr
        assert "Traceback" not in done.stderr
        before = finished_of(cluster, name)
        assert before, "nothing was done that could be lost"
        _, again = run_to_the_end(cluster, name)
        # What was done was not done again.
        assert before.items() <= finished_of(cluster, name).items()
        row.ended = f"after the same command, {again} more"
    check_same(cluster.runs / name, undisturbed)
    assert children_in_mlflow(cluster, name) == SPLITS
    row.same = True
    return row, done.stderr


@AT_WORK
def test_all_of_ray_on_a_host_is_killed(
    whole: Cluster, undisturbed: Path, work: str, at: Work, seed: int
) -> None:
    def strike(chance: random.Random) -> str | None:
        host = host_at_work(whole.workers, at, chance)
        if host is None:
            return None
        for process in host.processes(RAYLET):
            process.kill()
        return f"raylet on {host.name}, at {work}"

    there, _ = killer(whole.workers, *at)
    fault = Fault(strike, there, 107 + seed, AT_WORK_S)
    row, said = struck_by(whole, fault, f"fault-{107 + seed}", undisturbed, "a raylet")
    assert at is CLIPS or CUT_SHORT.search(said), said
    row.keep()


def test_a_host_is_lost_for_good(whole: Cluster, undisturbed: Path) -> None:
    def strike(chance: random.Random) -> str | None:
        host = host_at_work(whole.workers, TRIAL, chance)
        if host is None:
            return None
        host.lose()
        return host.name

    there, _ = killer(whole.workers, *TRIAL)
    fault = Fault(strike, there, 111, AT_WORK_S)
    row, said = struck_by(whole, fault, "fault-111", undisturbed, "a host lost for good")
    # That the host is gone Ray knows later, when it has missed some heartbeats.
    assert CUT_SHORT.search(said), said
    assert "without a result" not in said
    # Else the next test would take it for one that is there.
    whole.wait_for_nodes(tuple(host for host in whole.hosts.all if host.name != row.victim))
    row.keep()


@AT_WORK
def test_a_host_is_lost_and_comes_back(
    whole: Cluster, undisturbed: Path, work: str, at: Work, seed: int
) -> None:
    def strike(chance: random.Random) -> str | None:
        host = host_at_work(whole.workers, at, chance)
        if host is None:
            return None
        host.lose()
        time.sleep(8.0)
        host.start()
        return f"{host.name}, at {work}"

    there, _ = killer(whole.workers, *at)
    fault = Fault(strike, there, 112 + seed, AT_WORK_S)
    what = "a host lost that comes back"
    row, said = struck_by(whole, fault, f"fault-{112 + seed}", undisturbed, what)
    # Trials are soon over: there it may come too late for them.
    assert (CUT_SHORT if at is TRIAL else HAS_COME).search(said), said
    whole.wait_for_nodes(whole.hosts.all)
    row.keep()


def test_a_spot_instance_is_taken_away_and_another_comes(whole: Cluster, undisturbed: Path) -> None:
    def strike(chance: random.Random) -> str | None:
        host = host_at_work(whole.workers, TRIAL, chance)
        if host is None:
            return None
        # Its system ends what runs, a little later it is gone; the autoscaler's next one is new.
        for process in host.processes("ray"):
            process.kill(signal.SIGTERM)
        time.sleep(2.0)
        host.lose()
        time.sleep(8.0)
        host.start()
        return host.name

    there, _ = killer(whole.workers, *TRIAL)
    fault = Fault(strike, there, 116, AT_WORK_S)
    row, said = struck_by(whole, fault, "fault-116", undisturbed, "a spot interruption")
    (address,) = [each.address for each in whole.workers if each.name == row.victim]
    assert re.search(rf"^warning: host {address} is gone \(", said, re.MULTILINE), said
    assert CUT_SHORT.search(said), said
    assert "without a result" not in said
    whole.wait_for_nodes(whole.hosts.all)
    row.keep()


def test_a_host_is_added_in_the_middle(whole: Cluster, undisturbed: Path) -> None:
    late = whole.workers[-1]
    late.lose()
    whole.wait_for_nodes(whole.hosts.all[:-1])

    def strike(chance: random.Random) -> str:
        late.start()
        return late.name

    there, _ = killer(whole.hosts.all, (), DRIVER)
    fault = Fault(strike, there, 114, 10.0)
    with watched(whole, clips="ClipWorker", trials="ImplicitFunc") as seen:
        row, said = struck_by(whole, fault, "fault-114", undisturbed, "a host added in the middle")
    assert any(late.name in hosts for hosts in seen.hosts.values())
    assert f"host {late.address} has come" in said
    row.keep()


def test_the_mlflow_server_is_killed(whole: Cluster, undisturbed: Path) -> None:
    def strike(chance: random.Random) -> str | None:
        # Its workers hold the socket that it opened: they are found as its children.
        found = [psutil.Process(each.pid) for each in whole.head.processes("mlflow", "server")]
        found += [child for each in found for child in each.children(recursive=True)]
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return f"{len(set(found))} processes on head" if found else None

    there, _ = killer(whole.hosts.all, (), "ray::ImplicitFunc")
    row = Struck("three hosts", "the MLflow server", 115)
    with Fault(strike, there, 115, 6.0) as fault:
        done = ended(whole.submitted("harness.loso", *arguments("fault-115")))
    assert fault.victim
    # The study ends well all the same, and says what was not sent and how to send it.
    assert done.status == 0, done.stderr
    assert "python -m harness.track" in done.stderr
    check_same(whole.runs / "fault-115", undisturbed)
    whole.head.run("bash ~/harness/conf/cluster/mlflow_server.sh; sleep 15")
    whole.head.run(f"cd ~/harness && python -m harness.track {SHARED_AT}/runs/fault-115")
    assert children_in_mlflow(whole, "fault-115") == SPLITS
    row.victim, row.after_s, row.same = fault.victim, fault.after_s, True
    row.ended = "by itself; sent again with harness.track"
    row.keep()
