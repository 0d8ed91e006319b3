"""Figures in the three forms that are needed: SVG inside the page, PNG and PDF for a paper.

The same figure gives the same bytes: no dates, and names of parts from a fixed salt. Nothing is
told by colour alone: hatches, line styles and numbers say it too.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 4.6
"""Inches: narrow enough for a phone, and for a column of a paper."""
INK, MIDDLE, LIGHT, ACCENT, SOFT = "#1a1a1a", "#8a8a8a", "#c8c8c8", "#1f5a94", "#bcd3ea"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "pdf.fonttype": 42,
    # A label with two dollar signs is a label, not a formula.
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.edgecolor": MIDDLE,
    "axes.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "savefig.dpi": 200,
}
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
LETTERS = 72
"""Of a line of small print below a figure."""
LONGEST = 22
"""Characters of a label in a figure."""
NO_DATES: dict[str, dict[str, Any]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}
"""Kind of file -> what keeps the same figure the same bytes."""


@dataclass(frozen=True)
class Drawing:
    """A figure with what is said below it; `name` names its files."""

    name: str
    caption: str
    figure: Figure
    caution: str = ""
    """What must stand beside its numbers, in the files: on the page the caption says it."""


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw and save in the project's style."""
    with rc_context(STYLE), warnings.catch_warnings():
        # Labels in a script that the font lacks: the page shows them, in the reader's font.
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def panel(
    height: float, *, left: float, bottom: float = 0.42, top: float = 0.08
) -> tuple[Figure, Axes]:
    """Return a new figure of `height` inches and its axes; margins are in inches."""
    figure = Figure(figsize=(WIDTH, height))
    axes: Axes = figure.add_axes(
        (left / WIDTH, bottom / height, (WIDTH - left - 0.1) / WIDTH, 1 - (bottom + top) / height)
    )
    return figure, axes


def label(text: str) -> str:
    """Return a label cut to what a figure has room for."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def room_for(labels: list[str]) -> float:
    """Return the inches that labels take at the left of a figure."""
    return 0.3 + 0.075 * max((len(label(text)) for text in labels), default=0)


def save(drawing: Drawing, folder: Path) -> None:
    """Write NAME.png and NAME.pdf."""
    folder.mkdir(parents=True, exist_ok=True)
    space: dict[str, Any] = {}
    if drawing.caution:
        words = textwrap.fill(drawing.caution, LETTERS)
        drawing.figure.text(0.02, 0, words, va="top", fontsize=7.5, weight="bold")
        space = {"bbox_inches": "tight", "pad_inches": 0.06}
    for suffix, metadata in NO_DATES.items():
        drawing.figure.savefig(folder / f"{drawing.name}.{suffix}", metadata=metadata, **space)


def inline_svg(drawing: Drawing) -> str:
    """Return a figure as an <svg> element that shares no names with others of the page."""
    file = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    drawing.figure.savefig(file, format="svg", metadata=nothing)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(file.getvalue())
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    for element in root.iter():
        for key, value in element.attrib.items():
            element.set(key, _own_name(key, value, drawing.name))
    for key in ("width", "height"):
        # matplotlib counts in points, a page in pixels of 96 to the inch.
        element_size = float(root.attrib.pop(key).removesuffix("pt"))
        root.set(key, f"{element_size * 96 / 72:.0f}")
    root.set("role", "img")
    title = ElementTree.Element(f"{{{SVG}}}title")
    title.text = drawing.caption
    root.insert(0, title)
    return ElementTree.tostring(root, encoding="unicode")


def _own_name(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == f"{{{XLINK}}}href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return re.sub(r"url\(#", f"url(#{name}-", value)
