"""A file system that has no locks is told, before two commands write to one folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from upath import UPath

from pipelines.errors import UsageError
from pipelines.host_copies import host_copy
from pipelines.locks import hold
from pipelines.storage import claim, exclusive


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_in_a_line(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_lock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", no_lock)
    told = rf"{tmp_path} lies on a file system without locks .*: mount it with them .*-o flock"
    with pytest.raises(UsageError, match=told):
        claim(tmp_path / ".lock")
    with pytest.raises(UsageError, match=told), exclusive(tmp_path / ".lock"):
        pass
    with pytest.raises(UsageError, match=told), hold(tmp_path, print):
        pass


def test_a_hosts_cache_does_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_lock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_lock)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "copies"))
    address = UPath("memory://store/a.bin")
    address.write_bytes(b"features")
    copy = host_copy(address)
    assert copy is not None
    assert copy.read_bytes() == b"features"


def test_another_fault_of_the_file_system_is_not_taken_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fcntl.flock", fail)
    with pytest.raises(OSError, match="Input/output"):
        claim(tmp_path / ".lock")


def test_one_at_a_time_holds_it(tmp_path: Path) -> None:
    first = claim(tmp_path / ".lock")
    assert first is not None
    assert claim(tmp_path / ".lock") is None
    first.close()
    again = claim(tmp_path / ".lock")
    assert again is not None
    again.close()
