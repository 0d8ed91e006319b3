"""Digests, and files that are written whole or not at all, on a disk or in an object store.

A `Location` is a path of the local file system, or an address such as `s3://bucket/data`. No rename
is assumed of an object store: an object appears whole when it is put.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from pipelines.errors import UsageError

Location = Path | UPath
"""A `Path` on this machine; a `UPath` that is none in an object store."""


UNREADABLE = "unreadable"
"""Stands for the content of a file that can't be read."""
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP}
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
_STORES = frozenset({"aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "adlfs", "s3fs"})


def digest_of(value: object) -> str:
    """Return 16 hex digits over `value` (JSON types only), the same in every process."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def content_digest(path: Path) -> str:
    """Return the sha256 of a local file, or `UNREADABLE`: its outcome will say why."""
    if not path.is_file():
        return UNREADABLE  # reading a named pipe would wait for ever
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return UNREADABLE


def is_address(place: str) -> bool:
    """Whether `place` is an address of a store (`s3://...`) rather than a path of this machine."""
    return "://" in place


def location_of(place: str | Location) -> Location:
    """Return the file or folder at a path or an address; nothing is looked up.

    Raises:
        UsageError: nothing here speaks the address' protocol.
    """
    if not isinstance(place, str):
        return place
    if not is_address(place):
        return Path(place)
    try:
        # What other processes write must be seen: listings are never remembered.
        folder = UPath(place, use_listings_cache=False)
        _ = folder.fs
    except (ValueError, ImportError) as error:
        raise UsageError(f"{place} can't be opened: {error}") from error
    return folder


def write_whole(
    path: Location,
    write: Callable[[Path], object],
    put: Callable[[Path, Path], object] = Path.replace,
) -> None:
    """Let `write` fill a temporary file, which then takes its place: nobody reads half a file.

    On a disk it is renamed, unless `put` does otherwise, and lasts when the machine stops just
    then; to a store it is put.
    """
    if isinstance(path, Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            write(temporary)
            _flush(temporary)
            put(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "whole"
        write(temporary)
        path.fs.put_file(str(temporary), path.path)


def sweep(folder: Location) -> None:
    """Remove what `write_whole` left half done in a folder when its process was killed.

    Nobody else may be writing there: see `locks.hold`. A store keeps no half of an object.
    """
    if isinstance(folder, Path):
        for path in folder.rglob(".*.tmp"):
            path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_whole(paths: Iterable[Location]) -> dict[str, bytes]:
    """Return the contents of those files that exist, by name; from a store many at once."""
    found: dict[str, bytes] = {}
    remote: list[UPath] = []
    for path in paths:
        if isinstance(path, Path):
            with suppress(FileNotFoundError):
                found[path.name] = path.read_bytes()
        else:
            remote.append(path)
    if remote:
        fetched = remote[0].fs.cat([path.path for path in remote], on_error="return")
        for address, content in fetched.items():
            if isinstance(content, bytes):
                found[address.rpartition("/")[2]] = content
            elif not isinstance(content, FileNotFoundError):
                raise content
    return found


def names_in(folder: Location) -> list[str]:
    """Return the names of what is in a folder; none where there is no such folder."""
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def open_parquet(path: Location) -> pq.ParquetFile:
    """Open a Parquet file on a disk, or fetch it whole from a store."""
    if isinstance(path, Path):
        return pq.ParquetFile(path)
    return pq.ParquetFile(pa.BufferReader(path.fs.cat_file(path.path)))


def cache_home() -> Path:
    """Where fetched files stay on this host, by the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "av-emotion-harness"


def store_problem(error: BaseException) -> str | None:
    """Return what a store's library objects to, in a line; None for any other error."""
    seen: BaseException | None = error
    while seen is not None:
        if type(seen).__module__.partition(".")[0] in _STORES:
            return f"{type(seen).__name__}: {' '.join(str(seen).split())}"
        seen = seen.__cause__ or seen.__context__
    return None


def require_folder(setting: str, folder: str) -> None:
    """See that the folder which a setting names can be written to, or made; make nothing yet.

    Raises:
        UsageError: it can't, in one line that names the setting.
    """
    try:
        place = location_of(folder)
        if isinstance(place, Path):
            nearest = place.absolute()
            while not nearest.exists():
                nearest = nearest.parent
            with tempfile.TemporaryFile(dir=nearest):
                pass
        else:
            probe = place / f".probe-{uuid.uuid4().hex}"
            probe.fs.pipe_file(probe.path, b"")
            probe.fs.rm_file(probe.path)
    except UsageError as error:
        raise UsageError(f"{setting}: {error}") from error
    # Each store's library has errors of its own for a wrong key, a missing bucket, no network.
    except Exception as error:
        words = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UsageError(
            f"{setting} ({folder}) can't be written to: {words}; name another folder or change "
            "its permissions"
        ) from error


def claim(path: Path) -> IO[bytes] | None:
    """Take a lock that holds until the returned file is closed or its process ends, however.

    Returns:
        None where another process holds it.

    Raises:
        UsageError: the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+b")
    try:
        _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for the lock of other processes, and hold it for the block.

    Raises:
        UsageError: the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        _flock(file, fcntl.LOCK_EX)
        yield


def _flock(file: IO[bytes], how: int) -> None:
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise UsageError(
            f"{Path(file.name).parent} lies on a file system without locks ({error.strerror}), so "
            "two commands could write to it at once: mount it with them (Lustre: -o flock; NFS: "
            "version 4, or with lockd), or name another folder"
        ) from error


def write_text(path: Location, text: str) -> None:
    """Write a text whole."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Location, value: object) -> None:
    """Write JSON whole, sorted and indented for people to read."""
    write_text(path, _json(value))


def write_new_json(path: Path, value: object) -> bool:
    """Write JSON whole if nothing has this name; return whether it was written.

    Whoever keeps the file system says so, not what this host remembers of it. Where that knows no
    second name of a file, it is this host all the same.
    """
    try:
        write_whole(path, lambda part: part.write_text(_json(value), encoding="utf-8"), put_new)
    except FileExistsError:
        return False
    return True


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, indent=1) + "\n"


def put_new(temporary: Path, path: Path) -> None:
    """Put a file that is written in its place; raise FileExistsError where another is there.

    The temporary name may stay.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            raise FileExistsError(path) from error
        temporary.replace(path)


def write_table(path: Location, table: pa.Table) -> None:
    """Write one Parquet file whole, in a single row group."""
    write_whole(path, lambda temporary: _write_parquet(table, temporary))


def parquet_bytes(table: pa.Table) -> int:
    """Return how many bytes `write_table` would write."""
    sink = pa.BufferOutputStream()
    _write_parquet(table, sink)
    return int(sink.getvalue().size)


def _write_parquet(table: pa.Table, target: Path | pa.NativeFile) -> None:
    pq.write_table(
        table,
        target,
        compression="lz4",
        # Crops and coefficients hardly repeat: a dictionary would only cost time.
        use_dictionary=False,
        row_group_size=max(1, table.num_rows),
    )
