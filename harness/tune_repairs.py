"""What Ray Tune does that a study must not suffer, mended where Tune has no setting for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import class_cache
from ray.tune.experiment import Trial

_MENDED = "_takes_memory_kills"


def keep_credentials_here() -> None:
    """Keep the driver's credentials out of what Tune tells each trial's process to have.

    Ray writes that into its logs, and shows it. A host has credentials of its own.
    """
    passed_on = class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.ENV_VARS_TO_PROPAGATE = {n for n in passed_on if not n.startswith("AWS_")}


def take_memory_kills_for_deaths() -> None:
    """Let a trial whose process Ray's memory monitor killed be one that failed, like any other.

    Tune expects the death of an actor to be a `RayActorError`. The monitor's is not, and so it
    would end the whole run, all other trials with it.
    """
    manager_class: Any = RayActorManager
    failed = manager_class._actor_task_failed
    if hasattr(failed, _MENDED):
        return

    def taken(self: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            # Its first line says how much is used on which node, the others who uses it.
            told = str(exception).partition("\n")[0]
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {told}")
        failed(self, tracked_actor_task, exception)

    setattr(taken, _MENDED, True)
    manager_class._actor_task_failed = taken


@contextmanager
def asked_of_each_failure(may_retry: Callable[[Trial, BaseException], bool]) -> Iterator[None]:
    """While this lasts, let Tune try again only what may be: by itself it counts failures alone.

    Args:
        may_retry: told of each failure of a trial.
    """
    trial_class: Any = Trial
    handle = trial_class.handle_error

    def handled(self: Trial, exc: Exception | None = None) -> None:
        handle(self, exc)
        if exc is not None and not may_retry(self, exc):
            self.max_failures = 0

    trial_class.handle_error = handled
    try:
        yield
    finally:
        trial_class.handle_error = handle
