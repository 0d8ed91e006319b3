"""Preprocessing of a folder of broken files with good ones among them: every file's true outcome.

What is found wrong is listed, not raised: `check` returns it with the counts.
"""

from __future__ import annotations

import csv
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.clip_forms import UNUSUAL, USUAL, Recording, encode
from benchmarks.damage import USABLE, Breaker, BrokenFile
from benchmarks.measured_process import Measured, measure
from pipelines.corpora import synthetic
from pipelines.corpora.synthetic import SyntheticConfig, role_of
from pipelines.records import REASONS, ClipOutcome
from pipelines.shards import ShardSet, open_shards
from pipelines.synthesis.articulation import SAMPLE_RATE
from pipelines.synthesis.performance import perform
from pipelines.synthesis.speech import FRAME_RATE

BROKEN, GOOD = 1000, 50
SPEAKERS = 2
FIRST_S, LAST_S = 0.4, 2.5
"""Of a recording: the voice is in it."""
SIZE = 180, 144
LIMIT_S, LIMIT_PER_FILE_S = 120.0, 3.0
KEPT_TABLES = ("frames", "segments")


@dataclass(frozen=True)
class Finding:
    """What became of a folder of broken and good files."""

    problems: Sequence[str]
    """All that must not be; empty where all is well."""
    counts: dict[str, dict[str, int]]
    """How many files, by kind and outcome."""
    mixed: Measured


def run() -> dict[str, Any]:
    """Check the whole: 1,000 broken files and 50 good ones."""
    with tempfile.TemporaryDirectory() as folder:
        finding = check(BROKEN, GOOD, Path(folder))
    return {
        "work": f"python -m pipelines.preprocess over {BROKEN} broken files and {GOOD} good ones",
        "outcomes": finding.counts,
        "problems": list(finding.problems),
        "equal": not finding.problems,
        "seconds": round(finding.mixed.seconds, 1),
        "peak_memory_gib": round(finding.mixed.peak_bytes / 2**30, 2),
    }


def check(broken: int, good: int, folder: Path, seed: int = 0) -> Finding:
    """Make the files, preprocess the good ones alone and all together, and compare.

    Args:
        broken: how many broken files.
        good: how many good ones, the unusual forms first.
        folder: where all of it is kept.
        seed: of the damage.
    """
    recordings = [record(number) for number in range(SPEAKERS)]
    alone, mixed = folder / "alone", folder / "mixed"
    for place in (alone, mixed):
        place.mkdir()
    files = list(Breaker(recordings, mixed, seed).make(broken))
    for index in range(good):
        form = (*UNUSUAL, *USUAL)[index % (len(UNUSUAL) + len(USUAL))]
        # Numbered like the broken ones, so that they stand among them.
        path = alone / f"{index * broken // good:04d} good {form.name}"
        encode(recordings[index // len(UNUSUAL) % SPEAKERS], form, path)
        os.link(path, mixed / path.name)
        files.append(BrokenFile(mixed / path.name, "good", USABLE))
    names = [file.path.name for file in files]
    run_alone, shards_alone = _preprocess(alone, [name for name in names if " good " in name])
    run_mixed, shards_mixed = _preprocess(mixed, names)
    problems = [
        *_problems_of_run("alone", run_alone, shards_alone),
        *_problems_of_run("mixed", run_mixed, shards_mixed),
    ]
    if shards_alone is None or shards_mixed is None:
        return Finding(problems, {}, run_mixed)
    outcomes = {_name(outcome, names): outcome for outcome in shards_mixed.outcomes}
    problems += _problems_of_outcomes(files, outcomes, len(shards_mixed.outcomes))
    problems += _problems_of_bytes(shards_alone, shards_mixed)
    return Finding(problems, _count(files, outcomes), run_mixed)


def record(number: int) -> Recording:
    """One of the drawn speakers, short and small."""
    config = SyntheticConfig(root="unused", subjects=SPEAKERS, takes=1, difficulty=0.1)
    clip = synthetic.clips(config)[number * len(synthetic.clips(config)) // SPEAKERS]
    performance = perform(role_of(config, clip))
    wanted = range(round(FIRST_S * FRAME_RATE), round(LAST_S * FRAME_RATE))
    pictures = [
        cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA)
        for picture, _ in performance.pictures(wanted)
    ]
    samples = performance.sound()[round(FIRST_S * SAMPLE_RATE) : round(LAST_S * SAMPLE_RATE)]
    return Recording(np.stack(pictures).astype(np.uint8), FRAME_RATE, samples, SAMPLE_RATE)


def _preprocess(corpus: Path, names: Sequence[str]) -> tuple[Measured, ShardSet | None]:
    with (corpus / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "subject", "label"])
        rows.writerows([name, f"s{len(name) % 3}", "fear"] for name in names)
    data = corpus.with_name(f"{corpus.name}-data")
    command = [sys.executable, "-m", "pipelines.preprocess", "corpus=csv_manifest"]
    settings = [f"corpus.root={corpus}", f"paths.data={data}"]
    limit_s = LIMIT_S + LIMIT_PER_FILE_S * len(names)
    done = measure([*command, *settings], Path.cwd(), limit_s)
    return done, open_shards(Path(done.stdout.strip())) if done.status == 0 else None


def _name(outcome: ClipOutcome, names: Sequence[str]) -> str:
    """The file of an outcome: its id is the name with or without the suffix."""
    known = {key: name for name in names for key in (name, name.rpartition(".")[0])}
    return known[outcome.clip_id]


def _problems_of_run(title: str, done: Measured, shards: ShardSet | None) -> list[str]:
    problems = []
    if done.status != 0 or shards is None:
        problems.append(f"{title}: status {done.status}: {done.stderr[-2000:]}")
    if done.left_behind:
        problems.append(f"{title}: {done.left_behind} processes are left behind")
    return problems


def _problems_of_outcomes(
    files: Sequence[BrokenFile], outcomes: dict[str, ClipOutcome], count: int
) -> list[str]:
    problems = [] if count == len(files) else [f"{count} outcomes of {len(files)} files"]
    for file in files:
        outcome = outcomes.get(file.path.name)
        if outcome is None:
            problems.append(f"{file.path.name}: no outcome")
        elif outcome.reason not in file.truth or outcome.reason not in REASONS:
            problems.append(
                f"{file.path.name}: {outcome.status}: {outcome.reason} {outcome.detail}; true "
                f"would be {sorted(file.truth)}"
            )
        elif (outcome.status == "ok") != (outcome.reason in USABLE):
            problems.append(f"{file.path.name}: {outcome.status} because of {outcome.reason}")
    return problems


def _problems_of_bytes(alone: ShardSet, mixed: ShardSet) -> list[str]:
    problems = []
    for clip_id, key in alone.keys.items():
        for table in KEPT_TABLES:
            one, other = (
                shards.folder.path(table, shards.keys[clip_id]) for shards in (alone, mixed)
            )
            if one.exists() and one.read_bytes() != other.read_bytes():
                problems.append(f"{clip_id}: other {table} than alone")
        if mixed.keys[clip_id] != key:
            problems.append(f"{clip_id}: another key than alone")
    return problems


def _count(
    files: Sequence[BrokenFile], outcomes: dict[str, ClipOutcome]
) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for file in files:
        outcome = outcomes[file.path.name]
        words = f"{outcome.status}: {outcome.reason}" if outcome.reason else outcome.status
        counts.setdefault(file.kind, Counter())[words] += 1
    return {kind: dict(sorted(count.items())) for kind, count in sorted(counts.items())}
