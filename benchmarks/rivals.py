"""C1 and C2: a whole LOSO study, cold, against plain PyTorch and against the way of a toolkit."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import plain_features, plain_study
from benchmarks.alternation import ratios, take_turns
from benchmarks.plain_study import Probabilities
from benchmarks.study import (
    plain_clips,
    plain_settings,
    plain_splits,
    run_study,
)
from benchmarks.study_corpus import Corpus, StudySize, make_corpus, write_corpus

Predictions = dict[str, Probabilities]
"""Split -> test clip -> segments -> classes."""
Runs = dict[str, Callable[[], Predictions]]
LEAST_VOTES_AGREEING = 0.95
"""Of ours in bfloat16, whose probabilities are other ones, with a rival's in float32."""
TOLERANCE = 1e-4
"""Between two probabilities that count as equal."""
WARM_UP = StudySize(subjects=3, segments=1, epochs=1, lstm_hidden=8)
"""Imports, compiled kernels and the disk's cache are nobody's."""
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One row: a run of ours against a run of the rival's."""

    ours: str
    rival: str
    a: str
    b: str
    asks_equal: bool
    """Whether predictions must be equal."""
    least_votes: float | None = None
    """Share of votes that must agree where predictions need not be equal."""
    at_least: float | None = None
    aim: float | None = None


OURS = "each unique frame through the trunk once, features in a store that was empty"
LOOP = "plain loop over splits, the frozen trunk in every forward pass of both stages, float32"


def plain_loop() -> dict[str, Any]:
    """C1: LSTM 4096."""
    return _against_plain_loop(StudySize(), at_least=8, aim=11)


def plain_loop_512() -> dict[str, Any]:
    """C1 with an LSTM of 512, where the trunk is nearly all of the work."""
    return _against_plain_loop(StudySize(lstm_hidden=512), at_least=15, aim=25)


def _against_plain_loop(size: StudySize, *, at_least: float, aim: float) -> dict[str, Any]:
    rows = [
        Comparison(
            ours="ours float32", rival="loop", a=f"{OURS}; float32", b=LOOP, asks_equal=True
        ),
        Comparison(
            ours="ours bfloat16",
            rival="loop",
            a=f"{OURS}; bfloat16, float32 master weights",
            b=LOOP,
            asks_equal=False,
            least_votes=LEAST_VOTES_AGREEING,
            at_least=at_least,
            aim=aim,
        ),
    ]
    return measure(size, plain_loop_runs, rows, repeats=3)


def plain_loop_runs(corpus: Corpus) -> Runs:
    """Return both sides of C1, in this process."""
    clips, splits = plain_clips(corpus), plain_splits(corpus)

    def loop() -> Predictions:
        features = plain_features.TrunkInForwardPass(_trunk(corpus), clips)
        return plain_study.run_study(features, splits, plain_settings(corpus.size))

    return {
        "loop": loop,
        "ours float32": lambda: run_study(corpus, "float32"),
        "ours bfloat16": lambda: run_study(corpus, "bfloat16"),
    }


def toolkit() -> dict[str, Any]:
    """C2: features of every segment's frames once, at batch 1, then one process per split."""
    size = StudySize()
    seconds = lstm_seconds(size.lstm_hidden)
    autocast = seconds["autocast"] < seconds["float32"]
    way = "features of every segment's frames once, one image at a time, then a process per split"
    in_float32 = f"{way}; float32"
    in_bfloat16 = (
        f"{way}; trunk in bfloat16 and channels_last, LSTM in "
        f"{'bfloat16 by autocast' if autocast else 'float32, which is faster than autocast here'}"
    )
    ours = f"{OURS}; one process"
    rows = [
        Comparison(
            ours="ours float32",
            rival="toolkit float32",
            a=f"{ours}; float32",
            b=in_float32,
            asks_equal=True,
        ),
        Comparison(
            ours="ours bfloat16",
            rival="toolkit float32",
            a=f"{ours}; bfloat16, float32 master weights",
            b=in_float32,
            asks_equal=False,
            least_votes=LEAST_VOTES_AGREEING,
            at_least=3,
            aim=5,
        ),
        Comparison(
            ours="ours bfloat16",
            rival="toolkit bfloat16",
            a=f"{ours}; bfloat16, float32 master weights",
            b=in_bfloat16,
            asks_equal=False,
        ),
        # What the rival's own bfloat16 does to its votes.
        Comparison(
            ours="toolkit bfloat16",
            rival="toolkit float32",
            a=in_bfloat16,
            b=in_float32,
            asks_equal=False,
        ),
    ]
    measured = measure(
        size, lambda corpus: toolkit_runs(corpus, autocast=autocast), rows, repeats=5
    )
    return {**measured, "lstm_step_seconds": seconds}


