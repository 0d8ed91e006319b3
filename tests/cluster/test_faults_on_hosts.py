"""Processes and hosts are lost while a study runs on three hosts: its result is the same."""

from __future__ import annotations

import random
import re
import signal
import time
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
    undisturbed_study,
    watched,
)
from faults import (
    CLIPS,
    CUT_SHORT,
    TRIAL,
    Fault,
    Struck,
    Work,
    finished,
    kill,
    kill_ray,
    lose_host,
    striker,
)
from hosts import SHARED_AT, Host, Process
from ray_up import Cluster, ended

pytestmark = [pytest.mark.cluster, pytest.mark.long]

AT_WORK_S = 1.5
"""The work of one of three hosts is soon over."""
AWAY_S = 8.0
DRIVER: Work = ((), "python -m harness.loso")
KILLS: dict[str, tuple[Work, float]] = {
    # What -> how it is known, within seconds of the first.
    "a decode child": (CLIPS, 4.0),
    "a Data worker": ((("ClipWorker",), "ray::Map"), 4.0),
    "a trial": (TRIAL, AT_WORK_S),
}
AT_WORK = pytest.mark.parametrize(
    ("work", "at", "seed"), [("clips", CLIPS, 0), ("trials", TRIAL, 1)], ids=["clips", "trial"]
)
"""What a host is at when it is struck; the number is added to a seed."""


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
    work, within_s = KILLS[what]
    # One of two is not the head's, where work begins.
    hosts = whole.workers if seed % 2 == 0 else whole.hosts.all
    there, strike = striker(hosts, work, kill)
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
    _, strike = striker(whole.hosts.all, DRIVER, kill)
    at_trial, _ = striker(whole.hosts.all, TRIAL, kill)

    def there() -> bool:
        return bool(finished_of(whole, name)) if at is CLIPS else at_trial()

    fault = Fault(strike, there, 109 + seed, AT_WORK_S)
    row, _ = struck_by(whole, fault, name, undisturbed, "the driver")
    row.at = work
    row.keep()


def finished_of(cluster: Cluster, name: str) -> dict[Path, int]:
    """Return what is done of a study, and when it was written."""
    return finished(cluster.hosts.shared / f"data-{name}", cluster.runs / name)


def struck_by(
    cluster: Cluster, fault: Fault, name: str, undisturbed: Path, what: str, *more: str
) -> tuple[Struck, str]:
    """Run a study while a fault waits for its moment, and again until it is complete.

    Returns:
        Its row, and what the first command said.
    """
    row = Struck("three hosts", what, fault.seed)
    with fault:
        done = ended(cluster.submitted("harness.loso", *arguments(name, *more)))
    assert fault.victim, f"{what} was never there to be struck"
    row.victim, row.after_s = fault.victim, fault.after_s
    # All else ends by itself.
    assert (done.status != 0) == (what == "the driver"), done.stderr
    if done.status != 0:
        assert "Traceback" not in done.stderr
        before = finished_of(cluster, name)
        assert before, "nothing was done that could be lost"
        _, again = run_to_the_end(cluster, name, *more)
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
    there, strike = striker(whole.workers, at, kill_ray)
    fault = Fault(strike, there, 107 + seed, AT_WORK_S)
    row, said = struck_by(whole, fault, f"fault-{107 + seed}", undisturbed, "a raylet")
    assert at is CLIPS or CUT_SHORT.search(said), said
    row.at = work
    row.keep()


def test_a_host_is_lost_for_good(whole: Cluster, undisturbed: Path) -> None:
    there, strike = striker(whole.workers, TRIAL, lose_host)
    fault = Fault(strike, there, 111, AT_WORK_S)
    row, said = struck_by(whole, fault, "fault-111", undisturbed, "a host lost for good")
    # That the host is gone Ray knows later, when it has missed some heartbeats.
    assert CUT_SHORT.search(said), said
    assert "without a result" not in said
    # Else the next test would take it for one that is there.
    whole.wait_for_nodes(tuple(host for host in whole.hosts.all if host.name != row.victim))
    row.keep()


def test_a_host_is_lost_at_clips_and_taken_in_again(whole: Cluster, tmp_path: Path) -> None:
    # So many that they are not done when it has come back, a minute later.
    more = ("corpus.takes=3",)
    undisturbed = undisturbed_study(tmp_path, *more)
    there, strike = striker(whole.workers, CLIPS, lose_host_for_a_while)
    fault = Fault(strike, there, 112, AT_WORK_S)
    what = "a host lost that comes back"
    row, said = struck_by(whole, fault, "fault-112", undisturbed, what, *more)
    (address,) = [each.address for each in whole.workers if each.name == row.victim]
    gone, come = f"warning: host {address} is gone (", f"host {address} has come"
    assert -1 < said.find(gone) < said.find(come), said
    row.at = "clips"
    row.keep()


def test_a_host_is_lost_at_a_trial_and_comes_back(whole: Cluster, undisturbed: Path) -> None:
    there, strike = striker(whole.workers, TRIAL, lose_host_for_a_while)
    fault = Fault(strike, there, 113, AT_WORK_S)
    what = "a host lost that comes back"
    row, said = struck_by(whole, fault, "fault-113", undisturbed, what)
    assert CUT_SHORT.search(said), said
    # Trials are soon over: it may come too late for them, but it comes.
    whole.wait_for_nodes(whole.hosts.all)
    row.at = "trials"
    row.keep()


def lose_host_for_a_while(host: Host, process: Process) -> str:
    """Its plug is pulled and put in again."""
    host.lose()
    time.sleep(AWAY_S)
    host.start()
    return host.name


def test_a_spot_instance_is_taken_away_and_another_comes(whole: Cluster, undisturbed: Path) -> None:
    there, strike = striker(whole.workers, TRIAL, take_host_away)
    fault = Fault(strike, there, 116, AT_WORK_S)
    row, said = struck_by(whole, fault, "fault-116", undisturbed, "a spot interruption")
    (address,) = [each.address for each in whole.workers if each.name == row.victim]
    assert re.search(rf"^warning: host {address} is gone \(", said, re.MULTILINE), said
    assert CUT_SHORT.search(said), said
    assert "without a result" not in said
    whole.wait_for_nodes(whole.hosts.all)
    row.keep()


def take_host_away(host: Host, process: Process) -> str:
    """Its system ends what runs, then it is gone; the autoscaler's next one is new."""
    for each in host.processes("ray"):
        each.kill(signal.SIGTERM)
    time.sleep(2.0)
    return lose_host_for_a_while(host, process)


def test_a_host_is_added_in_the_middle(whole: Cluster, undisturbed: Path) -> None:
    late = whole.workers[-1]
    late.lose()
    whole.wait_for_nodes(whole.hosts.all[:-1])

    def strike(chance: random.Random) -> str:
        late.start()
        return late.name

    there, _ = striker(whole.hosts.all, DRIVER, kill)
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

    there, _ = striker(whole.hosts.all, ((), "ray::ImplicitFunc"), kill)
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
