"""A page as a reader has it: its tables, its words, and what it would fetch."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "link", "input"}


@dataclass
class Page(HTMLParser):
    """The parsed page."""

    source: str
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    """Name -> rows of cells, the headings first."""
    by_id: dict[str, str] = field(default_factory=dict)
    """Id -> text within that element."""
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""
    """All that is shown."""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[tuple[str, str]] = []
        self._table: list[list[str]] = []
        self.feed(self.source)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        if tag == "table":
            self._table = self.tables[attributes["id"].removeprefix("table-")] = []
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._table[-1].append("")
        if tag not in VOID:
            self._open.append((tag, attributes.get("id", "")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self._open.pop()
        assert opened == tag, f"{opened} closed by {tag}"

    def handle_data(self, data: str) -> None:
        names = [tag for tag, _ in self._open]
        if "style" in names:
            return
        self.text += data
        for _, name in self._open:
            if name:
                self.by_id[name] = self.by_id.get(name, "") + data
        if names and names[-1] in ("td", "th", "span") and {"td", "th"} & {*names}:
            self._table[-1][-1] += data
