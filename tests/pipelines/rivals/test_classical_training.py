"""A split without a network: it hears or sees what its kind says, and never peeks."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats

from pipelines.inputs import ClipCache, ClipTensors, Wall
from pipelines.rivals.classical_training import ClassicalTraining
from pipelines.rivals.config import CLASSICAL, FUNCTIONALS, FUNCTIONALS_HOG, HOG, LBP, RivalConfig
from pipelines.split_task import SplitResult, SplitTask, seed_for

CLASSES = ("anger", "fear", "joy")
SEGMENTS, FRAMES = 2, 3


def make_clip(clip_id: str, *, tells: str) -> ClipTensors:
    """Noise, but for the sound or the faces that tell the class: by level, or by stripes."""
    random = np.random.default_rng(seed_for(0, clip_id))
    label = int(clip_id[-1])
    audio = random.normal(size=(SEGMENTS, 3, 13, 64))
    frames = random.integers(0, 100, (FRAMES, 3, 64, 64))
    if tells == "audio":
        audio[:, 0, label] += 1.0
    if tells == "visual":
        stripes = (np.arange(64) // 4 % 2 * 150)[None]
        frames += [stripes, stripes.T, np.zeros((1, 1), np.int64)][label]
    return ClipTensors(
        clip_id=clip_id,
        frames=torch.from_numpy(frames.astype(np.uint8)),
        audio=torch.from_numpy(audio.astype(np.float16)),
        frame_indices=torch.zeros(SEGMENTS, 20, dtype=torch.int64),
        prosody=torch.from_numpy(random.uniform(-60, 200, (SEGMENTS, 2, 64)).astype(np.float16)),
    )


def clips_of(subject: str, takes: int) -> tuple[tuple[str, int], ...]:
    return tuple(
        (f"{subject}/{take:02}-{label}", label) for take in range(takes) for label in range(3)
    )


def run(kind: str, tells: str, *, validation: int = 3) -> tuple[SplitResult, Wall]:
    task = SplitTask(
        split_id="held-out-c",
        repeat=0,
        seed=7,
        classes=CLASSES,
        train=clips_of("a", 10),
        validation=clips_of("b", validation),
        test=tuple(clip_id for clip_id, _ in clips_of("c", 10)),
    )
    wall = Wall(
        clips=ClipCache(partial(make_clip, tells=tells), 2**30),
        allowed={
            "stage1_fit": frozenset(task.train_ids),
            "stage1_choose": frozenset(task.validation_ids),
            "test": frozenset(task.test),
        },
    )
    training = ClassicalTraining(
        task, wall, rival=RivalConfig(kind=kind), weighted=True, frame_shift=30
    )
    return training.run(), wall


@pytest.mark.parametrize("kind", CLASSICAL)
@pytest.mark.parametrize("tells", ["audio", "visual"])
def test_a_kind_learns_what_its_modality_tells_and_is_at_chance_otherwise(
    kind: str, tells: str
) -> None:
    result, _ = run(kind, tells)
    by_clip = {segment.clip_id: segment.probabilities for segment in result.segments}
    right = sum(int(np.argmax(p)) == int(clip_id[-1]) for clip_id, p in by_clip.items())
    takes = {FUNCTIONALS: ("audio",), HOG: ("visual",), LBP: ("visual",)}
    if tells in takes.get(kind, ("audio", "visual")):
        # The two sets together: the one that tells nothing counts as much.
        assert right > (0.6 if kind == FUNCTIONALS_HOG else 0.85) * len(by_clip)
    else:
        assert stats.binomtest(right, len(by_clip), 1 / 3).pvalue > 0.001


@pytest.mark.parametrize("kind", [FUNCTIONALS, FUNCTIONALS_HOG])
def test_what_is_read_fitted_and_reported(kind: str) -> None:
    result, wall = run(kind, "audio")
    train, validation, test = (
        sorted(clip_id for clip_id, _ in clips_of(subject, takes))
        for subject, takes in (("a", 10), ("b", 3), ("c", 10))
    )
    assert wall.frozen
    assert result.reads == {"stage1_fit": train, "stage1_choose": validation, "test": test}
    assert result.fitted == {"classifier": train}
    assert set(result.parameters) == {kind}
    assert result.parameters[kind] > 0
    assert (result.curves, result.chosen_epochs, result.warnings) == ([], {}, [])
    assert set(result.chosen) == {"C", "validation_uar"}
    told = [(segment.clip_id, segment.segment_index) for segment in result.segments]
    assert sorted(told) == [(clip_id, n) for clip_id in test for n in range(SEGMENTS)]
    for one, other in zip(result.segments[::2], result.segments[1::2], strict=True):
        assert one.probabilities == other.probabilities
        assert sum(one.probabilities) == pytest.approx(1.0)
    assert run(kind, "audio")[0].segments == result.segments


def test_with_nobody_to_choose_by_it_says_so() -> None:
    result, _ = run(HOG, "visual", validation=0)
    assert result.warnings == ["no inner validation subject: C of hog_svm is 1, unchosen"]
    assert "stage1_choose" not in result.reads
