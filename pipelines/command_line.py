"""What every command has in common: --help with examples, -q, -v, one-line errors, exit status."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence

from pipelines.credentials import refuse_credential_in
from pipelines.errors import StoppedError, UsageError, require
from pipelines.jobs.client import job_server
from pipelines.jobs.submission import submit_command
from pipelines.marked_output import mark_stderr
from pipelines.progress import Reporter
from pipelines.session import quiet_libraries
from pipelines.storage import store_problem

STOPPED = 1
USAGE_ERROR = 2
INTERRUPTED = 130

_WHAT_TO_DO = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room there"),
    **dict.fromkeys((errno.EROFS, errno.EACCES), "let it be read and written"),
    **dict.fromkeys((errno.EIO, errno.ESTALE), "see what is wrong with its disk or its server"),
}
"""Where storage fails, by how it does."""

SETTINGS = ("key=value", "settings that differ from the default")
"""What most commands take, and what it is."""
Run = Callable[[argparse.Namespace, Reporter], int]


def run_command(
    program: str,
    description: str,
    examples: Sequence[str],
    run: Run,
    arguments: Sequence[str] | None,
    settings: Callable[[], str],
    extend: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
    operands: tuple[str, str] = SETTINGS,
    *,
    on_ray: bool = False,
) -> int:
    """Parse the command line, run, and turn a user's mistake into one line and status 2.

    Args:
        program: how it is called, for --help.
        description: what it does.
        examples: command lines for --help.
        run: takes the parsed options (`overrides`, `verbose`, `json`) and a reporter; returns the
            exit status.
        arguments: the command line; None takes the process' own.
        settings: makes the text on the settings, for --help only.
        extend: adds what this command alone takes, before the settings.
        operands: what `overrides` holds, and its help: of a command that takes no settings.
        on_ray: it works on Ray, and so, where the address is that of a job server, as a job.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        # Before anything is parsed: what can't be is repeated, by argparse and by Hydra.
        for argument in arguments:
            refuse_credential_in(argument)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    shown = settings() if {"-h", "--help"} & set(arguments) else ""
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog="\n".join(["examples:", *(f"  {example}" for example in examples), "", shown]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # Half an option would be one here, and none where it is looked for by name.
        allow_abbrev=False,
    )
    extend(parser)
    parser.add_argument("overrides", nargs="*", metavar=operands[0], help=operands[1])
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only the result")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="also what Ray and the libraries say"
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    if on_ray:
        parser.add_argument(
            "--detach",
            action="store_true",
            help="with RAY_ADDRESS=http://...: submit the job and leave it running",
        )
    # Options may stand among the settings: argparse alone would refuse a setting behind one.
    options = parser.parse_intermixed_args(arguments)
    if not options.verbose:
        quiet_libraries()
        _silence_native_code()
    mark_stderr()
    reporter = Reporter(quiet=options.quiet)
    try:
        if on_ray:
            server = job_server(options.overrides, os.environ)
            if server is not None:
                module = program.split()[-1]
                return submit_command(module, arguments, server, reporter, detach=options.detach)
            require(
                not options.detach,
                "--detach is for a job on a cluster: set RAY_ADDRESS=http://host:port, the address "
                "of its job server",
            )
        return run(options, reporter)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    except StoppedError as error:
        print(f"error: {error}", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        # Who read the result has had enough, as `head` has: what Python still holds goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STOPPED
    except OSError as error:
        to_do = _WHAT_TO_DO.get(error.errno or 0)
        if to_do is None:
            raise
        where = error.filename or "a file"
        print(
            f"error: {where} can't be read or written: {error.strerror}; what is finished is kept: "
            f"{to_do} and run the same command again",
            file=sys.stderr,
        )
        return STOPPED
    except Exception as error:
        problem = store_problem(error)
        if problem is None:
            raise
        print(
            f"error: the object store fails: {problem}; what is finished is kept: run the same "
            "command again when it answers",
            file=sys.stderr,
        )
        return STOPPED
    except KeyboardInterrupt:
        print("stopped: run the same command again to go on from here", file=sys.stderr)
        return INTERRUPTED


def _silence_native_code() -> None:
    """Keep stderr for Python: native code, Ray's above all, writes to descriptor 2 as it likes."""
    try:
        ours = os.dup(2)
    except OSError:
        return  # there is no stderr to keep clean
    sys.stderr = os.fdopen(ours, "w", buffering=1, errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
