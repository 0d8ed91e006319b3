"""What a command says when storage fails under it: the place, the reason, and what helps."""

from __future__ import annotations

import argparse
import errno
import os

import pytest

from pipelines.command_line import STOPPED, run_command
from pipelines.progress import Reporter


@pytest.mark.parametrize(
    ("number", "helps"),
    [
        (errno.ENOSPC, "make room there"),
        (errno.EDQUOT, "make room there"),
        (errno.EROFS, "let it be read and written"),
        (errno.EACCES, "let it be read and written"),
        (errno.EIO, "see what is wrong with its disk or its server"),
        (errno.ESTALE, "see what is wrong with its disk or its server"),
    ],
)
def test_storage_that_fails_is_one_line_with_what_helps(
    number: int, helps: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        raise OSError(number, os.strerror(number), "/mnt/runs/x.json")

    status = run_command("python -m some", "It fails.", [], run, ["-v"], lambda: "")
    assert status == STOPPED
    assert capfd.readouterr().err == (
        f"error: /mnt/runs/x.json can't be read or written: {os.strerror(number)}; what is "
        f"finished is kept: {helps} and run the same command again\n"
    )


def test_what_is_no_failure_of_storage_is_no_users_mistake() -> None:
    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        raise ConnectionResetError(errno.ECONNRESET, "gone")

    with pytest.raises(ConnectionResetError):
        run_command("python -m some", "It fails.", [], run, ["-v"], lambda: "")
