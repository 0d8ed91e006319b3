"""Where it runs: what an address may be; a trial that has no room, refused or said to wait."""

from __future__ import annotations

import inspect
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ForkedCommands, run_module
from ray._private.node import Node

from pipelines.errors import StoppedError, UsageError
from pipelines.progress import Reporter
from pipelines.session import ClusterConfig, Host, Place, check_trial_fits, ray_session

QUIET = Reporter(quiet=True)


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        (ClusterConfig(trial_cpus=3), r"^cluster\.trial_cpus \(3\) is more than the 2 CPUs here$"),
        (ClusterConfig(extract_cpus=3), r"^cluster\.extract_cpus \(3\) is more than the 2 CPUs"),
        (ClusterConfig(trial_gpus=0.5), r"^cluster\.trial_gpus \(0\.5\) is more than the 0 GPUs"),
    ],
)
def test_a_local_ray_never_grows(config: ClusterConfig, refused: str) -> None:
    said: list[str] = []
    place = Place(address="local", local=True, cpus=2, gpus=0)
    with pytest.raises(UsageError, match=refused):
        check_trial_fits(config, place, said.append)
    check_trial_fits(ClusterConfig(trial_cpus=2, extract_cpus=2), place, said.append)
    assert said == []


@pytest.mark.parametrize(
    ("config", "hosts", "waits_for"),
    [
        (ClusterConfig(trial_gpus=1), [], "trial_cpus extract_cpus"),
        (ClusterConfig(trial_gpus=1), [Host(2, 1)], ""),
        # Eight GPUs, of which no trial can have two.
        (ClusterConfig(trial_gpus=2), [Host(8, 1)] * 8, "trial_cpus extract_cpus"),
        # CPUs here, GPUs there.
        (ClusterConfig(trial_cpus=8, trial_gpus=1), [Host(16), Host(4, 1)], "trial_cpus"),
        (ClusterConfig(trial_cpus=4, extract_cpus=5), [Host(4), Host(4)], "extract_cpus"),
        # It begins without any: whatever comes has a CPU.
        (ClusterConfig(), [], ""),
    ],
)
def test_what_no_host_of_a_cluster_can_hold_is_said_to_wait(
    config: ClusterConfig, hosts: list[Host], waits_for: str
) -> None:
    said: list[str] = []
    place = Place(
        address="10.0.0.1:6379",
        local=False,
        cpus=sum(host.cpus for host in hosts),
        gpus=sum(host.gpus for host in hosts),
        hosts=hosts,
    )
    check_trial_fits(config, place, said.append)
    for line, setting in zip(said, waits_for.split(), strict=True):
        cpus = getattr(config, setting)
        assert line.startswith(f"no host of the cluster has the {cpus} CPUs of cluster.{setting}")
        on_gpus = f"and the {config.trial_gpus:g} GPUs of cluster.trial_gpus"
        assert (on_gpus in line) == bool(config.trial_gpus)
        assert line.endswith(" waits until one is added that has them")


@pytest.mark.parametrize(
    ("host", "cpus", "gpus", "room"),
    [
        *((Host(8), 1, 0, 8), (Host(8), 3, 0, 2), (Host(8), 1, 1, 0), (Host(1, 8), 2, 0.5, 0)),
        *((Host(48, 4), 1, 1, 4), (Host(48, 4), 1, 2, 2), (Host(2, 4), 1, 1, 2)),
        *((Host(48, 1), 1, 0.1, 10), (Host(48, 2), 1, 0.4, 4), (Host(48, 3), 1, 0.3, 9)),
    ],
)
def test_how_many_a_host_has_room_for(host: Host, cpus: int, gpus: float, room: int) -> None:
    assert host.room(cpus, gpus) == room


