"""One live line for each stage of the work."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from pipelines.marked_output import StageState, Teller


class Stage:
    """Counts what a stage has done, and knows how long it took."""

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total, self.done = name, total, 0
        self.note = ""
        self.start = time.perf_counter()

        self._teller = Teller()

    @property
    def seconds(self) -> float:
        """Time since the stage began."""
        return time.perf_counter() - self.start

    def advance(self, note: str = "") -> None:
        """Count one more."""
        self.done += 1
        self.note = note or self.note
        self.tell()

    def say(self, note: str) -> None:
        """Change the words behind the bar."""
        self.note = note
        self.tell()

    def tell(self, *, ended: bool = False) -> None:
        """Tell whoever follows this command as a job; it is told by nobody where it is none."""
        state = StageState(self.name, self.total, self.done, self.seconds, self.note, ended)
        self._teller.tell(state)


class _LiveStage(Stage):
    def __init__(self, name: str, total: int, progress: Progress) -> None:
        super().__init__(name, total)
        self._progress = progress
        self._task = add_line(progress, name, total)

    def advance(self, note: str = "") -> None:
        super().advance(note)
        self._progress.update(
            self._task, completed=self.done, note=self.note, counted_at=self.seconds
        )

    def say(self, note: str) -> None:
        super().say(note)
        self._progress.update(self._task, note=note)


# rich's own columns for these look at the last 30 seconds only, and want two steps in them: where
# a step is a trial of minutes they would never say anything.
class _RateColumn(ProgressColumn):
    """How many are done in a second, in a minute or in an hour."""

    def render(self, task: Task) -> Text:
        return Text(rate_of(int(task.completed), task.fields["counted_at"]))


class _TimeLeftColumn(ProgressColumn):
    """How long the rest takes at the pace until now."""

    # Twice a second is often enough, and does not flicker.
    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        left = int((task.total or 0) - task.completed)
        at = task.fields["counted_at"]
        return Text(time_left(int(task.completed), left, at, (task.elapsed or 0.0) - at))


def rate_of(done: int, seconds: float) -> str:
    """Return the rate of `done` steps in so many seconds; nothing before the first step."""
    if not done or seconds <= 0:
        return ""
    for unit, length in (("s", 1), ("min", 60)):
        if done * length >= seconds:
            return f"{done * length / seconds:.1f}/{unit}"
    return f"{done * 3600 / seconds:.1f}/h"


def time_left(done: int, left: int, seconds: float, since: float) -> str:
    """Return the time that `left` more steps take, as h:mm:ss.

    `done` steps took `seconds`, and the last of them ended `since` seconds ago; nothing is known
    before the first.
    """
    if not done:
        return "-:--:--"
    return str(timedelta(seconds=int(max(0.0, left * seconds / done - since))))


class Reporter:
    """Says on stderr what is going on: live in a terminal, one line at the end elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.seconds: dict[str, float] = {}

    def line(self, text: str) -> None:
        """Print one line, unless quiet."""
        if not self.quiet:
            self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """Print one line even when quiet."""
        print(f"warning: {text}", file=sys.stderr)

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Stage]:
        """Run one stage of `total` steps; its seconds are kept under its name."""
        stage = Stage(name, total)
        if self.quiet or not self.console.is_terminal:
            yield stage
        else:
            with live_bar(self.console) as progress:
                stage = _LiveStage(name, total, progress)
                yield stage
        if not self.quiet:
            stage.tell(ended=True)
        self.seconds[name] = stage.seconds
        note = f", {stage.note}" if stage.note else ""
        self.line(f"{name}: {stage.done} of {total} in {stage.seconds:.1f} s{note}")


def live_bar(console: Console) -> Progress:
    """Return the live line of a stage, which is gone when it ends."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        _TimeLeftColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
    )


def add_line(progress: Progress, name: str, total: int) -> TaskID:
    """Put a stage on the line."""
    return progress.add_task(name, total=total, note="", counted_at=0.0)
