"""A folder of files: listed whole, whatever lies in it, on a disk or in object storage."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from pipelines.corpora.folder import CorpusFile, CorpusFolder
from pipelines.errors import UsageError


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"123")


def listed(root: Path | str) -> list[str]:
    return [file.path for file in CorpusFolder(str(root)).files()]


def test_files_are_listed_by_path_with_their_size_and_hidden_ones_are_not(tmp_path: Path) -> None:
    put(tmp_path, "b.avi", "a/c d.avi", ".hidden/x.avi", "a/._c d.avi", "__MACOSX/b.avi")
    assert CorpusFolder(str(tmp_path)).files() == [
        CorpusFile("a/c d.avi", 3),
        CorpusFile("b.avi", 3),
    ]


def test_an_address_is_absolute_and_opens_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "corpus/a.avi")
    monkeypatch.chdir(tmp_path)
    folder = CorpusFolder("corpus")
    assert folder.address("a.avi") == str(tmp_path / "corpus" / "a.avi")
    assert CorpusFolder(f"file://{tmp_path}/corpus").address("a.avi") == folder.address("a.avi")


def test_object_storage_is_listed_as_a_disk_is() -> None:
    files = fsspec.filesystem("memory")
    for path in ("b.avi", "a/c d.avi", ".hidden/x.avi"):
        files.pipe(f"/bucket/corpus/{path}", b"123")
    files.pipe("/bucket/corpus-2/other.avi", b"")
    folder = CorpusFolder("memory://bucket/corpus/")
    assert folder.files() == [CorpusFile("a/c d.avi", 3), CorpusFile("b.avi", 3)]
    assert files.cat(folder.address("a/c d.avi")) == b"123"
    assert folder.is_folder()
    assert folder.exists("b.avi")
    assert not folder.exists("c.avi")


def test_names_that_are_syntax_elsewhere_are_names(tmp_path: Path) -> None:
    put(tmp_path, "a::b/[1]*.avi", "a::b/x#y%20?.avi")
    assert listed(tmp_path / "a::b") == ["[1]*.avi", "x#y%20?.avi"]


def test_links_are_followed_once_and_never_in_circles(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/s1/an1.avi", "corpus/s2/an1.avi")
    corpus = tmp_path / "corpus"
    (corpus / "s1").symlink_to(tmp_path / "elsewhere" / "s1")
    (corpus / "s2" / "back").symlink_to(corpus)
    (corpus / "s1" / "over").symlink_to(corpus / "s2")
    (corpus / "s2" / "over").symlink_to(corpus / "s1")
    assert [file.path for file in CorpusFolder(str(corpus), outside_links=True).files()] == [
        "s1/an1.avi",
        "s1/over/an1.avi",
        "s2/an1.avi",
        "s2/over/an1.avi",
    ]


def test_links_that_lead_out_are_left_out_and_said_unless_allowed(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/s1/an1.avi", "real/s2/an1.avi")
    (tmp_path / "corpus").symlink_to(tmp_path / "real")
    corpus = tmp_path / "corpus"
    (corpus / "s1").symlink_to(tmp_path / "elsewhere" / "s1")
    (corpus / "out.avi").symlink_to(tmp_path / "elsewhere" / "s1" / "an1.avi")
    (corpus / "in.avi").symlink_to(Path("s2", "an1.avi"))
    (corpus / "s3").symlink_to(corpus / "s2")
    folder = CorpusFolder(str(corpus))
    # The root itself may be a link, and those that stay in it are followed.
    assert [file.path for file in folder.files()] == ["in.avi", "s2/an1.avi", "s3/an1.avi"]
    assert sorted(folder.leading_out) == ["out.avi", "s1"]
    allowed = CorpusFolder(str(corpus), outside_links=True)
    assert {"out.avi", "s1/an1.avi"} < {file.path for file in allowed.files()}
    assert allowed.leading_out == []


def test_a_link_to_nowhere_is_an_empty_file_and_a_pipe_is_none(tmp_path: Path) -> None:
    (tmp_path / "gone.avi").symlink_to("nowhere.avi")
    os.mkfifo(tmp_path / "pipe.avi")
    assert CorpusFolder(str(tmp_path)).files() == [CorpusFile("gone.avi", 0)]


def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a.avi", "lost+found/b.avi")
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    folder = CorpusFolder(str(tmp_path))
    assert [file.path for file in folder.files()] == ["a.avi"]
    assert folder.unreadable == ["lost+found"]


def test_a_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbfpath\r\n\xc3\xbc\r\n")
    assert CorpusFolder(str(tmp_path)).read_text("list.csv") == "path\r\nü\r\n"


def test_an_address_that_cannot_be_understood_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"corpus\.root \(nosuch://x\) can't be read: ") as raised:
        CorpusFolder("nosuch://x")
    assert "\n" not in str(raised.value)
