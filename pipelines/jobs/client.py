"""Submits this very command as a job of a cluster, and follows a job until it ends.

The working folder travels with the job, so that a network of one's own or a plan is
there, and so is the project where it is the working folder. What is large or belongs to this
machine stays. A job goes on by itself: whoever follows it may go away and come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from pipelines.cluster_address import (
    ADDRESS,
    ADDRESS_SETTING,
    CONNECT_SECONDS,
    NamedAddress,
    asked_for,
    refuse_password,
)
from pipelines.errors import StoppedError, UsageError, require
from pipelines.marked_output import IN_JOB
from pipelines.session import bring_token

LOST_SECONDS = 60.0
"""A cluster that does not answer for so long is given up; the job goes on."""
LEFT_HERE = [
    *(".git", ".venv", "runs", "data", "__pycache__"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache"),
    *("*.mp4", "*.avi", "*.mkv", "*.mov", "*.mpg", "*.flv"),
    *("venv", "env"),
    *(".env", ".env.*", "*.env", ".envrc", ".netrc", ".pgpass", ".pypirc", ".databrickscfg"),
    *(".aws", ".azure", ".config", ".docker", ".gnupg", ".kube", ".mlflow", ".ray", ".ssh"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "id_*", "*service-account*.json", "*credentials*"),
    # Code is none, whatever its name.
    *("!id_*.py", "!*credentials*.py"),
]
"""Of the working folder: what no job needs, what the hosts have elsewhere, and secrets. As in a
.gitignore: at any depth, and the last that fits counts."""
LARGEST_MIB = 100
"""Of a working folder, packed: as much as Ray's job server takes."""
FAILED = 1

_SET_ADDRESS = f"{ADDRESS_SETTING}="


def told_address(overrides: Sequence[str], environment: Mapping[str, str]) -> NamedAddress:
    """Return the address that a command is given, empty for none: a setting before RAY_ADDRESS."""
    told = [o.removeprefix(_SET_ADDRESS) for o in overrides if o.startswith(_SET_ADDRESS)]
    return asked_for(told[-1] if told else None, environment)


def job_server(overrides: Sequence[str], environment: Mapping[str, str]) -> NamedAddress | None:
    """Return the address to submit to, or None where the command is to run here.

    A job server is told by its form, http://host:port: host:port alone is a cluster to join.
    """
    address = told_address(overrides, environment)
    return address if re.match(r"https?://", address.text) else None


def entrypoint(module: str, arguments: Sequence[str]) -> str:
    """Return the command line of the job: this one, less what says where to submit it."""
    kept = [a for a in arguments if a != "--detach" and not a.startswith(_SET_ADDRESS)]
    return shlex.join(["python", "-m", module, *kept])


@dataclass(frozen=True)
class JobEnd:
    """How a job ended."""

    status: str
    """As Ray names it: SUCCEEDED, FAILED, STOPPED."""
    exit_status: int
    message: str


