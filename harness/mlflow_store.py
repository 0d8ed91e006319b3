"""A sqlite store of MLflow's, made whole or not at all, by one of those that want it at once."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from harness.sqlite_address import file_of, moved
from pipelines.storage import exclusive, put_new


@contextmanager
def made_store(uri: str, runs: Path, files: str | None = None) -> Iterator[None]:
    """Make a sqlite store that is not there, and hold its lock for the block.

    It is made beside its place and put there when it is whole: MLflow makes its tables one by one,
    and takes no more a store that has some of them. One on which a disk was full, or whose process
    was killed, would be lost.

    Args:
        uri: of the store; one of another kind is left as it is.
        runs: whose studies wait for one another where it is no file.
        files: address of the files of runs that name no experiment; None: MLflow's own default.
    """
    store = file_of(uri)
    # A link to where it shall lie is followed.
    store = None if store is None else store.resolve()
    with exclusive((runs if store is None else store.parent) / ".mlflow.lock"):
        if store is not None and not store.exists():
            _make(uri, store, files)
        yield


def _make(uri: str, store: Path, files: str | None) -> None:
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    stem = f".{store.name}.new-"
    # Of a name that this process has not had: MLflow keeps open what it once opened.
    new = store.with_name(f"{stem}{uuid4().hex}")
    try:
        SqlAlchemyStore(  # type: ignore[no-untyped-call]
            moved(uri, new), files or DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
        )
        # Somebody who looks at it with MLflow may have made it meanwhile: theirs is taken.
        put_new(new, store)
    except FileExistsError:
        pass
    finally:
        # With what a process has left that was killed at it: whoever makes one has the lock.
        for part in store.parent.glob(f"{glob.escape(stem)}*"):
            part.unlink(missing_ok=True)
