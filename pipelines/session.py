"""Where the work runs: a Ray of our own on this machine, or the cluster that is there."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from pipelines.cluster_address import LOCAL, NamedAddress, find_cluster, no_cluster
from pipelines.errors import StoppedError, UsageError, require
from pipelines.host_watch import hosts_watched
from pipelines.progress import Reporter

# Read when Ray is imported, here and in every process that Ray starts from this one.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "PYTHONWARNINGS": "ignore",
}


@dataclass
class ClusterConfig:
    """Where to run, and what one trial takes."""

    address: str | None = None
    """Of a running Ray cluster; unset: the cluster of this node if there is one, else our own;
    auto: the cluster of this node, and no other; local: our own even so."""
    cpus: int | None = None
    """CPUs of a local Ray; unset: all."""
    trial_cpus: int = 1
    """CPUs of one trial, and so its threads: part of what fixes a prediction to the bit."""
    trial_gpus: float = 0.0
    """GPUs of one trial; a fraction shares one among several."""
    extract_cpus: int = 1
    """CPUs, and so threads, of one process that makes features; it takes trial_gpus too."""
    trial_retries: int = 1
    """Times that a failed trial is tried again."""
    object_store_mb: int = 300
    """Shared memory of a local Ray: what passes through it is small, clips go by the disk."""

    def __post_init__(self) -> None:
        require(
            self.cpus is None or self.cpus >= 1, f"cluster.cpus ({self.cpus}) must be at least 1"
        )
        require(
            self.trial_cpus >= 1,
            f"cluster.trial_cpus ({self.trial_cpus}) must be at least 1: it fixes the threads",
        )
        require(
            self.extract_cpus >= 1,
            f"cluster.extract_cpus ({self.extract_cpus}) must be at least 1",
        )
        require(self.trial_gpus >= 0, f"cluster.trial_gpus ({self.trial_gpus}) must be 0 or more")
        require(
            self.trial_gpus <= 1 or self.trial_gpus == int(self.trial_gpus),
            f"cluster.trial_gpus ({self.trial_gpus}) must be a fraction up to 1 or a whole number",
        )
        require(
            self.trial_retries >= 0,
            f"cluster.trial_retries ({self.trial_retries}) must be 0 or more",
        )
        require(
            self.object_store_mb >= 80,
            f"cluster.object_store_mb ({self.object_store_mb}) must be at least 80: Ray's own "
            "least",
        )


@dataclass(frozen=True)
class Host:
    """What one node has."""

    cpus: int
    gpus: float = 0

    def room(self, cpus: int, gpus: float) -> int:
        """Return how many processes fit that take so much each; a GPU is shared in whole parts."""
        fit = self.cpus // cpus
        if gpus == 0:
            return fit
        parts = self.gpus / gpus if gpus >= 1 else int(self.gpus) * int(1 / gpus + 1e-9)
        return min(fit, int(parts))


@dataclass(frozen=True)
class Place:
    """Where it runs, and with what."""

    address: str
    local: bool
    cpus: int
    gpus: float
    hosts: Sequence[Host] = ()
    """Of a cluster, those that are there now."""
    gone: str = ""
    """Of a local Ray, which cluster of this node it stands in for."""

    def __str__(self) -> str:
        where = "a local Ray" if self.local else f"the Ray cluster at {self.address}"
        gone = f"; {self.gone}" if self.gone else ""
        return f"{where}: {self.cpus} CPUs, {self.gpus:g} GPUs{gone}"


_TOO_LATE = "node timed out during startup"


@contextmanager
def ray_session(
    config: ClusterConfig, reporter: Reporter, *, verbose: bool = False
) -> Iterator[Place]:
    """Connect to Ray, say where, and leave it as it was found.

    Args:
        config: where to run.
        reporter: told where that is, and of a cluster which hosts go and come.
        verbose: whether Ray and the libraries may speak.

    Raises:
        UsageError: an address is set and no cluster answers there, or Ray asks for more memory
            than there is.
        StoppedError: a Ray of our own does not start, because this machine is too busy.
    """
    for name, value in {}.items() if verbose else _QUIET.items():
        os.environ.setdefault(name, value)
    import ray
    import ray.data  # brings its own loggers, which quiet_libraries() then finds

    options: dict[str, Any] = {
        "log_to_driver": verbose,
        "logging_level": logging.INFO if verbose else logging.ERROR,
    }
    cluster, gone = find_cluster(config.address)
    with ExitStack() as until_the_end:
        if cluster is not None:
            _join(cluster, options)
        else:
            until_the_end.enter_context(_on_loopback())
            _start(config, options)
        until_the_end.callback(ray.shutdown)
        if not verbose:
            quiet_libraries()
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        place = Place(
            address=LOCAL if cluster is None else cluster.text,
            local=cluster is None,
            cpus=int(resources.get("CPU", 0)),
            gpus=float(resources.get("GPU", 0)),
            hosts=hosts_now(),
            gone=gone,
        )
        # That it is not where one may think it is must be known, even when quiet.
        say = reporter.warn if place.gone and reporter.quiet else reporter.line
        say(f"running on {place}")
        if not place.local:
            until_the_end.enter_context(hosts_watched(lost=reporter.warn, changed=reporter.line))
        yield place


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Keep a Ray of our own, and all that it starts, from listening to anyone but this machine.

    It is Ray's own switch, which it sets by itself where there can be no cluster; told a loopback
    address, it would take the machine's other one all the same.
    """
    from ray._private import ray_constants

    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        if before[0] is None:
            del os.environ[name]
        else:
            os.environ[name] = before[0]
        ray_constants.ENABLE_RAY_CLUSTER = before[1]


