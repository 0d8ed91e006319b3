"""The commit of this code, for those who ask later which one made a number."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

COMMIT = "HARNESS_GIT_COMMIT"
"""Environment variable of a job, whose code comes without its repository."""


def git_commit() -> str:
    """Return the commit of this code, or `unknown` where it lies in no repository."""
    told = os.environ.get(COMMIT)
    if told:
        return told
    here = str(Path(__file__).resolve().parent)
    command = ["git", "-C", here, "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
