"""Preprocessing of a folder of broken files with good ones among them: every file's true outcome.

What is found wrong is listed, not raised: `check` returns it with the counts.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.clip_forms import UNUSUAL, USUAL, Recording, encode
from benchmarks.damage import USABLE, Breaker, BrokenFile
from benchmarks.measured_process import Measured, measure
from pipelines.config import PipelineConfig, compose_config
from pipelines.corpora import synthetic
from pipelines.corpora.listing import read_corpus
from pipelines.corpora.synthetic import SyntheticConfig, role_of
from pipelines.corpus_plan import processor_settings
from pipelines.process import ClipProcessor
from pipelines.records import Clip, ClipOutcome
from pipelines.shards import ShardFolder, ShardSet, open_shards
from pipelines.synthesis.articulation import SAMPLE_RATE
from pipelines.synthesis.performance import perform
from pipelines.synthesis.speech import FRAME_RATE

BROKEN, GOOD = 1000, 50
SPEAKERS = 2
FIRST_S, LAST_S = 0.4, 2.5
"""Of a recording: the voice is in it."""
SIZE = 180, 144
LIMIT_S, LIMIT_PER_FILE_S = 120.0, 3.0


@dataclass(frozen=True)
class Finding:
    """What became of a folder of broken and good files."""

    problems: Sequence[str]
    """All that must not be; empty where all is well."""
    counts: dict[str, dict[str, int]]
    """How many files, by kind and outcome."""
    done: Measured


def run() -> dict[str, Any]:
    """Check the whole: 1,000 broken files and 50 good ones."""
    with tempfile.TemporaryDirectory() as folder:
        finding = check(BROKEN, GOOD, Path(folder))
    return {
        "work": f"python -m pipelines.preprocess over {BROKEN} broken files and {GOOD} good ones",
        "outcomes": finding.counts,
        "problems": list(finding.problems),
        "equal": not finding.problems,
        "seconds": round(finding.done.seconds, 1),
        "peak_memory_gib": round(finding.done.peak_bytes / 2**30, 2),
    }


def check(broken: int, good: int, folder: Path, seed: int = 0) -> Finding:
    """Make the files, preprocess them together, and each good one alone.

    Args:
        broken: how many broken files.
        good: how many good ones, the unusual forms first.
        folder: where all of it is kept.
        seed: of the damage.
    """
    recordings = [record(number) for number in range(SPEAKERS)]
    corpus = folder / "corpus"
    corpus.mkdir()
    files = list(Breaker(recordings, corpus, seed).make(broken))
    for index in range(good):
        form = (*UNUSUAL, *USUAL)[index % (len(UNUSUAL) + len(USUAL))]
        # Numbered like the broken ones, so that they stand among them.
        path = corpus / f"{index * broken // good:04d} good {form.name}"
        encode(recordings[index // len(UNUSUAL) % SPEAKERS], form, path)
        files.append(BrokenFile(path, "good", USABLE))
    _write_manifest(files, corpus)
    settings = ["corpus=csv_manifest", f"corpus.root={corpus}", f"paths.data={folder / 'data'}"]
    command = [sys.executable, "-m", "pipelines.preprocess", *settings]
    done = measure(command, Path.cwd(), LIMIT_S + LIMIT_PER_FILE_S * len(files))
    if done.status != 0:
        return Finding([f"status {done.status}: {done.stderr[-2000:]}"], {}, done)
    shards = open_shards(Path(done.stdout.strip()))
    outcomes = {outcome.clip_id: outcome for outcome in shards.outcomes}
    config = compose_config("pipeline", PipelineConfig, settings)
    clips = {Path(clip.path).name: clip for clip in read_corpus(config.corpus).clips}
    by_file = {file: outcomes.get(clips[file.path.name].clip_id) for file in files}
    problems = [problem for file in files for problem in _problems(file, by_file[file])]
    if len(outcomes) != len(files):
        problems.append(f"{len(outcomes)} outcomes of {len(files)} files")
    if done.left_behind:
        problems.append(f"{done.left_behind} processes are left behind")
    for file in files:
        if file.kind == "good":
            problems += _differences(clips[file.path.name], config, shards, folder / "alone")
    return Finding(problems, _count(by_file), done)


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


def _write_manifest(files: Sequence[BrokenFile], corpus: Path) -> None:
    with (corpus / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "subject", "label"])
        rows.writerows([file.path.name, f"s{n % 3}", "fear"] for n, file in enumerate(files))


def _problems(file: BrokenFile, outcome: ClipOutcome | None) -> list[str]:
    """What is wrong with the outcome of a file."""
    if outcome is None:
        return [f"{file.path.name}: no outcome"]
    told = f"{file.path.name}: {outcome.status}: {outcome.reason} {outcome.detail}"
    if outcome.reason not in file.truth:
        return [f"{told}; true would be {sorted(file.truth)}"]
    if (outcome.status == "ok") != (outcome.reason in USABLE):
        return [told]
    return []


def _differences(clip: Clip, config: PipelineConfig, shards: ShardSet, folder: Path) -> list[str]:
    """Which of a clip's tables are not those that it gives alone, in a process of its own."""
    key = shards.keys[clip.clip_id]
    with ClipProcessor(ShardFolder(folder), **processor_settings(config)) as processor:
        processor.process(clip, key)
        return [
            f"{clip.clip_id}: other {table} than alone"
            for table in ("frames", "segments")
            if processor.folder.path(table, key).read_bytes()
            != shards.folder.path(table, key).read_bytes()
        ]


def _count(by_file: Mapping[BrokenFile, ClipOutcome | None]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for file, outcome in by_file.items():
        if outcome is not None:
            words = f"{outcome.status}: {outcome.reason}" if outcome.reason else outcome.status
            counts.setdefault(file.kind, Counter())[words] += 1
    return {kind: dict(sorted(count.items())) for kind, count in sorted(counts.items())}
