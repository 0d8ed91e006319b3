"""Writes the tables of the documents from benchmarks/results: `python -m benchmarks.tables`.

So that no figure is copied by hand. A table stands between `<!-- NAME -->` and `<!-- end -->`; one
whose measurement is not there says so.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.run import RESULTS

DOCS = Path(__file__).parent.parent / "docs"
PAGES = tuple(DOCS / f"{name}.md" for name in ("performance", "scaling", "statistics"))
Result = Mapping[str, Any]


def studies(result: Result) -> str:
    """C1 and C2: whole studies."""
    rows = [
        (
            row["protocol"],
            row["trunk"],
            row["lstm"],
            row["a"],
            row["b"],
            row["optimiser"],
            _seconds(row["seconds_a_median"]),
            _seconds(row["seconds_b_median"]),
            _ratio(row),
            f"{100 * row['votes_agreeing']:.0f} %",
            f"{row['largest_difference']:.1g}",
        )
        for row in result["rows"]
    ]
    head = (
        "protocol",
        "trunk",
        "LSTM",
        "A",
        "B",
        "optimiser",
        "time of A",
        "time of B",
        "B/A",
        "votes that agree",
        "largest difference of a probability",
    )
    return _table(head, rows) + _provenance(result)


def lstm_steps(result: Result) -> str:
    """C3: one training step."""
    rows = [
        (
            row["hidden"],
            row["compute"],
            "fused" if row["rival_fused"] else "as torch has it by default",
            row["threads"],
            row["memory"],
            f"{row['seconds_a_median']:.3f} s",
            f"{row['seconds_b_median']:.3f} s",
            _ratio(row),
            ", ".join(f"{name} {error:.1g}" for name, error in row["errors"].items()),
        )
        for row in result["rows"]
    ]
    head = (
        "LSTM",
        "our products",
        "Adam of nn.LSTM",
        "threads",
        "memory",
        "ours",
        "nn.LSTM",
        "ratio",
        "difference by norm",
    )
    return _table(head, rows) + _provenance(result)


def scheduling(result: Result) -> str:
    """C4: what Tune adds."""
    rows = [
        ("bare loop", _seconds(result["seconds_a_median"]), ""),
        ("through Tune", _seconds(result["seconds_b_median"]), f"{100 * result['overhead']:.1f} %"),
        ("start of Ray, once a command", _seconds(result["seconds_start_of_ray"]), ""),
    ]
    return _table(("", "time", "overhead"), rows) + _provenance(result)


def fresh_actors(result: Result) -> str:
    """C4: Tune on reused actors and on fresh ones."""
    rows = [
        ("one reused actor", _seconds(result["seconds_a_median"]), ""),
        ("fresh actors", _seconds(result["seconds_b_median"]), f"{_ratio(result)} times"),
    ]
    return _table(("", "overhead", "of a reused one"), rows) + _provenance(result)


def extraction(result: Result) -> str:
    """VGG19 at 227 pixels."""
    rows = [
        ("extraction, shards to features", f"{result['frames_per_second_a']:.1f}"),
        ("bare forward pass on resident images", f"{result['frames_per_second_b']:.1f}"),
        ("share", f"{100 * result['share_median']:.0f} %"),
    ]
    return _table(("", "frames a second"), rows) + _provenance(result)


def memory(result: Result) -> str:
    """Peak memory of a study."""
    rows = [(splits, f"{peak} MiB") for splits, peak in result["peak_mib"].items()]
    rows.append(("a split more", f"{result['mib_a_split']} MiB"))
    return _table(("splits", "peak"), rows) + _provenance(result)


def scaling(result: Result) -> str:
    """Seconds of a study on G workers, predicted and measured."""
    rows = [
        (
            row["workers"],
            *(_seconds(row["terms"][term]) for term in ("start", "features")),
            *(f"{row['terms'][term]:.2f} s" for term in ("split", "overhead")),
            *(_seconds(row[f"{kind}_seconds"]) for kind in ("predicted", "measured")),
            f"{100 * row['error']:+.1f} %",
        )
        for row in result["rows"]
    ]
    terms = ("start", "features", "split", "overhead")
    return _table(("workers", *terms, "predicted", "measured", "error"), rows) + _provenance(result)


def scheduler(result: Result) -> str:
    """Measured splits replayed as sleeps on many logical workers."""
    rows = [
        (
            row["workers"],
            row["splits"],
            *(_seconds(row[f"{kind}_seconds"]) for kind in ("ideal", "measured")),
            f"{row['efficiency']:.3f}",
            row["splits_per_second"],
            *(f"{1000 * row[f'handover_seconds_{kind}']:.0f} ms" for kind in ("median", "worst")),
        )
        for row in result["simulation"]
    ]
    head = (
        *("workers", "splits", "ideal", "measured", "efficiency", "splits a second"),
        *("from one split to the next, median", "worst"),
    )
    return _table(head, rows) + _provenance(result)


def coverage(result: Result) -> str:
    """How often intervals cover."""
    kinds = list(result["rows"][0]["intervals"])
    rows = [
        (
            row["subjects"],
            row["clips"],
            f"{100 * row['accuracy']:.0f} % (± {100 * row['spread']:.0f})"
            + (f", {100 * row['gain']:.0f} points more" if "gain" in row else ""),
            *(_covered(row["intervals"][kind]) for kind in kinds),
        )
        for row in result["rows"]
    ]
    return _table(("subjects", "clips each", "true accuracy", *kinds), rows) + _provenance(result)


TABLES: dict[str, Callable[[Result], str]] = {
    "C1": studies,
    "C1_lstm512": studies,
    "C2": studies,
    "C3": lstm_steps,
    "C4": scheduling,
    "C4_fresh": fresh_actors,
    "extraction": extraction,
    "study_memory": memory,
    "scaling": scaling,
    "scheduler": scheduler,
    "coverage": coverage,
    "coverage_differences": coverage,
}


def page(text: str) -> str:
    """Return the page with every table made anew."""

    def made(match: re.Match[str]) -> str:
        name = match.group(1)
        path = RESULTS / f"{name}.json"
        table = TABLES[name](json.loads(path.read_text())) if path.exists() else "Not measured yet."
        return f"<!-- {name} -->\n{table}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?\n?<!-- end -->", made, text, flags=re.DOTALL)


def _ratio(row: Result) -> str:
    return f"**{row['ratio_median']:.1f}** ({row['ratio_min']:.1f} to {row['ratio_max']:.1f})"


def _covered(interval: Result) -> str:
    width = 100 * interval["median_width"]
    return f"**{100 * interval['covered']:.1f} %** (width {width:.0f} points)"


def _seconds(value: float) -> str:
    return f"{value:.1f} s"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _provenance(result: Result) -> str:
    machine = result["machine"]
    repeats = f" Repeats: {result['repeats']}." if "repeats" in result else ""
    return (
        f"\n\n{result['work']}.{repeats} {machine['cpu']}, {machine['cores']} "
        f"cores; torch {result['versions']['torch']}; commit {result['commit']}."
    )


def main() -> int:
    """Write the pages."""
    for path in PAGES:
        path.write_text(page(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
