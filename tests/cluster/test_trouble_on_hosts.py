"""Clusters on a bad day: clocks that differ, studies at once, a shared folder that is slow."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest
from cluster_study import SPLITS, STUDY, arguments, check_same, children_in_mlflow, watched
from conftest import Result
from hosts import SHARED_AT
from ray_up import Cluster, ended

pytestmark = [pytest.mark.cluster, pytest.mark.long]

GIVEN_UP_S = 30.0
CLOCK_AHEAD = Path(__file__).with_name("clock_ahead.c")


def start_ray_again(cluster: Cluster, before: str = "", options: str = "") -> None:
    """Start the last worker's Ray anew, with something before the command or after it."""
    host = cluster.workers[-1]
    host.run("ray stop --force")
    cluster.wait_for_nodes(cluster.hosts.all[:-1])
    cluster.join(host, before, options)
    cluster.wait_for_nodes(cluster.hosts.all)


def test_a_host_whose_clock_is_an_hour_ahead(whole: Cluster, undisturbed: Path) -> None:
    library = whole.hosts.shared / "clock_ahead.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", str(library), str(CLOCK_AHEAD), "-ldl"], check=True
    )
    ahead = f"CLOCK_AHEAD_S=3600 LD_PRELOAD={SHARED_AT}/{library.name}"
    told = whole.workers[-1].run(f"date +%s; {ahead} date +%s").split()
    assert int(told[1]) - int(told[0]) >= 3600
    start_ray_again(whole, ahead)
    try:
        study = whole.submitted("harness.loso", *arguments("clock"))
        wrong: set[str] = set()
        while study.poll() is None:
            for kind in ("ClipWorker", "ImplicitFunc"):
                found = whole.workers[-1].processes(kind)
                if any(library.name in each.maps for each in found):
                    wrong.add(kind)
            time.sleep(0.2)
        done = ended(study)
    finally:
        start_ray_again(whole)
    # Its clips and its trial had that clock.
    assert wrong == {"ClipWorker", "ImplicitFunc"}
    assert done.status == 0, done.stderr
    check_same(whole.runs / "clock", undisturbed)
    assert children_in_mlflow(whole, "clock") == SPLITS


def study_on_a_mount(cluster: Cluster, name: str, options: dict[str, str]) -> Result:
    """Run a study whose shards and runs lie on a mount of the shared folder, with these options.

    Args:
        cluster: with all its hosts.
        name: of the study, and of the mount.
        options: those of `bindfs`, by host.
    """
    at = f"/mnt/{name}"
    for host in cluster.hosts:
        host.run(f"mkdir -p {at} && bindfs {options[host.name]} {SHARED_AT} {at}")
    try:
        lies = (f"paths.data={at}/data-{name}", f"paths.runs={at}/runs")
        return cluster.submit("harness.loso", *STUDY, f"name={name}", *lies)
    finally:
        for host in cluster.hosts:
            host.run(f"umount --lazy {at}")


def test_a_shared_folder_that_is_slow(whole: Cluster, undisturbed: Path) -> None:
    slow = "--read-rate=1M --write-rate=1M"
    done = study_on_a_mount(whole, "slow", {host.name: slow for host in whole.hosts})
    assert done.status == 0, done.stderr
    check_same(whole.runs / "slow", undisturbed)


def test_a_driver_that_sees_what_others_write_half_a_minute_later(
    whole: Cluster, undisturbed: Path
) -> None:
    """Its host remembers which files were not there, as NFS does unless it is told otherwise."""
    late = "-o negative_timeout=30,entry_timeout=30,attr_timeout=30"
    options = {host.name: late if host is whole.head else "" for host in whole.hosts}
    done = study_on_a_mount(whole, "late", options)
    assert done.status == 0, done.stderr
    check_same(whole.runs / "late", undisturbed)
    assert children_in_mlflow(whole, "late") == SPLITS


