"""The page on performance shows what was measured, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import tables

PROVENANCE = {
    "work": "a study",
    "repeats": 3,
    "machine": {"cpu": "a CPU", "cores": 2},
    "versions": {"torch": "2"},
    "commit": "abc",
}


def test_the_pages_are_as_their_results_make_them() -> None:
    texts = [path.read_text() for path in tables.PAGES]
    assert [tables.page(text) for text in texts] == texts
    for name in tables.TABLES:
        assert sum(f"<!-- {name} -->" in text for text in texts) == 1


def test_a_table_is_made_of_its_result_and_what_is_not_measured_says_so(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    peaks = {"peak_mib": {"6": 900, "42": 910}, "mib_a_split": 0.3, **PROVENANCE}
    (tmp_path / "study_memory.json").write_text(json.dumps(peaks))
    text = "before\n<!-- study_memory -->\nold\n<!-- end -->\n<!-- C3 -->\n<!-- end -->\nafter\n"
    made = tables.page(text)
    assert "| 42 | 910 MiB |" in made
    assert "torch 2; commit abc" in made
    assert "<!-- C3 -->\nNot measured yet.\n<!-- end -->\nafter\n" in made
    assert "old" not in made
    assert tables.page(made) == made
