"""Digests, and files that are written whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import UsageError


def digest_of(value: object) -> str:
    """Return 16 hex digits over `value` (JSON types only), the same in every process."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def content_digest(path: Path) -> str:
    """Return the sha256 of a file, or `"unreadable"`: its outcome will say why."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then rename it: readers never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_folder(setting: str, folder: str) -> None:
    """See that the folder which a setting names can be written to, or made; make nothing yet.

    Raises:
        UsageError: it can't, in one line that names the setting.
    """
    nearest = Path(folder).absolute()
    while not nearest.exists():
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise UsageError(
            f"{setting} ({folder}) can't be written to: {error.strerror or error}; name another "
            "folder or change its permissions"
        ) from error


def claim(path: Path) -> IO[bytes] | None:
    """Take a lock that holds until the returned file is closed or its process ends, however.

    Returns:
        None where another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for the lock of other processes, and hold it for the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_json(path: Path, value: object) -> None:
    """Write JSON whole, sorted and indented for people to read."""
    text = json.dumps(value, sort_keys=True, indent=1) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text))


def write_table(path: Path, table: pa.Table) -> None:
    """Write one Parquet file whole, in a single row group."""
    write_whole(
        path,
        lambda temporary: pq.write_table(
            table,
            temporary,
            compression="lz4",
            # Crops and coefficients hardly repeat: a dictionary would only cost time.
            use_dictionary=False,
            row_group_size=max(1, table.num_rows),
        ),
    )
