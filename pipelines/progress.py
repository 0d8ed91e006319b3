"""One live line for each stage of the work."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Stage:
    """Counts what a stage has done, and knows how long it took."""

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total, self.done = name, total, 0
        self.note = ""
        self.start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time since the stage began."""
        return time.perf_counter() - self.start

    def advance(self, note: str = "") -> None:
        """Count one more."""
        self.done += 1
        self.note = note or self.note

    def say(self, note: str) -> None:
        """Change the words behind the bar."""
        self.note = note


class _LiveStage(Stage):
    def __init__(self, name: str, total: int, progress: Progress) -> None:
        super().__init__(name, total)
        self._progress = progress
        self._task = progress.add_task(name, total=total, note="")

    def advance(self, note: str = "") -> None:
        super().advance(note)
        self._progress.update(self._task, completed=self.done, note=self.note)

    def say(self, note: str) -> None:
        super().say(note)
        self._progress.update(self._task, note=note)


class _RateColumn(ProgressColumn):
    """How many are done in a second, or in a minute where they take longer."""

    def render(self, task: Task) -> Text:
        return Text(rate_of(task.speed))


def rate_of(per_second: float | None) -> str:
    """Return a rate as people read it; nothing before it is known."""
    if not per_second:
        return ""
    return f"{per_second:.1f}/s" if per_second >= 1 else f"{60 * per_second:.1f}/min"


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
            with self._bar() as progress:
                stage = _LiveStage(name, total, progress)
                yield stage
        self.seconds[name] = stage.seconds
        note = f", {stage.note}" if stage.note else ""
        self.line(f"{name}: {stage.done} of {total} in {stage.seconds:.1f} s{note}")

    def _bar(self) -> Progress:
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
        )
