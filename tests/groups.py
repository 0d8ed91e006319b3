"""Which tests run in one process where there are several, and which begin.

What shares a fixture that takes long stays together, and so do the tests of a file. pytest-xdist
has groups (`--dist loadgroup`), but tells its scheduler of them at the end of test ids, where
pytest 9.2 takes nothing more: there every test is a group of its own. Here the processes, which
know the fixtures of each test, write the groups to a file, and the scheduler reads it.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController

SHARED = "small_study"
"""The fixture that several files share."""
COMMAND = 20
"""A test of a file that runs commands counts as this many others."""
FOLDER = pytest.StashKey[TemporaryDirectory[str]]()


def group_of(item: pytest.Item) -> str:
    """Return the group that a test is marked with; else that of its fixture, or its file."""
    if mark := item.get_closest_marker("xdist_group"):
        return str(mark.args[0])
    if SHARED in getattr(item, "fixturenames", ()):
        return SHARED
    return item.nodeid.partition("::")[0]


def _put_longest_first(items: list[pytest.Item]) -> None:
    """Order by groups, so that short ones come last and the processes end at about one time."""
    weights: Counter[str] = Counter()
    for item in items:
        runs_commands = hasattr(getattr(item, "module", None), "run_module")
        weights[group_of(item)] += COMMAND if runs_commands else 1
    items.sort(key=lambda item: (-weights[group_of(item)], group_of(item)))


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Deals out groups, in the order into which the processes have put them."""

    @cached_property
    def _groups(self) -> dict[str, str]:
        """Test id -> its group, as one of the processes has written it: all write the same."""
        written = next(Path(self.config.stash[FOLDER].name).iterdir())
        groups: dict[str, str] = json.loads(written.read_text())
        return groups

    def _split_scope(self, nodeid: str) -> str:
        return self._groups[nodeid]


# In the process that deals out


def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    config.stash[FOLDER] = TemporaryDirectory()
    config.add_cleanup(config.stash[FOLDER].cleanup)


def pytest_configure_node(node: WorkerController) -> None:
    node.workerinput["groups_folder"] = node.config.stash[FOLDER].name


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupScheduling | None:
    if config.getvalue("dist") != "loadgroup":
        return None
    config.option.loadscopereorder = False
    return GroupScheduling(config, log)


# In those that run tests


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        _put_longest_first(items)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    told = getattr(session.config, "workerinput", None)
    if told is not None:
        groups = {item.nodeid: group_of(item) for item in session.items}
        Path(told["groups_folder"], f"{told['workerid']}.json").write_text(json.dumps(groups))
