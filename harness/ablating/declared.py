"""What was declared before looking: written down by the first run, and held against later ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from harness.provenance import now
from pipelines.storage import write_json

DECLARED_FILE = "declared.json"


def declare(folder: Path, family: Sequence[str]) -> list[str]:
    """Write down the family, unless an earlier run has; return what must be said of it.

    Args:
        folder: of the ablation.
        family: rows whose differences are looked for.
    """
    path = folder / DECLARED_FILE
    if not path.exists():
        write_json(path, {"family": list(family), "at": now()})
        return []
    first = json.loads(path.read_text())
    if sorted(first["family"]) == sorted(family):
        return []
    return [
        f"the family was declared as {', '.join(first['family']) or 'nothing'} on {first['at']}, "
        f"and is {', '.join(family) or 'nothing'} now, after rows had been run: its p-values are "
        "no longer of what was looked for beforehand"
    ]
