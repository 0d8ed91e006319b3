"""Making the page at a study's end, which must never cost the study."""

from __future__ import annotations

from pathlib import Path

from pipelines.progress import Reporter


def draw(folder: Path, reporter: Reporter) -> None:
    """Make the page of a run folder; where it can't be made that is said, and no more."""
    page = folder / "report.html"
    try:
        # Matplotlib and pandas are imported when there is something to draw.
        from harness.page.render import write_page

        write_page(folder)
    except Exception as error:
        # An older page must not stand beside newer figures.
        page.unlink(missing_ok=True)
        words = " ".join(f"{type(error).__name__}: {error}".split())
        reporter.warn(f"{page} was not made ({words}); python -m harness.report {folder} does it")
