"""Where a killed training goes on: the state of a split between two epochs, on a disk."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

State = dict[str, Any]


@dataclass
class Checkpoints:
    """The checkpoints of one split: one file a network, the newest state only.

    Whenever it is taken, what comes out is the same to the bit: a checkpoint holds the state of all
    that draws numbers.
    """

    folder: Path | None
    """None keeps nothing."""
    key: str
    """Of all that decides the result of the split, its training clips included: a state that was
    left under another key is not taken up."""
    every_s: float
    """Least seconds between two states: writing VGG19 and its moments takes a while."""
    problem: str = ""
    """Why the last state could not be written; training goes on without."""
    _last: float = field(default_factory=time.monotonic)

    def load(self, network: str) -> State | None:
        """Return the state that a killed process left of a network, or None."""
        if self.folder is None:
            return None
        try:
            held = torch.load(self._path(network), map_location="cpu", weights_only=True)
        except Exception:  # half a file, another version's file: the epochs are done again
            return None
        return held["state"] if held.get("key") == self.key else None

    @property
    def due(self) -> bool:
        """Whether the last state is old enough for a new one."""
        return self.folder is not None and time.monotonic() - self._last >= self.every_s

    def save(self, network: str, state: State) -> None:
        """Write a network's state, whole or not at all."""
        path = self._path(network)
        temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"key": self.key, "state": state}, temporary)
            temporary.replace(path)
            self.problem = ""
        except (OSError, RuntimeError) as error:
            self.problem = f"no checkpoint could be written to {path.parent}: {error}"
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        self._last = time.monotonic()

    def _path(self, network: str) -> Path:
        return (self.folder or Path()) / f"{network}.pt"
