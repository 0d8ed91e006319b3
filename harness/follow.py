"""A job that was left running, followed again: `python -m harness.follow JOB`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from pipelines.command_line import run_command
from pipelines.errors import UsageError, require
from pipelines.jobs.client import JobClient, job_server, told_address
from pipelines.jobs.submission import follow_job
from pipelines.progress import Reporter


def main(arguments: Sequence[str] | None = None) -> int:
    """Follow a job; return its exit status."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        jobs = [operand for operand in options.overrides if "=" not in operand]
        settings = [operand for operand in options.overrides if "=" in operand]
        require(len(jobs) == 1, "name the one job to follow, as in python -m harness.follow JOB")
        address = job_server(settings, os.environ)
        if address is None:
            told = told_address(settings, os.environ)
            raise UsageError(
                f"{told if told.text else f'{told.source} is not set: it'} must be that of the job "
                "server, as http://127.0.0.1:8265: `ray dashboard ray_cluster.yaml` brings it there"
            )
        client = JobClient(address)
        client.require_job(jobs[0])
        return follow_job(client, jobs[0], reporter)

    return run_command(
        "python -m harness.follow",
        "Follow a job that runs on a cluster until it ends, and end with its exit status.",
        [
            "RAY_ADDRESS=http://127.0.0.1:8265 python -m harness.follow raysubmit_1a2B3c4D",
            "python -m harness.follow raysubmit_1a2B3c4D cluster.address=http://127.0.0.1:8265",
        ],
        run,
        arguments,
        lambda: "",
        operands=("JOB", "its id, as it was printed when it was submitted."),
    )


if __name__ == "__main__":
    sys.exit(main())
