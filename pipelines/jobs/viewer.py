"""Shows a followed job as the command would show itself here: stdout, stderr and the live line."""

from __future__ import annotations

import sys

from rich.progress import Progress, TaskID

from pipelines.marked_output import BEGIN, STAGE, STDERR, StageState, parse
from pipelines.progress import Reporter, add_line, live_bar


class Viewer:
    """Takes the lines of a job's log."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._stage = ""
        self._before: list[str] | None = []

    def take(self, line: str) -> None:
        """Show one line."""
        told = parse(line)
        if told.kind == BEGIN:
            self._before = None
        elif told.kind == STAGE:
            self._show(told.stage)
        elif told.kind == STDERR:
            # Above the live line, where there is one; errors and warnings even where it is quiet.
            self._reporter.console.print(told.text, markup=False)
        elif self._before is not None:
            self._before.append(line)
        else:
            self.close()
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    def end(self) -> None:
        """Show why the command never began, where it did not."""
        self.close()
        for line in self._before or ():
            print(line, file=sys.stderr)

    def close(self) -> None:
        """Take the live line away."""
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._stage = None, ""

    def _show(self, state: StageState) -> None:
        if self._reporter.quiet or not self._reporter.console.is_terminal:
            return
        if state.ended or state.name != self._stage:
            self.close()
        if state.ended:
            return
        if self._bar is None:
            self._bar, self._stage = live_bar(self._reporter.console), state.name
            self._task = add_line(self._bar, state.name, state.total)
            # It may have begun long before somebody looked.
            task = self._bar.tasks[0]
            task.start_time = self._bar.get_time() - state.seconds
            self._bar.start()
        self._bar.update(
            self._task, completed=state.done, note=state.note, counted_at=state.seconds
        )