class JobClient:
    """The job server of one cluster."""

    def __init__(self, address: NamedAddress) -> None:
        """Connect.

        Raises:
            UsageError: no job server answers there, or it does not let this user in.
        """
        refuse_password(address)
        self._told = replace(address, text=address.text.rstrip("/"))
        self.address = self._told.text
        self._require_answer()
        from ray.exceptions import RayError
        from ray.job_submission import JobSubmissionClient

        _quiet_ray()
        bring_token()
        try:
            # Typed as it comes: Ray's own classes are not.
            self._client: Any = JobSubmissionClient(self.address)
        except (RayError, ConnectionError, RuntimeError, ValueError) as error:
            raise self._refused(error) from error

    def submit(self, command: str, folder: Path, environment: Mapping[str, str]) -> str:
        """Start a job with a folder of this machine as its working folder; return its id.

        Raises:
            UsageError: the folder can't be packed or is too large, or the cluster refuses it.
        """
        from requests import RequestException

        runtime: dict[str, Any] = {
            "working_dir": str(folder),
            "excludes": LEFT_HERE,
            "env_vars": {IN_JOB: "1", "PYTHONUNBUFFERED": "1", **environment},
        }
        try:
            return str(self._client.submit_job(entrypoint=command, runtime_env=runtime))
        # Those of the connection first: they are errors of files by their class.
        except (RuntimeError, ConnectionError, RequestException) as error:
            require(
                "status code 413" not in str(error),
                f"the working folder ({folder}) is larger than the {LARGEST_MIB} MiB that go along "
                "with a job: submit it from another folder, or move what is large into one of "
                f"those that stay: {', '.join(LEFT_HERE[:4])}",
            )
            raise self._refused(error) from error
        except (OSError, ValueError) as error:
            raise UsageError(
                f"the working folder ({folder}) can't be packed to go along with the job: "
                f"{' '.join(str(error).split())}; mend that, or submit it from another folder"
            ) from error

    def require_job(self, job: str) -> None:
        """Refuse a job that is not there."""
        try:
            self._client.get_job_info(job)
        except RuntimeError as error:
            # Drivers that joined the cluster are in its list too, without an id of a job.
            ids = {told.submission_id for told in self._client.list_jobs()} - {None}
            known = ", ".join(sorted(ids))
            raise UsageError(
                f"{job} is no job at {self.address}: there are {known or 'none'}"
            ) from error

    def follow(self, job: str, take: Callable[[str], None]) -> JobEnd:
        """Pass every line of a job's log on, from its beginning, until the job has ended.

        A connection that breaks is made anew, and no line is passed twice.

        Raises:
            StoppedError: the cluster no longer answers; the job goes on.
        """
        lines = _Lines(take)
        lost_since: float | None = None
        while True:
            with contextlib.suppress(Exception):
                lines.begin()
                asyncio.run(self._tail(job, lines))
            try:
                info = self._client.get_job_info(job)
                # What was written between the last look and the end.
                rest = self._client.get_job_logs(job) if info.status.is_terminal() else None
            except Exception as error:
                lost_since = lost_since or time.monotonic()
                if time.monotonic() - lost_since > LOST_SECONDS:
                    raise StoppedError(
                        f"{self.address} has not answered for {LOST_SECONDS:g} s; job {job} goes "
                        f"on without this connection: to follow it again, "
                        f"{follow_hint(job, self.address)}"
                    ) from error
                time.sleep(1.0)
                continue
            lost_since = None
            if rest is not None:
                lines.begin()
                lines.add(rest)
                lines.end()
                return _end_of(info)
            time.sleep(0.2)

    async def _tail(self, job: str, lines: _Lines) -> None:
        async for part in self._client.tail_job_logs(job):
            lines.add(part)

    def stop(self, job: str) -> None:
        """Stop a job, and wait until it has ended."""
        self._client.stop_job(job)
        while not self._client.get_job_status(job).is_terminal():
            time.sleep(0.5)

    def _require_answer(self) -> None:
        try:
            parts = urlsplit(self.address)
            require(bool(parts.hostname), f"{self._told} names no host")
            _ = parts.port  # fails if it is no number
            with urlopen(f"{self.address}/api/version", timeout=CONNECT_SECONDS) as answer:
                told = json.loads(answer.read())
            require(
                isinstance(told, dict) and "ray_version" in told,
                f"what answers at {self._told} is no job server of Ray",
            )
        except HTTPError as error:
            # Whether the token is the right one is asked next, with it.
            if error.code not in (401, 403):
                raise self._refused(error) from error
        except (OSError, ValueError, HTTPException) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> UsageError:
        reason = " ".join(str(error).split())
        if "authenticat" in reason.lower() or "401" in reason or "403" in reason:
            return UsageError(
                f"the cluster at {self.address} wants its token: set RAY_AUTH_MODE=token, and have "
                "the token that it was started with in ~/.ray/auth_token"
            )
        return UsageError(
            f"no job server answers at {self._told}: start `ray dashboard ray_cluster.yaml`, "
            f"correct the address, or unset it to run on this machine ({reason})"
        )


def _quiet_ray() -> None:
    """Silence Ray's client, whose loggers say each step on stderr whatever their parents' level."""
    for name in tuple(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "ray":
            logging.getLogger(name).setLevel(logging.CRITICAL)


class _Lines:
    """Cuts parts of a log into lines, and leaves out what it has had before."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._had, self._seen, self._rest = 0, 0, ""

    def begin(self) -> None:
        """The log comes from its beginning once more."""
        self._seen = 0

    def add(self, part: str) -> None:
        known = max(0, min(len(part), self._had - self._seen))
        self._seen += len(part)
        self._had = max(self._had, self._seen)
        *lines, self._rest = (self._rest + part[known:]).split("\n")
        for line in lines:
            self._take(line)

    def end(self) -> None:
        """Pass on what has no end of line."""
        if self._rest:
            self._take(self._rest)
        self._rest = ""


def _end_of(info: Any) -> JobEnd:
    status = str(info.status.value)
    code = info.driver_exit_code
    if code is None:
        code = 0 if status == "SUCCEEDED" else FAILED
    # A driver that was killed by a signal has its number, negative: a shell says 128 and that.
    return JobEnd(status, code if code >= 0 else 128 - code, str(info.message or ""))


def follow_hint(job: str, address: str) -> str:
    """Return how a job is followed again."""
    server = "" if os.environ.get(ADDRESS) == address else f"{ADDRESS}={address} "
    return f"{server}python -m harness.follow {job}"
