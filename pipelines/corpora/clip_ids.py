"""What a clip is called: its path relative to the corpus root, without suffix where it can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath


def clip_ids(paths: Sequence[PurePosixPath]) -> list[str]:
    """Return the id of each file of a corpus; file names alone would repeat (in RML they do).

    Two files that differ in the suffix alone keep it, so that each has its own id.
    """
    taken = Counter(str(path.with_suffix("")) for path in paths)
    taken.update(str(path) for path in set(paths))
    ids = []
    for path in paths:
        stem = str(path.with_suffix(""))
        alone = taken[stem] == (2 if stem == str(path) else 1)
        ids.append(stem if alone else str(path))
    return ids
