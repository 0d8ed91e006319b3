"""How clips are worked through: the group `preprocess` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.errors import require, require_one_of


@dataclass
class PreprocessConfig:
    """How clips are worked through."""

    max_seconds: float = 60.0
    """Longer clips are refused before they are decoded."""
    truncated: str = "fail"
    """A stream that is shorter than its container declares: `fail`, or `keep` what there is and
    say in the outcome what is lost."""
    time_limit_s: float = 120.0
    """Decoding of one clip is killed after this long."""
    clips_per_child: int = 50
    """The decoder's process is replaced after so many clips: decord never gives memory back."""
    cache_mb: int = 4096
    """Space on each host for copies of clips that lie in object storage."""
    workers: int | None = None
    """Clips at once; unset: one a CPU."""

    def __post_init__(self) -> None:
        require(
            self.max_seconds > 0, f"preprocess.max_seconds ({self.max_seconds}) must be above 0"
        )
        require_one_of("preprocess.truncated", self.truncated, ("fail", "keep"))
        require(
            self.time_limit_s > 0, f"preprocess.time_limit_s ({self.time_limit_s}) must be above 0"
        )
        require(
            self.clips_per_child >= 1,
            f"preprocess.clips_per_child ({self.clips_per_child}) must be at least 1",
        )
        require(self.cache_mb >= 1, f"preprocess.cache_mb ({self.cache_mb}) must be at least 1")
        require(
            self.workers is None or self.workers >= 1,
            f"preprocess.workers ({self.workers}) must be at least 1",
        )
