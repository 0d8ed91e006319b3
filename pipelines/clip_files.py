"""Clips as local files: decoders read no object store."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from upath import UPath

from pipelines.records import Clip
from pipelines.storage import UNREADABLE, content_digest, digest_of, location_of

_STAMPS = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "mtime", "created")
"""What stores call their mark of an object's content, the best first."""


def content_digests(clips: Sequence[Clip], root: str) -> dict[str, str]:
    """Return a mark of the content of each clip's file, by clip_id.

    The sha256 of a local file; of an object what its store says of its content (an S3 ETag), so
    that a corpus need not be fetched to see that nothing changed. `"unreadable"` where there is no
    such file: its outcome will say why.
    """
    folder = location_of(root)
    stamps = {} if isinstance(folder, Path) else _stamps(folder)

    def mark(clip: Clip) -> str:
        place = location_of(clip.path)
        if isinstance(place, Path):
            return content_digest(place)
        return stamps.get(place.path, UNREADABLE)

    with ThreadPoolExecutor() as pool:
        return dict(zip((clip.clip_id for clip in clips), pool.map(mark, clips), strict=True))


def content_mark(place: str) -> str:
    """Return the mark that the content of one file has now."""
    source = location_of(place)
    if isinstance(source, Path):
        return content_digest(source)
    try:
        return _stamp(source.fs.info(source.path))
    except FileNotFoundError:
        return UNREADABLE


def _stamps(root: UPath) -> dict[str, str]:
    return {path: _stamp(info) for path, info in root.fs.find(root.path, detail=True).items()}


def _stamp(info: Mapping[str, Any]) -> str:
    """Return the mark of an object's content and its size."""
    mark = next((str(info[name]) for name in _STAMPS if info.get(name)), "")
    return f"{mark.strip(chr(34))}-{info.get('size')}"


class ClipFiles:
    """Copies of clips from object stores, in a folder of bounded size shared by a host's workers.

    Args:
        folder: where copies are kept.
        limit_bytes: what they may take together; the one least lately used goes first. Those in
            use are never removed.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self._limit_bytes = limit_bytes

    @contextmanager
    def local(self, place: str) -> Iterator[Path]:
        """Give a local file of the clip at a path or an address, for the block.

        Raises:
            FileNotFoundError: there is none at that address.
            Exception: of the store's library, where it can't be reached.
        """
        source = location_of(place)
        if isinstance(source, Path):
            yield source
            return
        info = source.fs.info(source.path)
        copy = self.folder / f"{digest_of([place, _stamp(info)])}{source.suffix}"
        while True:
            if not copy.exists():
                self._make_room(int(info.get("size") or 0))
                self._fetch(source, copy)
            try:
                file = copy.open("rb")
            except FileNotFoundError:
                continue  # another worker made room just now
            with file:
                fcntl.flock(file, fcntl.LOCK_SH)
                if not copy.exists():
                    continue
                os.utime(copy)
                yield copy
            # Workers that fetched at one time had each made room for one.
            self._make_room(0)
            return

    def _fetch(self, source: UPath, copy: Path) -> None:
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".", delete=False) as file:
            partial = Path(file.name)
            # Held as long as somebody fetches: what a killed process left is held by nobody.
            fcntl.flock(file, fcntl.LOCK_SH)
            try:
                source.fs.get_file(source.path, str(partial))
                partial.replace(copy)
            finally:
                partial.unlink(missing_ok=True)

    def _make_room(self, needed: int) -> None:
        """Remove what killed processes left half fetched, and unused copies until `needed` fit."""
        self.folder.mkdir(parents=True, exist_ok=True)
        held = []
        for path in self.folder.iterdir():
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue
            if not (path.name.startswith(".") and _remove_unused(path)):
                held.append((facts.st_mtime_ns, path, facts.st_size))
        total = needed + sum(size for _, _, size in held)
        for _, path, size in sorted(held):
            if total <= self._limit_bytes:
                return
            if _remove_unused(path):
                total -= size


def _remove_unused(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True
