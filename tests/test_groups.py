"""Groups of tests stay in one process: run on files of tests that write down where they ran."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from conftest import clean_environment

CONFTEST = """
import os
import pathlib
import pytest
from groups import *
from groups import pytest_collection_finish, pytest_collection_modifyitems

@pytest.fixture(scope="session")
def small_study():
    with open("made", "a") as file:
        file.write("once ")

@pytest.fixture(autouse=True)
def note(request):
    with open(os.environ["PYTEST_XDIST_WORKER"], "a") as file:
        file.write(request.node.name + " ")
"""
FILES = {
    "test_a": "def test_a1(): pass\ndef test_a2(): pass\ndef test_a3(small_study): pass\n",
    "test_b": "def test_b1(): pass\ndef test_b2(): pass\ndef test_b3(small_study): pass\n",
    "test_c": "def run_module(): pass\ndef test_c1(): pass\n",
    "test_d": "import pytest\nmarked = pytest.mark.xdist_group('marked')\n"
    "@marked\ndef test_d1(): pass\ndef test_d2(): pass\n@marked\ndef test_d3(): pass\n",
}
TESTS = [f"test_{name}" for name in ("a1", "a3", "b1", "b2", "b3", "c1", "d1", "d2", "d3")]


def test_what_shares_a_fixture_and_what_shares_a_file_runs_in_one_process(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-k", "not a2"],
        cwd=tmp_path,
        env=clean_environment(PYTHONPATH=str(Path(__file__).parent)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "made").read_text() == "once "
    ran = {name: (tmp_path / name).read_text().split() for name in ("gw0", "gw1")}
    assert sorted(ran["gw0"] + ran["gw1"]) == TESTS
    places = defaultdict(set)
    for worker, names in ran.items():
        for name in names:
            places[name].add(worker)
    for together in (("test_a3", "test_b3"), ("test_b1", "test_b2"), ("test_d1", "test_d3")):
        assert len(set.union(*(places[name] for name in together))) == 1
    # What may run a command begins.
    assert "test_c1" in (ran["gw0"][0], ran["gw1"][0])
