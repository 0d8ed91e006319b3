"""Settings of a search: how much is tried, on what it is judged, and when a trial is given up."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from harness.config import StudyConfig
from pipelines.config import register_schema, to_plain
from pipelines.errors import require, require_one_of
from pipelines.one_stage import JOINT
from pipelines.segment_networks import AUDIO, VISUAL
from pipelines.training import FUSION

METRICS = ("uar", "accuracy")
NETWORKS = (AUDIO, VISUAL, FUSION, JOINT)
"""In the order in which they are trained; the last one in place of the others."""


@dataclass
class HalvingConfig:
    """When a trial is given up before its end (successive halving over rounds)."""

    eta: int = 3
    """A trial goes on at a rung where it is among the best 1/eta of those that got there."""
    least: int = 8
    """Trials of earlier rounds that must have come to their end before any is given up."""
    rungs: dict[str, list[int]] = field(default_factory=dict)
    """Network (audio, visual, fusion; joint with training.stages=one) -> epochs after which its
    validation loss is compared; empty: every trial comes to its end."""

    def __post_init__(self) -> None:
        require(self.eta >= 2, f"search.halving.eta ({self.eta}) must be at least 2")
        require(self.least >= 1, f"search.halving.least ({self.least}) must be at least 1")
        for network, epochs in self.rungs.items():
            require_one_of("search.halving.rungs", network, NETWORKS)
            require(
                all(epoch >= 1 for epoch in epochs),
                f"search.halving.rungs.{network} ({epochs}) must be epochs, counted from 1",
            )

    @property
    def places(self) -> list[tuple[str, int]]:
        """Return (network, epoch) of all rungs, in the order in which a training gets there."""
        return [(name, epoch) for name in NETWORKS for epoch in sorted(self.rungs.get(name, ()))]


@dataclass
class SearchConfig:
    """What is tried, and on what it is judged."""

    nested: bool = True
    """Whether each outer split has a search of its own, which never sees its test subjects, and is
    tested with what it found; else one search over all subjects, and nothing is tested."""
    trials: int = 32
    """Settings that are tried for each outer split."""
    round: int = 8
    """Of them at once: what a round found is known to the next one only."""
    startup: int = 8
    """Trials that are drawn at random, before TPE learns from those that are done."""
    inner_splits: int = 3
    """Splits of the development subjects that each trial is trained and scored on."""
    metric: str = "uar"
    """What is looked for, over the inner held-out clips: `uar` or `accuracy` of the vote."""
    halving: HalvingConfig = field(default_factory=HalvingConfig)
    space: dict[str, Any] = field(default_factory=dict)
    """Setting -> {choices: [...]} or {low: ..., high: ..., log: true, step: ...}; null: not
    searched."""

    def __post_init__(self) -> None:
        for name in ("trials", "round", "startup", "inner_splits"):
            value = getattr(self, name)
            require(value >= 1, f"search.{name} ({value}) must be at least 1")
        require_one_of("search.metric", self.metric, METRICS)

    @property
    def rounds(self) -> int:
        """Rounds that all trials take."""
        return -(-self.trials // self.round)


@dataclass
class SearchStudyConfig(StudyConfig):
    """What `python -m harness.search` is told."""

    search: SearchConfig = field(default_factory=SearchConfig)

    @property
    def kind(self) -> str:
        """What names the folder."""
        return f"search-{super().kind}" if self.search.nested else "search-plain"

    @property
    def tags(self) -> dict[str, str]:
        """Return whether it is nested: only then there is a test score."""
        return {"search": "nested" if self.search.nested else "plain"}

    @property
    def further_settings(self) -> dict[str, Any]:
        """Return the search's, and who proposes what to try."""
        return {"search": to_plain(self.search), "optuna": version("optuna")}


register_schema("search_schema", SearchStudyConfig)
