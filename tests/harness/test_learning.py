"""Studies learn what is known to be in the clips, and nothing where nothing is.

The synthetic corpus says which modality carries the emotion. Each seed is the public command on
real files, an ablation; a seed draws people, sentences and clips anew, and weights and orders too.

The clips of five seeds are pooled, 240 for each signal and modality, and judged by the exact
99.9 % interval of Clopper and Pearson. It takes clips for independent, which they are not quite:
those of a person share a face and a voice, those of a fold a network, the folds of a seed most of
their training clips, and the modalities of a signal all of their clips; what each emotion does to a
face and a voice is the same everywhere. Over persons the variance of the accuracy was 0.2 to 0.5 of
the binomial one where nothing told the emotion (every person shows each emotion once, so that
whoever answers always the same is right in one clip of six exactly), and 1.0 to 2.2 times it where
something did: at chance the interval is too wide, and far above it, where that hardly matters, up
to 1.5 times too narrow. `Finding` shows the one over persons beside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import run_module
from findings import CHANCE, Finding, hits_of
from scipy import stats

AUDIO, VISUAL, FUSION = "audio", "visual", "both"
ROWS = {AUDIO: "audio", VISUAL: "visual", FUSION: "whole"}
"""Of the ablation that a seed is: its rows share the clips' files, splits and stage 1."""
SEEDS = {
    "audio": (1, 2, 3, 4, 5),
    "visual": (11, 12, 13, 14, 15),
    "both": (21, 22, 23, 24, 25),
    "none": (31, 32, 33, 34, 35),
}
"""By signal. With the same seed, a voice that tells nothing is the same whatever the face tells."""
CLIPS = 48
"""Of a corpus."""
STUDY = (
    "corpus.subjects=8",
    "corpus.takes=1",
    "corpus.difficulty=0",
    # A split trains on five people at most, as in the demo, and there are few splits.
    "protocol=kfold",
    "protocol.unit=subject",
    "protocol.folds=3",
    "training=demo",
    "ablation.only=[audio,visual]",
    "cluster.cpus=1",
    "tracking.enabled=false",
)
"""Otherwise the demo's own settings."""


def find(signal: str, seeds: Sequence[int], folder: Path) -> dict[str, Finding]:
    """Return what the studies of a signal got right, by the modalities that they were given."""
    hits: dict[str, dict[tuple[int, str], bool]] = {name: {} for name in ROWS}
    for seed in seeds:
        for name, of_name in studies(signal, seed, folder).items():
            hits[name] |= of_name
        # 400 MB of crops, which no other seed needs.
        shutil.rmtree(folder / "data")
    found = {name: Finding(of_name) for name, of_name in hits.items()}
    for name, finding in found.items():
        print(f"signal {signal}, {name}: {finding}")
    return found


def studies(signal: str, seed: int, folder: Path) -> dict[str, dict[tuple[int, str], bool]]:
    """Run the studies of a seed; return whether each clip was recognised, by seed and clip id."""
    run = f"{signal}-{seed}"
    result = run_module(
        "harness.ablate",
        *STUDY,
        f"corpus.signal={signal}",
        f"corpus.seed={seed}",
        f"seed={seed}",
        f"name={run}",
        "--json",
        cwd=folder,
    )
    assert result.status == 0, result.stderr
    found = {name: hits_of(folder / "runs" / run / row, seed) for name, row in ROWS.items()}
    assert {len(hits) for hits in found.values()} == {CLIPS}
    return found


def of_signal(*signals: str) -> list[Any]:
    """Parametrise by signal, each in a process of its own if there are several."""
    return [pytest.param(signal, marks=pytest.mark.xdist_group(signal)) for signal in signals]


@pytest.mark.long
def test_a_voice_that_tells_is_learned_and_a_face_that_tells_nothing_is_not(tmp_path: Path) -> None:
    found = find("audio", SEEDS["audio"][:1], tmp_path)
    assert found[AUDIO].is_far_above_chance, found[AUDIO]
    assert found[VISUAL].is_at_chance, found[VISUAL]


@pytest.mark.long
@pytest.mark.parametrize("signal", of_signal(*SEEDS))
def test_over_five_seeds_a_modality_is_learned_where_it_tells_and_nowhere_else(
    signal: str, tmp_path: Path
) -> None:
    found = find(signal, SEEDS[signal], tmp_path)
    telling = {"audio": {AUDIO}, "visual": {VISUAL}, "both": {AUDIO, VISUAL}, "none": set()}[signal]
    for name, finding in found.items():
        if name in telling or (name == FUSION and telling):
            assert finding.is_far_above_chance, f"{name}: {finding}"
        else:
            assert finding.is_at_chance, f"{name}: {finding}"
    if signal == "both":
        better = max((found[AUDIO], found[VISUAL]), key=lambda finding: finding.right)
        low, high = found[FUSION].difference(better)
        assert high >= 0, f"fusion is worse by {-high:.3f} to {-low:.3f}: {found[FUSION]}"


@pytest.mark.parametrize(
    ("clips", "least", "most", "far"),
    [(48, 1, 17, 24), (240, 22, 60, 88)],
)
def test_what_counts_as_chance_and_as_far_above_it(
    clips: int, least: int, most: int, far: int
) -> None:
    """At chance: 1 to 17 of 48 clips, 22 to 60 of 240. Far above: from 24 (50 %), 88 (37 %)."""
    found = [finding_of([True] * right + [False] * (clips - right)) for right in range(clips + 1)]
    at_chance = [right for right, finding in enumerate(found) if finding.is_at_chance]
    assert at_chance == list(range(least, most + 1))
    assert next(right for right, one in enumerate(found) if one.is_far_above_chance) == far
    # One study in a thousand of what knows nothing falls outside, and none is far above chance.
    known = stats.binom(clips, CHANCE)
    assert 1 - known.cdf(most) + known.cdf(least - 1) < 1e-3
    assert known.sf(far - 1) < 1e-6


def test_a_network_right_in_four_clips_of_ten_does_not_pass_for_chance() -> None:
    assert stats.binom(240, 0.4).cdf(60) < 1e-6


def test_fusion_that_loses_is_told_from_fusion_that_differs() -> None:
    better = finding_of([True] * 40 + [False] * 200)
    # 40 clips differ in both cases: 10 of them won is a draw yet, 9 is a loss.
    assert finding_of([False] * 30 + [True] * 20 + [False] * 190).difference(better)[1] >= 0
    assert finding_of([False] * 31 + [True] * 18 + [False] * 191).difference(better)[1] < 0
    assert better.difference(better) == (0.0, 0.0)


def finding_of(hits: Sequence[bool]) -> Finding:
    return Finding({(1, f"s01/{number}"): hit for number, hit in enumerate(hits)})