def _start(config: ClusterConfig, options: dict[str, Any]) -> None:
    import ray

    try:
        ray.init(
            address=LOCAL,
            num_cpus=config.cpus,
            include_dashboard=False,
            object_store_memory=config.object_store_mb * 2**20,
            **options,
        )
    except ValueError as error:
        if "object store" not in str(error):
            raise
        raise UsageError(
            f"cluster.object_store_mb ({config.object_store_mb}) is more than this machine's "
            "memory has room for"
        ) from error
    except Exception as error:
        # Ray has no class of its own for it.
        if _TOO_LATE not in str(error):
            raise
        raise StoppedError(
            "Ray was not there in the half minute that it gives itself: see what else this "
            "machine's CPUs and disk are busy with, then run the same command again"
        ) from error


def _join(address: NamedAddress, options: dict[str, Any]) -> None:
    import ray
    from ray.exceptions import RayError

    bring_token()
    try:
        ray.init(address=address.text, **options)
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise no_cluster(address, error) from error


def bring_token() -> None:
    """Show a cluster the token that this user has, unless RAY_AUTH_MODE says how it is to be.

    Once there is one, which Ray makes for its first local session, `ray start` asks for it; but
    whoever joins is not taken to have it. A cluster that asks for none does not mind.
    """
    from ray._private.authentication import authentication_token_setup as setup
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    if setup.AUTH_MODE_ENV_VAR in os.environ:
        return
    if AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
        # Ray's own function says so on stderr, each time.
        setup._enable_token_auth()


def check_trial_fits(config: ClusterConfig, place: Place, say: Callable[[str], None]) -> None:
    """Refuse a trial that no node could ever hold: it would wait for ever.

    Args:
        config: what a trial takes.
        place: where it is to run.
        say: told where a cluster has no room for it now, but may still grow.

    Raises:
        UsageError: naming the setting.
    """
    if not place.local:
        # One that is to come has a CPU at least.
        hosts = (*place.hosts, Host(cpus=1))
        gpus = config.trial_gpus
        for what, setting in (("a trial", "trial_cpus"), ("making features", "extract_cpus")):
            cpus: int = getattr(config, setting)
            if not any(host.room(cpus, gpus) for host in hosts):
                on_gpus = f" and the {gpus:g} GPUs of cluster.trial_gpus" if gpus else ""
                say(
                    f"no host of the cluster has the {cpus} CPUs of cluster.{setting}{on_gpus} "
                    f"now: {what} waits until one is added that has them"
                )
        return
    require(
        config.trial_cpus <= place.cpus,
        f"cluster.trial_cpus ({config.trial_cpus}) is more than the {place.cpus} CPUs here",
    )
    require(
        config.extract_cpus <= place.cpus,
        f"cluster.extract_cpus ({config.extract_cpus}) is more than the {place.cpus} CPUs here",
    )
    require(
        config.trial_gpus <= place.gpus,
        f"cluster.trial_gpus ({config.trial_gpus:g}) is more than the {place.gpus:g} GPUs here: "
        "use cluster.trial_gpus=0",
    )


def hosts_now() -> tuple[Host, ...]:
    """Return the nodes that are alive, of the Ray that is joined."""
    import ray

    nodes: list[Mapping[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return tuple(
        Host(int(node["Resources"].get("CPU", 0)), float(node["Resources"].get("GPU", 0)))
        for node in nodes
        if node["Alive"]
    )


def quiet_libraries() -> None:
    """Silence what libraries say on stderr that is no concern of the user."""
    # Read when MLflow is imported, which sets its loggers up anew.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", _QUIET["MLFLOW_LOGGING_LEVEL"])
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for name in ("ray", "ray.data", "ray.tune", "mlflow", "alembic", "matplotlib"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
