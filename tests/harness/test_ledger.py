"""A split's predictions have the same columns whatever attention chose among; none is lost."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from harness.ledger import FAILED, Entry, Ledger, segment_table
from pipelines.networks.attention import COMBINATIONS
from pipelines.networks.fusion import FusionConfig, FusionNetwork, SegmentVectors
from pipelines.split_task import AttentionWeights, SegmentPrediction, SplitResult, SplitTask

CLASSES = ("anger", "fear")
BETA = {
    "beta_audio": pa.float64(),
    "beta_visual": pa.float64(),
    "beta_segments": pa.float64(),
    "beta_timesteps": pa.list_(pa.float64()),
}


def task(split_id: str = "held-out-s1") -> SplitTask:
    return SplitTask(
        split_id=split_id, repeat=0, seed=0, classes=CLASSES, train=(), validation=(), test=("a",)
    )


def result(*attention: AttentionWeights) -> SplitResult:
    segments = [
        SegmentPrediction(
            clip_id="a", segment_index=index, probabilities=(0.25, 0.75), attention=weights
        )
        for index, weights in enumerate(attention)
    ]
    return SplitResult(segments=segments, curves=[], chosen_epochs={}, reads={}, parameters={})


def columns(*attention: AttentionWeights) -> dict[str, list[Any]]:
    table = segment_table(task(), result(*attention))
    for name, kind in BETA.items():
        assert table.schema.field(name).type == kind
    return {name: table[name].to_pylist() for name in BETA}


NOTHING = [None, None]


@pytest.mark.parametrize(
    ("attention", "told"),
    [
        (
            ({"audio": 0.25, "visual": 0.75}, {"audio": 1.0, "visual": 0.0}),
            {"beta_audio": [0.25, 1.0], "beta_visual": [0.75, 0.0]},
        ),
        (({"segments": 0.125}, {"segments": 0.875}), {"beta_segments": [0.125, 0.875]}),
        (
            ({"timesteps": (0.5, 0.25, 0.25)}, {"timesteps": (0.0, 0.0, 1.0)}),
            {"beta_timesteps": [[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]},
        ),
        (({}, {}), {}),
    ],
)
def test_weights_stand_in_their_own_column_and_the_others_are_null(
    attention: tuple[AttentionWeights, ...], told: dict[str, list[Any]]
) -> None:
    assert columns(*attention) == {**dict.fromkeys(BETA, NOTHING), **told}


@pytest.mark.parametrize("attend_over", list(COMBINATIONS))
def test_no_weight_of_a_network_is_without_a_column(attend_over: str) -> None:
    network = FusionNetwork(3, 3, 2, FusionConfig(attend_over=attend_over)).eval()
    visual = torch.randn(2, 20, 3) if attend_over == "timesteps" else torch.randn(2, 3)
    clip = torch.zeros(2, dtype=torch.int64)
    weights = network(SegmentVectors(torch.randn(2, 3), visual, clip)).attention_of_segments()
    told = columns(*weights)
    for index, of_segment in enumerate(weights):
        for name, weight in of_segment.items():
            kept = told[f"beta_{name}"][index]
            assert kept == (list(weight) if isinstance(weight, tuple) else weight)


def test_splits_with_and_without_attention_make_one_table(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    told: dict[str, AttentionWeights] = {"one": {}, "other": {"timesteps": (0.5, 0.5)}}
    for split_id, weights in told.items():
        ledger.record(task(split_id), result(weights), study_digest="", device="cpu", threads=1)
    assert ledger.segments([*told])["beta_timesteps"].to_pylist() == [None, [0.5, 0.5]]


def test_a_failure_is_never_entered_over_what_another_host_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path)
    ledger.record(task("one"), result({}), study_digest="now", device="cpu", threads=1)
    ledger.record_failure("one", "lost", "now")
    assert ledger.is_done("one", "now")
    # A host that sees nothing of it yet, or still what was there before.
    before = Entry(split_id="one", status=FAILED, study_digest="before")
    for seen in (None, before):
        with monkeypatch.context() as late:
            late.setattr(Ledger, "entry", lambda self, split_id, seen=seen: seen)
            ledger.record_failure("one", "lost", "now")
        assert ledger.is_done("one", "now")
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_what_is_not_this_study_s_end_of_a_split_is_forgotten_before_it_is_tried(
    tmp_path: Path,
) -> None:
    ledger = Ledger(tmp_path)
    for name, digest in (("done", "now"), ("lost", "now"), ("older", "before")):
        ledger.record(task(name), result({}), study_digest=digest, device="cpu", threads=1)
    halted = replace(result(), halted=True)
    ledger.record(task("halted"), halted, study_digest="now", device="cpu", threads=1)
    ledger.segments_path("lost").unlink()
    ledger.record_failure("failed", "first", "now")
    for name in ("done", "lost", "older", "halted", "failed"):
        ledger.clear(name, "now")
        ledger.record_failure(name, "second", "now")
    found = {path.stem: ledger.entry(path.stem) for path in tmp_path.glob("*.json")}
    told = {name: (e.status, e.error, e.study_digest) for name, e in found.items() if e}
    failed = ("failed", "second", "now")
    assert told == {
        "done": ("done", "", "now"),
        "halted": ("halted", "", "now"),
        **dict.fromkeys(("lost", "older", "failed"), failed),
    }


def test_done_without_predictions_is_not_done(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.record(task("one"), result({}), study_digest="now", device="cpu", threads=1)
    ledger.segments_path("one").unlink()
    assert ledger.entry("one") is None
    assert not ledger.is_done("one", "now")


def test_where_a_file_has_one_name_alone_a_failure_is_entered_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    test_what_is_not_this_study_s_end_of_a_split_is_forgotten_before_it_is_tried(tmp_path)
