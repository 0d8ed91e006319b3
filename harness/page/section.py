"""One part of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.drawing import Drawing
from harness.page.tables import Table


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, what is said, figures side by side, tables; in this order."""

    anchor: str
    title: str
    text: Sequence[str] = ()
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table] = field(default=())
    appendix: str = ""
    """Text that is shown as it stands, folded away."""
    appendix_title: str = ""
