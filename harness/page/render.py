"""The page of a run folder, with its figures and tables as files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.drawing import drawing_style, inline_svg, save
from harness.page.attention import attention_section
from harness.page.cautions import marked_section
from harness.page.curves import curves_section
from harness.page.groups import groups_section
from harness.page.hardest import hardest_section
from harness.page.headline import Headline, headline_of
from harness.page.literature import literature_section
from harness.page.losses import losses_section
from harness.page.matrices import confusion_section
from harness.page.origin import origin_section
from harness.page.run_folder import RunFolder, read_run_folder
from harness.page.section import Section
from harness.page.subjects import subjects_section
from harness.page.tables import VOTES, cell, in_a_row
from harness.page.voting import votes_section
from pipelines.storage import write_text

SECTIONS: tuple[Callable[[RunFolder], Section | None], ...] = (
    confusion_section,
    subjects_section,
    groups_section,
    literature_section,
    votes_section,
    hardest_section,
    attention_section,
    curves_section,
    losses_section,
    origin_section,
)
OF_A_SEARCH = "search_"
"""Figures that are not of the page begin so."""
PAGE, FIGURES, TABLES = "report.html", "figures", "tables"


def write_page(folder: Path) -> Path:
    """Write report.html, figures/ (PNG and PDF) and tables/ (CSV and LaTeX) of a run folder.

    Nothing but the run folder is read, and the same folder gives the same bytes.

    Raises:
        UsageError: the folder holds no study that has come to an end.
    """
    run = read_run_folder(folder)
    with drawing_style():
        head, sections = parts_of(run)
        page = page_html(head, sections, complete=run.complete)
        for drawing in (drawing for section in sections for drawing in section.drawings):
            save(drawing, folder / FIGURES)
    tables = [table for section in sections for table in section.tables]
    tables = [*([head.figures] if head.figures else []), *tables]
    drawn = {drawing.name for section in sections for drawing in section.drawings}
    _clear(folder / FIGURES, drawn)
    _clear(folder / TABLES, {table.name for table in tables})
    for table in tables:
        write_text(folder / TABLES / f"{table.name}.csv", table.csv())
        write_text(folder / TABLES / f"{table.name}.tex", table.latex())
    write_text(folder / PAGE, page)
    return folder / PAGE


def _clear(folder: Path, names: Collection[str]) -> None:
    """Remove what an earlier page left and this one has not: numbers that stand no longer."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.stem not in names and not path.stem.startswith(OF_A_SEARCH):
            path.unlink()


def read_page(folder: Path) -> str:
    """Return the page of a run folder as HTML, and write nothing."""
    run = read_run_folder(folder)
    with drawing_style():
        return page_html(*parts_of(run), complete=run.complete)


def parts_of(run: RunFolder) -> tuple[Headline, list[Section]]:
    """Return the head, and the parts that this study gives something for, in the page's order."""
    head = headline_of(run)
    found = [section for make in SECTIONS if (section := make(run)) is not None]
    return head, [marked_section(section, head.cautions) for section in found]


def page_html(head: Headline, sections: Sequence[Section], *, complete: bool) -> str:
    """Return one file with all in it: it asks nothing of any other place, and runs nothing."""
    drawings = [drawing for section in sections for drawing in section.drawings]
    page = _environment().get_template("page.html")
    return page.render(
        head=head,
        complete=complete,
        sections=sections,
        svg={drawing.name: Markup(inline_svg(drawing)) for drawing in drawings},
    )


def _environment() -> Environment:
    """Return templates in which everything is escaped: labels and names come from users."""
    environment = Environment(
        loader=PackageLoader("harness.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(cell=cell, VOTES=VOTES)
    environment.filters["groups"] = in_a_row
    return environment
