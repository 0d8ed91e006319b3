"""A whole study by this project predicts what plain PyTorch does, which shares no code with it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import plain_features, plain_study
from benchmarks.plain_study import Probabilities
from benchmarks.rivals import agreement
from benchmarks.study import (
    plain_clips,
    plain_settings,
    plain_splits,
    run_study,
    trunk_seed,
)
from benchmarks.study_corpus import Corpus, StudySize, make_corpus

pytestmark = pytest.mark.usefixtures("one_thread")

# Small batches let their order matter, and hasty learning an epoch before the last be the best.
SIZE = StudySize(
    subjects=3,
    segments=3,
    epochs=5,
    lstm_hidden=8,
    clips_per_batch=1,
    segments_per_batch=4,
    rate=0.3,
    backbone="tiny_network:TinyBackbone",
)
NEAR = 1e-4


def tiny_trunk(seed: int) -> nn.Module:
    """The layers of TinyBackbone once more, without it."""
    torch.manual_seed(seed)
    convolution = nn.Conv2d(3, 3, 3, padding=1)
    layers = [nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU()]
    pooling = nn.AdaptiveAvgPool2d(4)
    normalised = plain_features.Normalised((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    trunk = nn.Sequential(normalised, convolution, nn.Tanh(), pooling, nn.Flatten(), *layers)
    return trunk.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"), SIZE)


@pytest.fixture(scope="module")
def plain(corpus: Corpus) -> dict[str, Probabilities]:
    return plain_loop(corpus, SIZE)


def plain_loop(corpus: Corpus, size: StudySize) -> dict[str, Probabilities]:
    features = plain_features.TrunkInForwardPass(tiny_trunk(trunk_seed(size)), plain_clips(corpus))
    return plain_study.run_study(features, plain_splits(corpus), plain_settings(size))


def votes(found: dict[str, Probabilities]) -> list[int]:
    return [plain_study.vote(segments) for split in found.values() for segments in split.values()]


@pytest.mark.parametrize("lstm_hidden", [8, 12])
def test_a_study_predicts_what_the_plain_loop_does(lstm_hidden: int, tmp_path: Path) -> None:
    # The fusion projects both vectors to one size, but for an LSTM as large as the trunk's feature.
    size = replace(SIZE, lstm_hidden=lstm_hidden)
    corpus = make_corpus(tmp_path, size)
    expected, found = plain_loop(corpus, size), run_study(corpus, "float32")
    compared = agreement([found], [expected])
    assert compared["votes"] == SIZE.subjects * SIZE.clips_per_subject
    assert compared["votes_agreeing"] == 1
    assert compared["largest_difference"] < NEAR
    segments = [p for split in expected.values() for clip in split.values() for p in clip]
    assert torch.tensor(segments)[:, 0].std() > 100 * NEAR  # else equality would say nothing
    assert len(set(votes(expected))) > 1


def test_other_initial_weights_predict_otherwise(
    corpus: Corpus, plain: dict[str, Probabilities]
) -> None:
    other = run_study(replace(corpus, size=replace(SIZE, seed=1)), "float32")
    assert agreement([other], [plain])["largest_difference"] > 100 * NEAR


def test_a_process_per_split_on_features_from_disk_predicts_the_same(
    corpus: Corpus,
    plain: dict[str, Probabilities],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splits = plain_splits(corpus)
    plain_features.extract(tiny_trunk(trunk_seed(SIZE)), plain_clips(corpus), tmp_path)
    plain_study.write_task(tmp_path, splits, plain_settings(SIZE, keep_vectors=True))
    found = {}
    for split in splits:
        monkeypatch.setattr(sys, "argv", ["plain_study", str(tmp_path), split.split_id])
        plain_study.main()
        found[split.split_id] = json.loads((tmp_path / f"{split.split_id}.json").read_text())
    assert agreement([found], [plain])["largest_difference"] < NEAR


def test_a_study_in_bfloat16_is_close(corpus: Corpus, plain: dict[str, Probabilities]) -> None:
    assert agreement([run_study(corpus, "bfloat16")], [plain])["largest_difference"] < 0.05


@pytest.mark.parametrize(
    ("segments", "winner"),
    [
        ([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]], 1),
        ([[0.9, 0.1], [0.4, 0.6]], 0),
        ([[0.6, 0.4], [0.1, 0.9]], 1),
    ],
)
def test_most_segments_win_and_among_equals_the_most_probable_class(
    segments: list[list[float]], winner: int
) -> None:
    assert plain_study.vote(segments) == winner
