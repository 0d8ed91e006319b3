"""What docs/reliability.md says of planted faults is what was kept of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TABLE = ROOT / "docs" / "reliability.md"
KEPT = ROOT / "benchmarks" / "results" / "faults.jsonl"
THREE_AT_ONCE = (90, 91, 92)


def table() -> list[tuple[str, str, int, int, str]]:
    """Return what was struck, at what, how often on hosts and on one machine, how it ended."""
    found = []
    for line in TABLE.read_text().splitlines():
        if re.fullmatch(r"\| [^|]+ \| [^|]*\| \d* ?\| \d* ?\| [^|]+ \| same \|", line):
            what, at, hosts, here, ended = (cell.strip() for cell in line.split("|")[1:6])
            found.append((what.partition(" (")[0], at, int(hosts or 0), int(here or 0), ended))
    return found


def test_the_table_counts_the_rows_that_were_kept() -> None:
    rows = [json.loads(line) for line in KEPT.read_text().splitlines()]
    assert len(rows) >= 20
    assert all(row["same"] for row in rows)
    told: Counter[tuple[str, str, str]] = Counter()
    for what, at, hosts, here, _ in table():
        told["three hosts", what, at] += hosts
        told["one machine", what, at] += here
    assert +told == Counter((row["where"], row["what"], row["at"]) for row in rows)


def test_what_ended_by_itself_is_told_as_that() -> None:
    rows = [json.loads(line) for line in KEPT.read_text().splitlines()]
    # Three in one study may strike the same trial, as is told below the table.
    alone = [row for row in rows if row["seed"] not in THREE_AT_ONCE]
    again = {row["what"] for row in alone if not row["ended"].startswith("by itself")}
    told = {what for what, _, _, _, ended in table() if not ended.startswith("by itself")}
    assert again == told == {"the driver"}
