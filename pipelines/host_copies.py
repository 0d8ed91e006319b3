"""What a host has fetched from an object store stays on its disk: once for all its trials.

Only for files that never change under their name, such as features: a copy is never checked
against the store. They lie in `$HARNESS_CACHE`, by default in a folder of this user's own below
the temporary one, and may be removed at any time.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from upath import UPath

from pipelines.errors import UsageError
from pipelines.storage import exclusive, write_whole

CACHE = "HARNESS_CACHE"


def host_copy(address: UPath) -> Path | None:
    """Return this host's copy of an object that never changes; fetch it where there is none.

    Returns:
        None where the host has no place for it: no disk of its own, or a full one.

    Raises:
        OSError: the store does not give it.
    """
    folder = _folder()
    if folder is None:
        return None
    # By the whole address: two stores may hold objects of one name.
    name = hashlib.sha256(str(address).encode()).hexdigest()
    copy = folder / name[:2] / f"{name}{address.suffix}"
    if copy.exists():
        return copy
    with ExitStack() as held:
        # Trials that begin together want the same clips.
        try:
            held.enter_context(exclusive(copy.with_name(".lock")))
        except UsageError:
            pass  # no locks there: each fetches its own, and puts it there whole
        except OSError:
            return None
        if not copy.exists():
            content = address.read_bytes()
            try:
                write_whole(copy, lambda target: target.write_bytes(content))
            except OSError:
                return None
    return copy


def _folder() -> Path | None:
    """Return where copies are kept, if nobody else can put any there."""
    told = os.environ.get(CACHE)
    folder = Path(told or Path(tempfile.gettempdir()) / f"emotion-harness-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = folder.stat().st_uid == os.getuid() and not folder.is_symlink()
    except OSError:
        return None
    # What another user laid out in the common temporary folder is not read as features.
    return folder if told or mine else None
