"""Commands in processes of their own that share one import of the libraries.

`python tests/forked_commands.py` is the process that imports them: for each line of JSON with a
module, its arguments, a folder and changes of the environment it forks, runs the module as
`python -m` would, and answers with what that process printed and how it ended.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
from pathlib import Path
from typing import IO, Any


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run one command."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            _be_the_command(request, out, err)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "stdout": out.read().decode(),
            "stderr": err.read().decode(),
        }


def _be_the_command(request: dict[str, Any], out: IO[bytes], err: IO[bytes]) -> None:
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    sys.argv = [request["module"], *request["arguments"]]
    os.chdir(request["cwd"])
    os.environ.update(request["environment"])
    status: object = 1
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = ended.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))


def main() -> None:
    """Answer until there is no more line."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import harness.study_command  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
