"""Run folders as a study leaves them, from predictions that are made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.aggregate import aggregate
from harness.ledger import Ledger
from harness.plan import Plan, Split
from harness.plan_file import write_plan
from pipelines.records import Clip, ClipOutcome
from pipelines.shard_tables import write_outcomes
from pipelines.split_task import AttentionWeights, Row, SegmentPrediction, SplitResult, SplitTask
from pipelines.storage import write_text

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
SEGMENTS = 3


def weights(over: str | None, segment: int) -> AttentionWeights:
    """Return what attention over this gives one of the segments of a clip."""
    if over == "modalities":
        return {"audio": 0.25 + 0.1 * segment, "visual": 0.75 - 0.1 * segment}
    if over == "timesteps":
        return {"timesteps": (0.5, 0.5 / 19 * 1.0, *([0.5 / 19] * 18))}
    if over == "segments":
        return {"segments": (0.2, 0.3, 0.5)[segment]}
    return {}


def made_study(
    folder: Path,
    *,
    subjects: int = 3,
    takes: int = 2,
    classes: Sequence[str] = EMOTIONS,
    attention: str | None = "modalities",
    seeds: int = 1,
    failed: Sequence[str] = (),
    lost: Sequence[tuple[str, str, str]] = (),
    names: dict[str, str] | None = None,
    networks: Sequence[str] = ("audio", "visual", "fusion"),
    warnings: Sequence[str] = (),
    protocol: str = "LOSO",
    corpus: str = "made",
) -> dict[str, Any]:
    """Leave a study by LOSO in `folder`; return its summary.

    Args:
        folder: the run folder.
        subjects: how many people, s01 and on.
        takes: clips of each emotion of each.
        classes: the emotions.
        attention: what attention is over; None: nothing.
        seeds: trainings of each split.
        failed: subjects whose splits failed.
        lost: clips beside the others that could not be used: id, reason, detail.
        names: clip ids to give in place of s01/anger_1 and so on.
        networks: those that have learning curves.
        warnings: of the study.
        protocol: what the summary calls it.
        corpus: likewise.
    """
    random = np.random.default_rng(7)
    people = [f"s{number:02}" for number in range(1, subjects + 1)]
    clips: dict[str, Clip] = {}
    for subject in people:
        for emotion in classes:
            for take in range(1, takes + 1):
                name = f"{subject}/{emotion}_{take}"
                name = (names or {}).get(name, name)
                clips[name] = Clip(clip_id=name, path="", subject=subject, emotion=emotion)
    predicts = "clip" if attention == "segments" else "segment"
    ledger, splits = Ledger(folder / "splits"), []
    for subject in people:
        test = tuple(sorted(c for c, clip in clips.items() if clip.subject == subject))
        for seed in range(seeds):
            split = Split(
                split_id=f"loso-{subject}" + (f"-seed{seed + 1}" if seeds > 1 else ""),
                held_out=subject,
                repeat=0,
                seed_index=seed,
                seed=seed,
                train=tuple(sorted(clips.keys() - {*test})),
                validation=(),
                test=test,
            )
            splits.append(split)
            if subject in failed:
                ledger.record_failure(split.split_id, "MemoryError: out of memory", "digest")
                continue
            task = SplitTask(
                split_id=split.split_id,
                repeat=0,
                seed_index=seed,
                seed=seed,
                classes=tuple(classes),
                train=(),
                validation=(),
                test=test,
            )
            segments = []
            for clip_id in test:
                true = list(classes).index(clips[clip_id].emotion)
                rows = random.dirichlet(np.ones(len(classes)), SEGMENTS)
                rows[:, true] += 0.35
                rows /= rows.sum(axis=1, keepdims=True)
                if predicts == "clip":
                    rows[:] = rows[0]
                segments += [
                    SegmentPrediction(
                        clip_id=clip_id,
                        segment_index=index,
                        probabilities=tuple(row.tolist()),
                        attention=weights(attention, index),
                    )
                    for index, row in enumerate(rows)
                ]
            result = SplitResult(
                segments=segments,
                curves=[row for name in networks for row in _curves(name, len(splits))],
                chosen_epochs=dict.fromkeys(networks, 2),
                reads={},
                parameters=dict.fromkeys(networks, 1234),
                seconds=dict.fromkeys(networks, 1.5),
            )
            ledger.record(task, result, study_digest="digest", device="cpu", threads=1)
    plan = Plan(unit="clip", splits=tuple(splits), lost=tuple(sorted(row[0] for row in lost)))
    write_plan(folder / "plan.json", plan)
    gone = {
        clip_id: Clip(clip_id=clip_id, path="", subject="s01", emotion=classes[0])
        for clip_id, *_ in lost
    }
    outcomes = [_outcome(clip, "ok") for clip in clips.values()]
    outcomes += [_outcome(gone[c], "dropped", reason, detail) for c, reason, detail in lost]
    write_outcomes(folder / "outcomes.csv", sorted(outcomes, key=lambda row: row.clip_id))
    write_text(
        folder / "config.yaml", f"seed: 0\nfusion:\n  attend_over: {attention or 'concat'}\n"
    )
    return aggregate(
        folder,
        plan=plan,
        protocol=protocol,
        corpus=corpus,
        clips=clips | gone,
        classes=classes,
        predicts=predicts,
        digests={"config_digest": "c0ffee", "data_digest": "da7a"},
        seconds={"train": 12.5},
        warnings=warnings,
    )


def _curves(network: str, epochs: int) -> list[Row]:
    return [
        {
            "network": network,
            "epoch": epoch,
            "train_loss": 1.8 / epoch,
            "train_accuracy": 1 - 0.8 / epoch,
            "validation_loss": 1.9 / epoch**0.5,
            "validation_accuracy": 1 - 0.8 / epoch**0.5,
        }
        for epoch in range(1, epochs + 2)
    ]


def _outcome(clip: Clip, status: str, reason: str = "", detail: str = "") -> ClipOutcome:
    return ClipOutcome(
        clip_id=clip.clip_id,
        subject=clip.subject,
        emotion=clip.emotion,
        status=status,
        reason=reason,
        detail=detail,
    )
