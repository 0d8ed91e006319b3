"""Each row beside the whole system: the difference, how surely, and what can be concluded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.ablating.config import RIVAL, WHOLE
from harness.ablating.row_result import DONE_ROW, RowResult
from harness.comparing.comparison import compare
from harness.comparing.run_results import few, read_run
from harness.significance import holm
from pipelines.errors import UsageError

DECLARED, RIVALS, EXPLORATORY = "declared", "rivals", "exploratory"
LEVEL = 0.05
FIGURES = (
    "protocol",
    "protocol_warnings",
    "corpus",
    "predicts",
    "clips",
    "clips_usable",
    "subjects",
    "coverage",
    "clip_accuracy",
    "clip_accuracy_all",
    "clip_accuracy_subject_mean",
    "ci95_low",
    "ci95_high",
    "uar",
    "splits_done",
    "splits_expected",
)


def told_rows(
    results: Sequence[RowResult], family: Sequence[str], rivals: int
) -> list[dict[str, Any]]:
    """Return every row with its figures, its paired difference to the whole system and what that
    allows to conclude.

    The p-values are those of the paired permutation over subjects, corrected by Holm within the
    declared family, within the rivals and within all other rows. A declared row or a rival that was
    not run stays in its family, as the weakest of it.

    Args:
        results: of all rows, the whole system's first.
        family: names of the rows whose differences are looked for.
        rivals: how many rivals there are besides, run or not.
    """
    rows = [_told(result, family) for result in results]
    whole = results[0]
    for row, result in zip(rows[1:], results[1:], strict=True):
        both_done = whole.status == DONE_ROW and result.status == DONE_ROW
        if both_done and result.same_as != WHOLE:
            try:
                row |= _difference(whole, result)
            except UsageError as error:
                row["reason"] = str(error)
    _correct([row for row in rows[1:] if row["family"] == DECLARED], len(family))
    _correct([row for row in rows[1:] if row["family"] == RIVALS], rivals)
    _correct([row for row in rows[1:] if row["family"] == EXPLORATORY])
    for row in rows:
        row["conclusion"] = conclusion(row)
    return rows


def _told(result: RowResult, family: Sequence[str]) -> dict[str, Any]:
    name = result.row.name
    return {
        "row": name,
        "title": result.row.told.title or name,
        "kind": WHOLE if name == WHOLE else result.row.told.kind,
        "note": result.row.told.note,
        "changed": {key: list(pair) for key, pair in result.row.changed.items()},
        "combines": list(result.row.told.of),
        "status": result.status,
        "reason": result.reason,
        "expected": result.expected,
        "same_as": result.same_as,
        "folder": result.folder and str(result.folder),
        "family": _family(result, family),
        "parameters": result.parameters,
        "train_seconds": result.seconds,
        "difference": None,
        "p": None,
        **{key: result.summary.get(key) for key in FIGURES},
    }


def _family(result: RowResult, declared: Sequence[str]) -> str:
    if result.row.name in declared:
        return DECLARED
    return RIVALS if result.row.told.kind == RIVAL else EXPLORATORY


def _difference(whole: RowResult, result: RowResult) -> dict[str, Any]:
    assert whole.folder is not None
    assert result.folder is not None
    found = compare([read_run(whole.folder), read_run(result.folder)], common=True)
    (pair,) = found["comparisons"]
    left_out = sorted({clip for clips in found["left_out"].values() for clip in clips})
    return {
        "difference": pair["difference_subject_mean"],
        "p": pair["permutation"]["p"],
        "smallest_p": pair["permutation"]["smallest_p"],
        "clips_compared": found["clips"],
        "subjects_compared": found["subjects"],
        "left_out": few(left_out) if left_out else "",
        "better_for": sum(row["difference"] > 0 for row in pair["per_subject"]),
        "worse_for": sum(row["difference"] < 0 for row in pair["per_subject"]),
    }


def _correct(rows: Sequence[dict[str, Any]], declared: int = 0) -> None:
    """Correct the p-values there are; what was declared and has none counts as the weakest."""
    tested = [row for row in rows if row["p"] is not None]
    size = max(declared, len(tested))
    adjusted = holm([row["p"] for row in tested] + [1.0] * (size - len(tested)))
    for row, p in zip(tested, adjusted, strict=False):
        row["p_holm"], row["family_size"] = p, size


def conclusion(row: Mapping[str, Any]) -> str:
    """Return one sentence or two: what can and cannot be concluded from a row."""
    if row["status"] != DONE_ROW:
        return f"Nothing: {row['status']} ({row['reason']})."
    if row["row"] == WHOLE:
        return "What the others are compared with; by itself it says nothing of its parts."
    if row["same_as"] == WHOLE:
        return "Nothing: the whole system is configured so already."
    if row["difference"] is None:
        reason = row["reason"] or "the whole system is incomplete: there is nothing to compare with"
        return f"Nothing: {reason}."
    return " ".join([_found(row), *_beside(row)])


def _found(row: Mapping[str, Any]) -> str:
    difference, subjects = row["difference"], row["subjects_compared"]
    low, high = difference["low"], difference["high"]
    if low is None or low == high:
        return (
            f"Nothing for people in general: {subjects} subjects, all alike, give no interval."
            if subjects > 1
            else "Nothing for people in general: there is one subject."
        )
    verb = "higher" if difference["value"] > 0 else "lower"
    span = f"{100 * low:+.1f} to {100 * high:+.1f} points"
    corrected = f"Holm's p {row['p_holm']:.3g} among {row['family_size']}"
    if low <= 0 <= high:
        return (
            f"No difference is shown, and none is ruled out within {span} ({subjects} subjects, "
            f"{corrected}).{_too_few(row)}"
        )
    if row["p_holm"] <= LEVEL:
        # A protocol that mixes people says nothing of new ones.
        whom = (
            "Under this protocol, of these very people,"
            if row["protocol_warnings"]
            else f"On new people like these {subjects}"
        )
        return f"{whom} its accuracy is {verb} than the whole system's ({span}, {corrected})."
    agree = row["better_for"] if difference["value"] > 0 else row["worse_for"]
    return (
        f"Its accuracy is {verb} for {agree} of {subjects} people, and the interval by itself "
        f"excludes zero ({span}); corrected for its family that is not shown ({corrected})."
        f"{_too_few(row)}"
    )


def _too_few(row: Mapping[str, Any]) -> str:
    """Return whether people are too few, or rows too many, for any difference to be shown."""
    smallest, size = row["smallest_p"], row["family_size"]
    if smallest * size <= LEVEL:
        return ""
    told = f"the smallest p possible is {smallest:.3g}, before correction."
    if smallest > LEVEL:
        return f" So few people could show none: {told}"
    return f" {row['subjects_compared']} people could show none among so many rows: {told}"


def _beside(row: Mapping[str, Any]) -> list[str]:
    told = []
    if row["family"] == EXPLORATORY:
        told.append("Not among the differences declared beforehand: a hint, to be tested anew.")
    if row["left_out"]:
        told.append(f"On the clips that both tested: {row['left_out']} left out.")
    if row["same_as"]:
        told.append(f"The very settings of the row {row['same_as']}.")
    told += [f"But {warning}." for warning in row["protocol_warnings"] or ()]
    return told
