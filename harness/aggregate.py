"""Splits -> study: the vote on every test clip, joined here with its label, and the summary."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.breakdowns import spread, subgroups
from harness.figures import NO_SEGMENT_FIGURES, clip_figures, per_subject, segment_figures
from harness.ledger import DONE, UNSEEN, Ledger
from harness.plan import SEGMENT, Plan
from harness.predictions import predictions_of, predictions_table
from pipelines.records import Clip, Prediction
from pipelines.storage import write_json, write_table


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What figures are of, and what must be said beside them."""

    plan: Plan
    protocol: str
    corpus: str
    clips: Mapping[str, Clip]
    """All clips by id."""
    classes: Sequence[str]
    predicts: str
    """What had one prediction: `segment`, or the `clip` as a whole."""
    digests: Mapping[str, str]
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    sentence_overlap: float | None = None
    system: str = "harness"
    """Who predicted: the `harness`, or an `external` system."""


def aggregate(
    folder: Path,
    *,
    plan: Plan,
    protocol: str,
    corpus: str,
    clips: Mapping[str, Clip],
    classes: Sequence[str],
    predicts: str,
    digests: Mapping[str, str],
    seconds: Mapping[str, float],
    warnings: Sequence[str],
    sentence_overlap: float | None = None,
) -> dict[str, Any]:
    """Write predictions.parquet, segment_predictions.parquet and summary.json of a study.

    Where `predicts` is `clip`, not `segment`, each segment of a clip bears the clip's one
    prediction: the vote is unanimous, and there are no figures of segments to report.

    Returns:
        The summary.
    """
    study = Judged(
        plan=plan,
        protocol=protocol,
        corpus=corpus,
        clips=clips,
        classes=classes,
        predicts=predicts,
        digests=digests,
        seconds=seconds,
        warnings=warnings,
        sentence_overlap=sentence_overlap,
    )
    ledger = Ledger(folder / "splits")
    entries = {split.split_id: ledger.entry(split.split_id) for split in plan.splits}
    done = [entry for entry in entries.values() if entry is not None and entry.status == DONE]
    failed = [
        {"split_id": split_id, "error": entry.error if entry else UNSEEN}
        for split_id, entry in entries.items()
        if entry is None or entry.status != DONE
    ]
    of_splits = [f"split {entry.split_id}: {text}" for entry in done for text in entry.warnings]
    predictions: list[Prediction] = []
    segments = None
    if done:
        segments = ledger.segments([entry.split_id for entry in done])
        predictions = predictions_of(segments, clips, classes, divided=plan.unit == SEGMENT)
        write_table(folder / "segment_predictions.parquet", segments)
    return summarise(folder, study, predictions, segments, len(done), failed, of_splits)


def summarise(
    folder: Path,
    study: Judged,
    predictions: Sequence[Prediction],
    segments: pa.Table | None,
    splits_done: int,
    failed: Sequence[Mapping[str, str]],
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Write predictions.parquet and summary.json.

    A study with a missing split is `complete: false` and has no headline figure: an average over
    the splits that survived would be an average over chosen people.

    Args:
        folder: of the study.
        study: what the predictions are of.
        predictions: one for each clip each time that it was tested.
        segments: columns of segment_predictions.parquet; None where no segment was predicted.
        splits_done: splits whose every clip has its prediction.
        failed: the others: `split_id`, `error`.
        warnings: of single splits.

    Returns:
        The summary.
    """
    plan, clips, classes = study.plan, study.clips, study.classes
    to_test = plan.test_clips | set(plan.lost)
    complete = splits_done == len(plan.splits)
    told = [*study.warnings, *warnings]
    summary: dict[str, Any] = {
        "protocol": study.protocol,
        "protocol_warnings": list(plan.warnings(clips)),
        "corpus": study.corpus,
        "system": study.system,
        "classes": list(classes),
        "predicts": study.predicts,
        "complete": complete,
        "splits_expected": len(plan.splits),
        "splits_done": splits_done,
        "splits_failed": list(failed),
        "subjects": len({clips[clip_id].subject for clip_id in to_test}),
        "clips": len(to_test),
        "clips_usable": len(plan.test_clips),
        "coverage": _coverage(plan, predictions, len(to_test)),
        "sentence_overlap": study.sentence_overlap,
        **study.digests,
        "seconds": dict(study.seconds),
    }
    if predictions:
        write_table(folder / "predictions.parquet", predictions_table(predictions, classes))
        summary["per_subject"] = _with_missing(plan, predictions, clips)
        summary["clip_accuracy_all"] = right_of_all(plan, predictions) / len(to_test)
        if complete:
            summary |= clip_figures(predictions, classes)
            summary["subgroups"] = subgroups(predictions, clips)
            summary["seeds"] = spread(predictions, lambda row: row.seed_index)
            summary["repeats"] = spread(predictions, lambda row: row.repeat)
            by_segment = study.predicts == "segment" and segments is not None
            summary |= (
                segment_figures(segments, clips, classes) if by_segment else NO_SEGMENT_FIGURES
            )
            told += _untested(predictions, clips, to_test)
    if not complete:
        told.insert(0, f"incomplete: {splits_done} of {len(plan.splits)} splits are done")
    summary["warnings"] = told
    write_json(folder / "summary.json", summary)
    return summary


def right_of_all(plan: Plan, predictions: Sequence[Prediction]) -> float:
    """Return how many clips were recognised, each counted once over all times it was to be tested.

    What has no prediction counts as not recognised: a bound from below where splits are missing.
    """
    times = _times_tested(plan)
    return sum(1 / times[row.clip_id] for row in predictions if row.predicted == row.emotion)


def _times_tested(plan: Plan) -> Counter[str]:
    """Return clip -> how often it is to be tested: repeats, and seeds of each."""
    divided = plan.unit == SEGMENT
    tests = {
        (clip_id, split.repeat, split.seed_index, "" if divided else split.split_id)
        for split in plan.splits
        for clip_id in split.test
    }
    return Counter(clip_id for clip_id, *_ in tests)


def _coverage(plan: Plan, predictions: Sequence[Prediction], to_test: int) -> float:
    """Return the share of clips that have all their predictions; one of two counts as a half."""
    times, found = _times_tested(plan), Counter(row.clip_id for row in predictions)
    return math.fsum(found[clip_id] / times[clip_id] for clip_id in found) / to_test


def _with_missing(
    plan: Plan, predictions: Sequence[Prediction], clips: Mapping[str, Clip]
) -> list[dict[str, Any]]:
    """Return the figures of each subject, and how many of his clips lack a prediction."""
    times, found = _times_tested(plan), Counter(row.clip_id for row in predictions)
    missing = Counter(clips[clip_id].subject for clip_id in plan.lost)
    missing += Counter(clips[c].subject for c, count in times.items() if found[c] < count)
    return [{**row, "clips_missing": missing[row["subject"]]} for row in per_subject(predictions)]


def _untested(
    predictions: Sequence[Prediction], clips: Mapping[str, Clip], to_test: set[str] | frozenset[str]
) -> list[str]:
    """Return a warning where all clips of somebody were lost: the mean is over the others."""
    gone = {clips[clip_id].subject for clip_id in to_test} - {row.subject for row in predictions}
    if not gone:
        return []
    return [f"no clip of {', '.join(sorted(gone))} could be used: the figures are without them"]