@pytest.mark.parametrize("source", ["cluster.address", "RAY_ADDRESS"])
@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://127.0.0.1:8265", r"{0} \(http://127\.0\.0\.1:8265\) is that of a job server"),
        ("http://me:word@127.0.0.1:8265", "{0} carries a password or a key"),
        ("127.0.0.1", r"{0} \(127\.0\.0\.1\) must be host:port"),
        ("head..lab:6379", r"no Ray cluster answers at {0} \(head\.\.lab:6379\): "),
    ],
)
def test_an_address_that_is_no_clusters_is_refused_by_where_it_stands(
    source: str, address: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = source == "cluster.address"
    monkeypatch.setenv("RAY_ADDRESS", "" if here else address)
    config = ClusterConfig(address=address if here else None)
    with (
        pytest.raises(UsageError, match=f"^{told.format(source)}") as refused,
        ray_session(config, QUIET),
    ):
        pass
    assert "word" not in str(refused.value).replace("password", "")


@pytest.fixture
def gone() -> Iterator[Path]:
    """Yield the file that `ray start` leaves where its cluster has been killed."""
    temporary = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # short, for Ray's sockets
    left = temporary / "ray" / "ray_current_cluster"
    left.parent.mkdir()
    left.write_text("127.0.0.1:9")
    yield left
    shutil.rmtree(temporary, ignore_errors=True)


@pytest.mark.parametrize("source", ["cluster.address", "RAY_ADDRESS"])
@pytest.mark.parametrize("left", [True, False])
def test_auto_is_never_a_ray_of_its_own(
    source: str, left: bool, gone: Path, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    if not left:
        gone.unlink()
    here = source == "cluster.address"
    told = forked_commands.run(
        "harness.loso",
        *(["cluster.address=auto"] if here else []),
        cwd=tmp_path,
        RAY_ADDRESS="" if here else "auto",
        RAY_TMPDIR=str(gone.parents[1]),
    )
    assert (told.status, told.stdout) == (2, "")
    assert told.stderr.startswith(
        f"error: no Ray cluster answers at {source} (auto): start one with `ray start --head` or "
        "`ray up`, or unset it or set cluster.address=local to run on this machine"
    )
    assert told.stderr.count("\n") == 1
    assert (
        f"(no cluster answers at 127.0.0.1:9, which `ray start` left in {gone})" in told.stderr
    ) == left


@pytest.mark.parametrize("source", ["cluster.address", "RAY_ADDRESS"])
def test_an_address_where_nobody_answers_is_refused_by_where_it_stands(
    source: str, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    here = source == "cluster.address"
    told = forked_commands.run(
        "harness.loso",
        *(["cluster.address=127.0.0.1:9"] if here else []),
        cwd=tmp_path,
        RAY_ADDRESS="" if here else "127.0.0.1:9",
    )
    assert (told.status, told.stdout) == (2, "")
    assert told.stderr.startswith(f"error: no Ray cluster answers at {source} (127.0.0.1:9): ")
    assert told.stderr.count("\n") == 1


def test_a_cluster_of_this_node_that_is_gone_is_said_though_quiet_and_hinders_nobody(
    gone: Path, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    settings = ("corpus.subjects=2", "corpus.takes=1", "cluster.cpus=1")
    temporary = str(gone.parents[1])
    told = run_module("pipelines.preprocess", *settings, cwd=tmp_path, RAY_TMPDIR=temporary)
    assert told.status == 0, told.stderr
    where = (
        "running on a local Ray: 1 CPUs, 0 GPUs; no cluster answers at 127.0.0.1:9, which "
        f"`ray start` left in {gone}"
    )
    assert told.stderr.splitlines()[0] == where
    # All is done by now.
    quiet = forked_commands.run(
        "pipelines.preprocess", "-q", *settings, cwd=tmp_path, RAY_TMPDIR=temporary
    )
    assert (quiet.status, quiet.stderr) == (0, f"warning: {where}\n")


def test_a_machine_too_busy_for_ray_to_start_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_late(**_: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because")

    monkeypatch.setattr("ray.init", too_late)
    with (
        pytest.raises(StoppedError, match=r"^Ray was not there in the half minute .* again$"),
        ray_session(ClusterConfig(address="local"), QUIET),
    ):
        pass
    # The words are Ray's.
    assert "The current node timed out during startup." in inspect.getsource(Node)


def test_more_object_store_than_memory_is_refused_by_name(
    tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    settings = ("corpus.subjects=2", "cluster.object_store_mb=99999999")
    told = forked_commands.run("pipelines.preprocess", *settings, cwd=tmp_path)
    assert (told.status, told.stderr) == (
        2,
        "error: cluster.object_store_mb (99999999) is more than this machine's memory has room "
        "for\n",
    )
