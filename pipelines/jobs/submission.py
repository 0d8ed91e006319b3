"""What a command does where its address is that of a job server: it runs there, not here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.cluster_address import NamedAddress
from pipelines.commit import COMMIT, git_commit
from pipelines.jobs.client import JobClient, entrypoint, follow_hint
from pipelines.jobs.viewer import Viewer
from pipelines.progress import Reporter

INTERRUPTED = 130
STOPPED_STATUS = "STOPPED"
QUESTION = "stop the job, or leave it running? [stop/LEAVE] "


def submit_command(
    module: str,
    arguments: Sequence[str],
    address: NamedAddress,
    reporter: Reporter,
    *,
    detach: bool,
) -> int:
    """Submit `python -m module` with this folder as its own, and follow it.

    Args:
        module: the command.
        arguments: all that it was told here, without a secret: everyone reads them who may list
            the jobs.
        address: of the job server.
        reporter: told what is submitted where.
        detach: leave it running at once.

    Returns:
        The exit status of the job; 0 where it was only submitted.

    Raises:
        UsageError: the job server does not answer, or does not take the job.
    """
    client = JobClient(address)
    commit = {COMMIT: git_commit()}
    job = client.submit(entrypoint(module, arguments), Path.cwd(), commit)
    reporter.line(f"submitted to {client.address} as job {job}")
    if detach:
        print(job)
        reporter.line(f"it runs by itself; to follow it: {follow_hint(job, client.address)}")
        return 0
    return follow_job(client, job, reporter)


def follow_job(client: JobClient, job: str, reporter: Reporter) -> int:
    """Show a job until it ends; Ctrl-C asks whether to stop it.

    Returns:
        The exit status of the job; 130 where it was stopped, or left running.
    """
    viewer = Viewer(reporter)
    try:
        end = client.follow(job, viewer.take)
    except KeyboardInterrupt:
        viewer.close()
        return _interrupted(client, job)
    finally:
        viewer.close()
    viewer.end()
    if end.status == STOPPED_STATUS:
        _say(f"job {job} was stopped: run the same command again to go on from there")
        return INTERRUPTED
    if end.exit_status and end.message and "exit code" not in end.message:
        _say(f"error: job {job} failed: {end.message}")
    return end.exit_status


def _interrupted(client: JobClient, job: str) -> int:
    if _asked_to_stop():
        try:
            client.stop(job)
        except Exception as error:  # whatever breaks between here and there
            hint = follow_hint(job, client.address)
            _say(f"job {job} could not be stopped ({type(error).__name__}); to follow it: {hint}")
        else:
            _say(f"job {job} is stopped: run the same command again to go on from there")
    else:
        _say(f"job {job} goes on; to follow it: {follow_hint(job, client.address)}")
    return INTERRUPTED


def _asked_to_stop() -> bool:
    """Ask, where there is somebody to ask: nobody is taken for leaving it."""
    if not sys.stdin.isatty():
        return False
    try:
        sys.stderr.write(f"\n{QUESTION}")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("s", "stop")
    except KeyboardInterrupt:
        return False


def _say(text: str) -> None:
    print(text, file=sys.stderr)
