"""Commands run as users run them, on a corpus small enough to run often."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster_fixtures import cluster, hosts, undisturbed, whole  # noqa: F401  fixtures
from groups import (  # noqa: F401  which tests run in one process: hooks
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_configure_node,
    pytest_xdist_make_scheduler,
    pytest_xdist_setupnodes,
)
from kept_results import KEPT_IN, ROOT, KeptResults
from media_files import GRID, MODELS

SMALL = (
    "corpus.subjects=3",
    "corpus.takes=1",
    "corpus.difficulty=0.2",
    "training.audio_epochs=2",
    "training.visual_epochs=1",
    "training.fusion_epochs=3",
)
"""Three people, eighteen clips, few epochs: the whole way in half a minute."""


# A shell that starts the tests in the background has it ignored, and so would all that they start:
# those that press Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST_S = 1800
"""What takes longer hangs: an ablation of ten rows takes minutes, beside another one twice that."""


def pytest_configure(config: pytest.Config) -> None:
    if file := os.environ.get(KEPT_IN):
        told = getattr(config, "workerinput", None)
        passed = None if told is None else frozenset(told["passed"])
        config.pluginmanager.register(KeptResults(Path(file), ROOT, passed))


@dataclass(frozen=True)
class Result:
    """What a command printed and how it ended."""

    status: int
    stdout: str
    stderr: str


def run_module(module: str, *arguments: str, cwd: Path, **environment: str) -> Result:
    """Run `python -m module` in a folder of its own, as a user would."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def run_in_terminal(module: str, *arguments: str, cwd: Path) -> Result:
    """Run `python -m module` in a terminal of its own; stdout is all that the screen was sent."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        env=clean_environment(TERM="xterm", COLUMNS="100"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    screen = b""
    # Reading fails, rather than ending, when the last process has closed the terminal.
    with contextlib.suppress(OSError):
        while part := os.read(ours, 65536):
            screen += part
    os.close(ours)
    return Result(process.wait(), screen.decode(errors="replace"), "")


def clean_environment(**changes: str) -> dict[str, str]:
    """Return this environment without what would send a study elsewhere."""
    away = ("MLFLOW_", "RAY_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(away)}
    return {**kept, **changes}


@dataclass(frozen=True)
class SmallStudy:
    """A finished study on the small corpus."""

    cwd: Path
    arguments: tuple[str, ...]
    result: Result

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return self.cwd / "runs" / "small"

    @property
    def shards(self) -> Path:
        """Its shard folder."""
        (folder,) = (self.cwd / "data" / "shards").iterdir()
        return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread for torch while the tests of a module run: what they compare is to the bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of its own with room for a few clips (40 MB), or skip."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    cwd = tmp_path_factory.mktemp("small")
    arguments = (*SMALL, "name=small", "model.keep=true")
    result = run_module("harness.loso", *arguments, cwd=cwd)
    assert result.status == 0, result.stderr
    return SmallStudy(cwd, arguments, result)


def copy_of(study: SmallStudy, tmp_path: Path, *, runs: bool) -> Path:
    """Return a folder with the study's data, and its runs if wanted, to go on from."""
    shutil.copytree(study.cwd / "data", tmp_path / "data")
    if runs:
        shutil.copytree(study.cwd / "runs", tmp_path / "runs")
    return tmp_path


class ForkedCommands:
    """Runs commands that end at once, without four seconds of imports for each."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked_commands.py"))],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, module: str, *arguments: str, cwd: Path, **environment: str) -> Result:
        """Run `python -m module` in a folder, with more in its environment if wanted."""
        assert self._process.stdin
        assert self._process.stdout
        request = {"module": module, "arguments": arguments, "cwd": str(cwd)}
        told = json.dumps({**request, "environment": environment})
        print(told, file=self._process.stdin, flush=True)
        return Result(**json.loads(self._process.stdout.readline()))

    def end(self) -> None:
        """End the process that forks them."""
        self._process.communicate()


@pytest.fixture(scope="session")
def forked_commands() -> Iterator[ForkedCommands]:
    commands = ForkedCommands()
    yield commands
    commands.end()


@pytest.fixture(scope="session")
def grid_clips() -> Path:
    """Return the folder of real talking faces, or skip."""
    if not GRID.is_dir():
        pytest.skip("the real clips (../shared/media/grid) are not on this machine")
    return GRID.resolve()


@pytest.fixture(scope="session")
def face_models() -> Path:
    """Return the folder of face detector files, or skip."""
    if not MODELS.is_dir():
        pytest.skip("the face detector files (../shared/models) are not on this machine")
    return MODELS.resolve()
