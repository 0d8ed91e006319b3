"""Networks of stage 1 that several studies begin with: trained by the first, taken by the others.

What a network of stage 1 becomes depends on the clips that it learns from, its own settings and
its seed, and not on what stands on it later. Where studies differ in that alone, the others take
what the first of them trained, and what comes out is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.checkpoints import Checkpoints, State


@dataclass
class SharedNetworks:
    """Where the trained networks of one split lie for other studies with the same stage 1."""

    folders: Mapping[str, str] = field(default_factory=dict)
    """Network -> the folder of its settings; a network that is not here is shared by nobody."""
    split_id: str = ""
    key: str = ""
    """Of all of the split that networks of stage 1 depend on: what was left under another key is
    not taken."""
    problem: str = ""
    """Why a network could not be left for the others."""

    def load(self, network: str) -> State | None:
        """Return what another study left of a network; None: it is to be trained."""
        return self._place(network).load(self.split_id)

    def save(self, network: str, state: State) -> None:
        """Leave a trained network, whole or not at all."""
        if network not in self.folders:
            return
        place = self._place(network)
        place.save(self.split_id, state)
        if place.problem:
            self.problem = f"other rows train the {network} network again: {place.problem}"

    def _place(self, network: str) -> Checkpoints:
        folder = Path(self.folders[network]) if network in self.folders else None
        return Checkpoints(folder=folder, key=self.key, every_s=0.0)
