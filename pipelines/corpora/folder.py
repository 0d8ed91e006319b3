"""The files of a corpus folder, local or in object storage, by one interface."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import fsspec
from fsspec.core import url_to_fs

from pipelines.errors import UsageError, require

VIDEO_SUFFIXES = frozenset(
    (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
)
SOUND_SUFFIXES = frozenset((".aac", ".flac", ".m4a", ".mp3", ".ogg", ".wav"))
NOT_LISTED = "__MACOSX"
"""macOS puts a folder of this name into archives; what begins with a dot is not listed either."""


@dataclass(frozen=True)
class CorpusFile:
    """One file of a corpus: its path relative to the root (POSIX) and its size in bytes."""

    path: str
    size: int

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders on its way from the root."""
        return PurePosixPath(self.path).parent.parts

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return PurePosixPath(self.path).stem

    @property
    def suffix(self) -> str:
        """Its suffix in lower case, with the dot."""
        return PurePosixPath(self.path).suffix.lower()

    @property
    def is_media(self) -> bool:
        """Whether its suffix says video or sound."""
        return self.suffix in VIDEO_SUFFIXES or self.suffix in SOUND_SUFFIXES


class CorpusFolder:
    """A folder of clips: a local path, or an address such as `s3://bucket/RML`.

    Raises:
        UsageError: the address can't be understood, or (by every method) can't be reached.
    """

    def __init__(self, root: str, *, outside_links: bool = False) -> None:
        self.root, self._outside_links = root, outside_links
        try:
            # A local path is no URL: fsspec would take `::` and other signs in it for syntax.
            self._files, path = (
                url_to_fs(root)
                if "://" in root
                else (fsspec.filesystem("file"), str(Path(root).expanduser().absolute()))
            )
        except (ImportError, ValueError) as error:
            raise self._unreachable(error) from error
        self._base = path.rstrip("/") or "/"
        self._local = "file" in self._files.protocol
        self.unreadable: list[str] = []
        """Folders that the last listing was not allowed to look into."""
        self.leading_out: list[str] = []
        """Links that it did not follow: out of the root, where nobody said that they may lead."""

    @classmethod
    def open(cls, root: str, expected: str, *, outside_links: bool = False) -> CorpusFolder:
        """Return the folder, after a look whether it is there.

        Args:
            root: as the user has it.
            expected: what is to be in it, for the message.
            outside_links: whether links may lead out of it.

        Raises:
            UsageError: it is not set, not there or no folder; says what is `expected` in it.
        """
        require(
            bool(root),
            f"corpus.root is not set: give corpus.root=/your/folder, which holds {expected}",
        )
        folder = cls(root, outside_links=outside_links)
        require(
            folder.exists(),
            f"corpus.root ({root}) does not exist: give the folder that holds {expected}",
        )
        require(
            folder.is_folder(),
            f"corpus.root ({root}) is no folder: give the one that holds {expected}",
        )
        return folder

    def exists(self, path: str = "") -> bool:
        """Whether there is a file or folder of this path relative to the root."""
        try:
            return bool(self._files.exists(self._inside(path)))
        except Exception as error:
            raise self._unreachable(error) from error

    def is_folder(self, path: str = "") -> bool:
        """Whether there is a folder of this path."""
        try:
            return bool(self._files.isdir(self._inside(path)))
        except Exception as error:
            raise self._unreachable(error) from error

    def files(self) -> list[CorpusFile]:
        """List every file under the root that is not hidden, sorted by path; open none."""
        self.unreadable, self.leading_out = [], []
        try:
            found = list(self._local_files() if self._local else self._object_files())
        except Exception as error:
            raise self._unreachable(error) from error
        self.unreadable.sort()
        self.leading_out.sort()
        return sorted((file for file in found if _is_listed(file.path)), key=lambda f: f.path)

    def read_text(self, path: str) -> str:
        """Return a file as it is written in UTF-8, a byte order mark left out.

        Raises:
            UnicodeDecodeError: it is not UTF-8.
        """
        try:
            content = self._files.cat_file(self._inside(path))
        except Exception as error:
            raise self._unreachable(error) from error
        return bytes(content).decode("utf-8-sig")

    def address(self, path: str) -> str:
        """Return where a file is: an absolute local path, or its address in object storage."""
        inside = self._inside(path)
        return inside if self._local else str(self._files.unstrip_protocol(inside))

    def _inside(self, path: str) -> str:
        return f"{self._base.rstrip('/')}/{path}" if path else self._base

    def _local_files(self) -> Iterator[CorpusFile]:
        # Not fsspec's own walk: it skips folders that are links, and in silence those that it
        # may not read.
        for folder, folders, names in os.walk(self._base, onerror=self._note, followlinks=True):
            here = Path(folder)
            folders[:] = [name for name in folders if self._is_entered(here / name)]
            for name in names:
                path = here / name
                relative = path.relative_to(self._base).as_posix()
                if path.is_symlink() and self.leads_out(relative):
                    if _is_listed(relative):
                        self.leading_out.append(printable(relative))
                    continue
                try:
                    status = path.stat()
                except OSError:
                    yield CorpusFile(relative, 0)  # a link to nowhere: its outcome will say so
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield CorpusFile(relative, status.st_size)

    def _object_files(self) -> Iterator[CorpusFile]:
        self._files.invalidate_cache()
        for name, info in self._files.find(self._base, detail=True).items():
            relative = name[len(self._base) :].strip("/")
            if info["type"] == "file" and relative and not name.endswith("/"):
                yield CorpusFile(relative, int(info["size"] or 0))

    def _note(self, error: OSError) -> None:
        folder = Path(os.fsdecode(error.filename)).relative_to(self._base)
        if folder == Path():
            raise error
        self.unreadable.append(printable(folder.as_posix()))

    def leads_out(self, path: str) -> bool:
        """Whether links lead from a path of this folder out of it, and are not allowed to."""
        if self._outside_links or not self._local:
            return False
        real = os.path.realpath(self._base)
        return not Path(os.path.realpath(self._inside(path))).is_relative_to(real)

    def _is_entered(self, folder: Path) -> bool:
        if not _is_listed(folder.name) or self._leads_back(folder):
            return False
        relative = folder.relative_to(self._base).as_posix()
        if folder.is_symlink() and self.leads_out(relative):
            self.leading_out.append(printable(relative))
            return False
        return True

    def _leads_back(self, folder: Path) -> bool:
        """Whether a folder is a link to one that it lies in: following it would never end."""
        if not folder.is_symlink():
            return False
        target = folder.resolve()
        above = [path for path in folder.parents if path.is_relative_to(self._base)]
        return folder.parent.resolve().is_relative_to(target) or any(
            path.resolve() == target for path in above
        )

    def _unreachable(self, error: Exception) -> UsageError:
        words = " ".join(str(error).split()) or type(error).__name__
        return UsageError(
            f"corpus.root ({self.root}) can't be read: {words}; check the address and your rights"
        )


def printable(path: str) -> str:
    """Return a path for people: bytes that are no UTF-8 are replaced."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _is_listed(path: str) -> bool:
    return not any(part.startswith(".") or part == NOT_LISTED for part in path.split("/"))
