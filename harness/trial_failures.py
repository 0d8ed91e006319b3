"""Trials that fail: which of them Tune tries again, and what is said of the others."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.crowding import Shortage, next_crowding, shortage
from pipelines.session import ClusterConfig, hosts_now

OUT_OF_MEMORY = "out of memory with a "
"""Begins what is said of a trial that ran out of it where no fewer could be together."""
NO_RESULT = "the trial ended without a result"


@dataclass
class Failures:
    """What went wrong with the trials of one Tune run, by the names of their jobs."""

    cluster: ClusterConfig
    crowding: int
    errors: dict[str, BaseException] = field(default_factory=dict)
    """The last of each; Tune's own results have none of a trial that never reported."""
    crowded: dict[str, Shortage] = field(default_factory=dict)
    """What those ran out of that fewer on a node, or a GPU, may help."""
    given_up: set[str] = field(default_factory=set)
    """Those that Tune tries no more."""

    def may_retry(self, name: str, error: BaseException) -> bool:
        """Note a failure; return whether the trial is to be tried again as crowded as it was."""
        self.errors[name] = error
        found = shortage(error)
        if found is None or next_crowding(self.cluster, self.crowding, hosts_now(), found) is None:
            return True
        self.crowded[name] = found
        return False

    def reason(self, name: str) -> str:
        """Return why a trial failed, in a line; one that Tune lost has no error."""
        if name not in self.given_up or name not in self.errors:
            return NO_RESULT
        error = self.errors[name]
        line, short_of = last_line(error), shortage(error)
        if short_of is None:
            return line
        held = " or less training.cache_mb" if short_of is Shortage.NODE else ""
        return (
            f"{OUT_OF_MEMORY}{short_of.value} to itself: it takes a {short_of.value} with more, "
            f"a smaller model.lstm_hidden{held} ({line})"
        )


def last_line(error: BaseException) -> str:
    """Return what an error says in the end: Ray wraps it in the traceback of the worker."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