def toolkit_runs(corpus: Corpus, *, autocast: bool) -> Runs:
    """Return both sides of C2, each in processes of its own but for the toolkit's extraction."""
    clips, splits = plain_clips(corpus), plain_splits(corpus)
    write_corpus(corpus)

    def by_toolkit(*, bfloat16: bool) -> Predictions:
        settings = plain_settings(corpus.size, keep_vectors=True)
        settings = replace(settings, autocast=bfloat16 and autocast)
        with tempfile.TemporaryDirectory(dir=corpus.folder) as name:
            folder = Path(name)
            plain_features.extract(_trunk(corpus), clips, folder, bfloat16=bfloat16)
            plain_study.write_task(folder, splits, settings)
            found = {}
            for split in splits:
                _run("benchmarks.plain_study", name, split.split_id)
                found[split.split_id] = json.loads((folder / f"{split.split_id}.json").read_text())
        return found

    def by_us(precision: str) -> Predictions:
        _run("benchmarks.study", str(corpus.folder), precision)
        found: Predictions = json.loads((corpus.folder / f"ours-{precision}.json").read_text())
        return found

    return {
        "toolkit float32": lambda: by_toolkit(bfloat16=False),
        "toolkit bfloat16": lambda: by_toolkit(bfloat16=True),
        "ours float32": lambda: by_us("float32"),
        "ours bfloat16": lambda: by_us("bfloat16"),
    }


def _trunk(corpus: Corpus) -> nn.Module:
    return plain_features.vgg19_fc7(corpus.weights)


def _run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, check=True)


def lstm_seconds(hidden: int) -> dict[str, float]:
    """Return seconds of a training step of torch's LSTM on 28 segments, without the optimiser."""
    lstm = nn.LSTM(4096, hidden, batch_first=True)
    faces = torch.randn(28, 20, 4096)
    seconds = {}
    for name in ("float32", "autocast"):
        for _ in range(2):  # the first one compiles
            lstm.zero_grad()
            begun = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=name == "autocast"):
                states, _ = lstm(faces)
            states[:, -1].float().square().sum().backward()
            seconds[name] = round(time.perf_counter() - begun, 3)
    return seconds


# Measuring


def measure(
    size: StudySize,
    runs_of: Callable[[Corpus], Runs],
    comparisons: Sequence[Comparison],
    *,
    repeats: int,
) -> dict[str, Any]:
    """Let all runs take turns on one corpus; return a row a comparison, and under `problems` the
    rows whose predictions differ by more than they may.
    """
    with tempfile.TemporaryDirectory() as folder:
        for run in runs_of(make_corpus(Path(folder) / "warm_up", WARM_UP)).values():
            run()
        corpus = make_corpus(Path(folder) / "corpus", size)
        load = os.getloadavg()
        seconds, found = take_turns(
            {name: _collected(run) for name, run in runs_of(corpus).items()}, repeats=repeats
        )
    rows = [
        {
            "a": comparison.a,
            "b": comparison.b,
            "at_least": comparison.at_least,
            "aim": comparison.aim,
            "protocol": f"LOSO, {size.subjects} splits",
            "trunk": "frozen, VGG19 to fc7 at 64 pixels",
            "lstm": size.lstm_hidden,
            "optimiser": "counts: fused Adam here, Adam as torch has it by default there",
            **ratios(seconds[comparison.ours], seconds[comparison.rival]),
            **agreement(found[comparison.ours], found[comparison.rival]),
            "asks_equal": comparison.asks_equal,
            "least_votes_agreeing": comparison.least_votes,
        }
        for comparison in comparisons
    ]
    return {
        "work": size.describe(),
        "rows": rows,
        "repeats": repeats,
        "problems": [
            f"{row['a']}: {row['votes_agreeing']:.0%} of the votes agree, and probabilities differ "
            f"by up to {row['largest_difference']:.2g}"
            for row in rows
            if (row["asks_equal"] and not row["equal"])
            or row["votes_agreeing"] < (row["least_votes_agreeing"] or 0)
        ],
        "seconds": {name: [round(s, 2) for s in each] for name, each in seconds.items()},
        "load_average": {"before": load[0], "after": os.getloadavg()[0]},
        "threads": torch.get_num_threads(),
    }


def _collected(run: Callable[[], Predictions]) -> Callable[[], Predictions]:
    """Start with the memory of the run before it given back."""

    def collected() -> Predictions:
        gc.collect()
        return run()

    return collected


def agreement(ours: Sequence[Predictions], theirs: Sequence[Predictions]) -> dict[str, Any]:
    """Compare predictions of the same runs: votes of clips, probabilities of segments."""
    differences, agree = [], []
    for a, b in zip(ours, theirs, strict=True):
        for split_id in a.keys() | b.keys():
            for clip_id in a[split_id].keys() | b[split_id].keys():
                one, other = a[split_id][clip_id], b[split_id][clip_id]
                gap = torch.tensor(one) - torch.tensor(other)
                differences.append(float(gap.abs().max()))
                agree.append(plain_study.vote(one) == plain_study.vote(other))
    largest = max(differences)
    return {
        "votes": len(agree),
        "votes_agreeing": sum(agree) / len(agree),
        "largest_difference": largest,
        "tolerance": TOLERANCE,
        "equal": all(agree) and largest <= TOLERANCE,
    }