def test_two_studies_at_once_make_their_shards_once(whole: Cluster, undisturbed: Path) -> None:
    (data,) = [told for told in arguments("pair") if told.startswith("paths.data=")]
    both = [
        whole.submitted("harness.loso", *arguments(f"pair-{number}"), data) for number in (1, 2)
    ]
    ends = [ended(each) for each in both]
    for number, done in enumerate(ends, 1):
        assert done.status == 0, done.stderr
        check_same(whole.runs / f"pair-{number}", undisturbed)
        assert children_in_mlflow(whole, f"pair-{number}") == SPLITS
    # The corpus is made first, then its shards: whoever comes later to either waits for the other.
    waited = [at for done in ends for at in re.findall(r"is working on (\S+):", done.stderr)]
    assert waited
    assert len(waited) == len(set(waited)) <= 2
    for stage in ("make corpus", "preprocess"):
        assert sum(f"{stage}: 18 of 18" in done.stderr for done in ends) == 1, stage


def test_of_a_study_started_twice_the_second_says_so(whole: Cluster, undisturbed: Path) -> None:
    both = [whole.submitted("harness.loso", *arguments("twice")) for _ in range(2)]
    ends = [ended(each) for each in both]
    assert sorted(done.status for done in ends) == [0, 2]
    (second,) = [done for done in ends if done.status == 2]
    (error,) = [line for line in second.stderr.splitlines() if line.startswith("error:")]
    assert "twice" in error
    assert "another" in error
    check_same(whole.runs / "twice", undisturbed)
    assert children_in_mlflow(whole, "twice") == SPLITS


def test_of_a_study_started_on_two_hosts_the_second_says_so(
    whole: Cluster, undisturbed: Path
) -> None:
    """The lock is that of the shared file system: it must be seen on the other host."""
    command = f"cd ~/harness && python -m harness.loso {shlex.join(arguments('two-hosts'))}"
    host = whole.workers[0]
    with (host.folder / "two-hosts.log").open("w") as log:
        first = subprocess.Popen(
            [*host.ssh, f"bash --login -i -c {shlex.quote(command)}"],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    started = whole.runs / "two-hosts" / "config.yaml"
    deadline = time.monotonic() + 120
    while not started.exists():
        assert time.monotonic() < deadline, (host.folder / "two-hosts.log").read_text()
        time.sleep(0.2)
    second = whole.submit("harness.loso", *arguments("two-hosts"))
    assert second.status == 2, second.stderr
    assert "another" in second.stderr.splitlines()[-1]
    assert first.wait(600) == 0, (host.folder / "two-hosts.log").read_text()
    check_same(whole.runs / "two-hosts", undisturbed)


def test_features_are_made_where_a_gpu_is_and_a_host_whose_gpu_fails_is_named(
    whole: Cluster,
) -> None:
    """One host says that it has a GPU, and torch finds none: its name tells where the work went."""
    start_ray_again(whole, options="--num-gpus=1")
    settings = (*arguments("gpu"), "training.trunk=frozen", "cluster.trial_gpus=1")
    try:
        with watched(whole, decoding="sandbox_child", features="FeatureWorker") as seen:
            done = whole.submit("harness.loso", *settings)
    finally:
        start_ray_again(whole)
    everywhere = {host.name for host in whole.hosts}
    assert seen.hosts == {"decoding": everywhere, "features": {whole.workers[-1].name}}
    assert done.status == 2
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert f"none that it could use on {whole.workers[-1].name}" in error


def test_a_host_that_ray_has_given_up_joins_by_hand(whole: Cluster, undisturbed: Path) -> None:
    late = whole.workers[-1]
    others = whole.hosts.all[:-1]
    late.lose()
    whole.wait_for_nodes(others)
    late.start()
    deadline = time.monotonic() + GIVEN_UP_S
    while not whole.head.processes("ssh ", late.address, "ray start"):
        assert time.monotonic() < deadline, "Ray's head does not start Ray on it"
        time.sleep(0.05)
    late.lose()
    late.start()
    whole.wait_until_settled()
    # If it comes by itself now, Ray has learned to try again, and docs/reliability.md may say so.
    time.sleep(GIVEN_UP_S)
    assert whole.nodes() == sorted(host.address for host in others)
    whole.join(late)
    whole.wait_for_nodes(whole.hosts.all)
    with watched(whole, trials="ImplicitFunc") as seen:
        done = whole.submit("harness.loso", *arguments("by-hand"))
    assert done.status == 0, done.stderr
    assert late.name in seen.hosts["trials"]
    check_same(whole.runs / "by-hand", undisturbed)
