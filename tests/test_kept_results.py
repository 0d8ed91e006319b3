"""Long tests go on where they were stopped, on the same code alone: a repository made for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import clean_environment
from kept_results import Code, Row, end, read_rows, write_rows

CONFTEST = """
import os
import pathlib
from groups import *
from groups import pytest_collection_finish, pytest_collection_modifyitems, pytest_configure_node
from kept_results import KeptResults

def pytest_configure(config):
    told = getattr(config, "workerinput", None)
    passed = None if told is None else frozenset(told["passed"])
    here = pathlib.Path(__file__).parent
    config.pluginmanager.register(KeptResults(here / "kept.jsonl", here, passed))
"""
TESTS = """
import os
import pathlib
import pytest

def ran(name):
    with open("ran", "a") as file:
        file.write(name + " ")

def test_passes():
    ran("passes")
    print("what it found")

def test_fails():
    ran("fails")
    assert pathlib.Path("mended").exists()

def test_is_skipped():
    ran("skipped")
    pytest.skip("not here")

@pytest.fixture
def broken():
    yield
    assert pathlib.Path("mended").exists()

def test_ends_badly(broken):
    ran("ends-badly")
"""
ALL = {"passes", "fails", "skipped", "ends-badly"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / ".gitignore").write_text("ran\nmended\nkept.jsonl\n__pycache__\n.pytest_cache\n")
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def run(repository: Path, *arguments: str) -> tuple[int, set[str]]:
    """Run its tests; return the exit status and which of them ran."""
    (repository / "ran").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=repository,
        env=clean_environment(PYTHONPATH=str(Path(__file__).parent)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "INTERNALERROR" not in done.stdout + done.stderr
    return done.returncode, set((repository / "ran").read_text().split())


@pytest.mark.parametrize("processes", [(), ("-n", "2", "--dist", "loadgroup")])
def test_what_passed_on_this_code_is_not_run_again(
    repository: Path, processes: tuple[str, ...]
) -> None:
    assert run(repository, *processes) == (1, ALL)
    rows = {
        row.test.partition("::")[2]: row for row in read_rows(repository / "kept.jsonl").values()
    }
    assert {name: row.outcome for name, row in rows.items()} == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_is_skipped": "skipped",
        "test_ends_badly": "failed",
    }
    assert rows["test_passes"].said == "what it found\n"
    assert run(repository, *processes) == (1, ALL - {"passes"})
    (repository / "mended").touch()  # ignored by git, and so no other code
    assert run(repository, *processes) == (0, ALL - {"passes"})
    assert run(repository, *processes) == (0, {"skipped"})
    assert run(repository, *processes, "-k", "passes or fails") == (0, set())
    (repository / "new.py").write_text("")
    assert run(repository, *processes) == (0, ALL)


def digest(repository: Path, test: str = "test_some.py::test_passes") -> str:
    return Code.of(repository).digest(test)


def test_the_code_is_all_that_git_has_or_would_take_but_results_and_texts(repository: Path) -> None:
    before = digest(repository)
    for name in ("README.md", "benchmarks/results/x.json", "ran"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("other")
        assert digest(repository) == before
    changed = set()
    for name in ("docs/worked_example.md", "test_some.py", "conf/new.yaml"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("other")
        changed.add(digest(repository))
    (repository / "conftest.py").unlink()
    changed.add(digest(repository))
    assert len(changed - {before}) == 4


def test_the_tests_of_another_file_are_not_its_code_unless_they_lend_something(
    repository: Path,
) -> None:
    before = digest(repository)
    (repository / "tests").mkdir()
    other = repository / "tests" / "test_other.py"
    other.write_text("THEIRS = 1\n")
    assert digest(repository) == before
    theirs = digest(repository, "tests/test_other.py::test_it[1]")
    other.write_text("THEIRS = 2\n")
    assert digest(repository) == before
    assert digest(repository, "tests/test_other.py::test_it[1]") != theirs
    # One that takes something makes it everybody's: who else takes it is not looked at.
    (repository / "tests" / "test_third.py").write_text("from test_other import THEIRS\n")
    lent = digest(repository)
    assert lent != before
    other.write_text("THEIRS = 3\n")
    assert digest(repository) != lent


@pytest.mark.parametrize("hosts", [True, False])
def test_the_end_keeps_the_rows_of_this_code_and_the_faults_they_tell(
    repository: Path, hosts: bool
) -> None:
    kept, faults = repository / "kept.jsonl", repository / "faults.jsonl"
    faults.write_text("as it was\n")
    struck = [json.dumps({"where": where}) for where in ("one machine", "three hosts")]

    def row(test: str, code: str = "", said: str = "", outcome: str = "passed") -> Row:
        code = code or digest(repository, test)
        return Row(test=test, outcome=outcome, seconds=1.0, commit="c", code=code, said=said)

    rows = [
        row("a", said=f"FAULT {struck[0]}\nmore\n"),
        row("b", said=f"FAULT {struck[1]}\n" if hosts else ""),
        row("c", "before", 'FAULT {"where": "three hosts", "long": "ago"}\n'),
        row("d", outcome="skipped"),
    ]
    write_rows(kept, rows)
    assert end(kept, faults, repository) == "2 of 3 long tests passed on this code"
    assert set(read_rows(kept)) == {"a", "b", "d"}
    assert faults.read_text() == ("\n".join([*struck, ""]) if hosts else "as it was\n")
