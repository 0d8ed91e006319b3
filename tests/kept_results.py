"""Keeps what each long test came to, so that hours of them can be stopped and go on.

Where KEPT_RESULTS names a file, each test that ends leaves a row there, with what it printed. One
that has passed on the very same code is not run again. Run as a program this ends a whole run: it
leaves out the rows of other code, and writes the table of planted faults, which the tests print.
The code of a test is the project, what tests share, and its own file: those of other tests are not.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

KEPT_IN = "KEPT_RESULTS"
ROOT = Path(__file__).parent.parent
PASSED = "passed"
FAULT = "FAULT "
"""Begins a printed line that goes on with a row of the table of faults."""
FOLLOWED = "docs/worked_example.md"
"""The one text for people that a long test reads."""
_IMPORTS = re.compile(rb"^\s*(?:from|import) (test_\w+)", re.MULTILINE)
"""A file of tests from which another one takes something."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a test came to."""

    test: str
    outcome: str
    seconds: float | None
    commit: str
    code: str
    """Digest of the code that it ran on; empty where that is not known."""
    said: str
    """What it printed."""


def read_rows(file: Path) -> dict[str, Row]:
    """Return the rows of a file by test; none where there is no file."""
    if not file.exists():
        return {}
    rows = [Row(**json.loads(line)) for line in file.read_text().splitlines()]
    return {row.test: row for row in rows}


def write_rows(file: Path, rows: Iterable[Row]) -> None:
    """Write rows in the order of their tests, the file whole."""
    lines = [json.dumps(asdict(row)) for row in sorted(rows, key=lambda row: row.test)]
    whole = file.with_name(f".{file.name}.new")
    whole.write_text("".join(f"{line}\n" for line in lines))
    whole.replace(file)


@dataclass(frozen=True)
class Code:
    """What stands for the code in a git repository, committed or not.

    Results and texts for people change nothing that is tested.
    """

    hashes: Mapping[str, str]
    """Of the content of each file, by its path."""
    own: frozenset[str]
    """Those of them that matter to their own tests alone."""

    @classmethod
    def of(cls, root: Path) -> Code:
        """Return it as it is now."""
        listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        hashes, own, imported = {}, set(), set()
        for name in sorted({name for name in listed.split("\0") if name and _counts(name)}):
            path = root / name
            content = path.read_bytes() if path.is_file() else b""
            hashes[name] = hashlib.sha256(content).hexdigest()
            if path.name.startswith("test_") and path.suffix == ".py":
                own.add(name)
                mine = path.stem.encode()
                imported |= {found for found in _IMPORTS.findall(content) if found != mine}
        shared = {name for name in own if PurePath(name).stem.encode() in imported}
        return cls(hashes, frozenset(own - shared))

    def digest(self, test: str) -> str:
        """Return what stands for the code of a test, by its pytest node id."""
        mine = test.partition("::")[0]
        digest = hashlib.sha256()
        for name, content in self.hashes.items():
            if name == mine or name not in self.own:
                digest.update(f"{name}\0{content}\n".encode())
        return digest.hexdigest()[:16]


def _counts(name: str) -> bool:
    if name.startswith("benchmarks/results/"):
        return False
    return name == FOLLOWED or PurePath(name).suffix != ".md"


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
    ).stdout


class KeptResults:
    """A plugin of pytest: leaves out what has passed, and keeps what is run."""

    def __init__(self, file: Path, root: Path, passed: frozenset[str] | None) -> None:
        """Begin.

        Args:
            file: of the rows.
            root: of the repository.
            passed: what another process has found to be left out; None in that which writes.
        """
        self._file, self._writes = file, passed is None
        self._phases: defaultdict[str, list[pytest.TestReport]] = defaultdict(list)
        if passed is not None:
            self._passed = passed
            return
        self._code = Code.of(root)
        self._commit = _git(root, "rev-parse", "--short", "HEAD").strip()
        self._passed = frozenset(
            row.test
            for row in read_rows(file).values()
            if row.outcome == PASSED and row.code == self._code.digest(row.test)
        )

    def pytest_configure_node(self, node: WorkerController) -> None:
        node.workerinput["passed"] = sorted(self._passed)

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        left_out = [item for item in items if item.nodeid in self._passed]
        if left_out:
            items[:] = [item for item in items if item.nodeid not in self._passed]
            config.hook.pytest_deselected(items=left_out)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not self._writes:
            return
        phases = self._phases[report.nodeid]
        phases.append(report)
        if report.when == "teardown":
            self._keep(report.nodeid, phases)

    def _keep(self, test: str, phases: list[pytest.TestReport]) -> None:
        outcomes = {report.outcome for report in phases}
        row = Row(
            test=test,
            outcome=next(each for each in ("failed", "skipped", PASSED) if each in outcomes),
            seconds=round(sum(report.duration for report in phases), 1),
            commit=self._commit,
            code=self._code.digest(test),
            said="".join(
                text for name, text in phases[-1].sections if name == "Captured stdout call"
            ),
        )
        write_rows(self._file, {**read_rows(self._file), test: row}.values())

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self._passed:
            session.exitstatus = pytest.ExitCode.OK


def faults_in(rows: Iterable[Row]) -> list[str]:
    """Return the rows of the table of faults that tests have printed, in the order of the tests."""
    lines = [line for row in rows for line in row.said.splitlines()]
    return [line.removeprefix(FAULT) for line in lines if line.startswith(FAULT)]


def end(file: Path, faults: Path, root: Path) -> str:
    """Leave out the rows of other code, write the table of faults; return what came of it.

    Where no hosts could be made, their faults are missing, and the table stays as it was.
    """
    code = Code.of(root)
    rows = [row for row in read_rows(file).values() if row.code == code.digest(row.test)]
    write_rows(file, rows)
    struck = faults_in(rows)
    if any('"three hosts"' in line for line in struck):
        faults.write_text("".join(f"{line}\n" for line in struck))
    passed = sum(row.outcome == PASSED for row in rows)
    return f"{passed} of {len(rows)} long tests passed on this code"


if __name__ == "__main__":
    print(end(Path(sys.argv[1]), Path(sys.argv[2]), ROOT))
