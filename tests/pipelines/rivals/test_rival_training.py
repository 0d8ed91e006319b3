"""A split with a rival in it: what it reads and when, what it reports, and that it repeats."""

from __future__ import annotations

import pytest
import torch

from pipelines.inputs import ClipCache, ClipTensors, Wall
from pipelines.networks.backbone import ModelConfig
from pipelines.networks.fusion import FusionConfig
from pipelines.rivals.config import KCFA, POOLING, RivalConfig
from pipelines.rivals.feature_training import FeatureRivalTraining
from pipelines.split_task import SplitTask, seed_for
from pipelines.training_config import TrainingConfig

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ("anger", "fear")
SEGMENTS = 2
TRAIN, VALIDATION, TEST = (
    tuple((f"{subject}/{label}_{take}", label) for take in range(3) for label in (0, 1))
    for subject in ("a", "b", "c")
)


def make_clip(clip_id: str) -> ClipTensors:
    generator = torch.Generator().manual_seed(seed_for(0, clip_id))
    return ClipTensors(
        clip_id=clip_id,
        frames=torch.randint(0, 256, (4, 3, 16, 16), generator=generator, dtype=torch.uint8),
        audio=torch.randint(0, 256, (SEGMENTS, 3, 32, 32), generator=generator, dtype=torch.uint8),
        frame_indices=torch.arange(20).repeat(SEGMENTS, 1) % 4,
    )


def task_of(validation: tuple[tuple[str, int], ...] = VALIDATION) -> SplitTask:
    return SplitTask(
        split_id="held-out-c",
        repeat=0,
        seed=7,
        classes=CLASSES,
        train=TRAIN,
        validation=validation,
        test=tuple(clip_id for clip_id, _ in TEST),
    )


class SpyWall(Wall):
    """Notes the phases in the order in which they read."""

    def __init__(self, task: SplitTask) -> None:
        train, validation = frozenset(task.train_ids), frozenset(task.validation_ids)
        super().__init__(
            clips=ClipCache(make_clip, 2**30),
            allowed={
                "stage1_fit": train,
                "stage1_choose": validation,
                "stage2_fit": train,
                "stage2_choose": validation,
                "test": frozenset(task.test),
            },
        )
        self.phases: list[str] = []

    def read(self, phase: str, clip_id: str) -> ClipTensors:
        self.phases.append(phase)
        return super().read(phase, clip_id)


def training_of(kind: str, task: SplitTask | None = None) -> FeatureRivalTraining:
    task = task or task_of()
    return FeatureRivalTraining(
        task,
        SpyWall(task),
        model=ModelConfig(backbone="small", lstm_hidden=8),
        fusion=FusionConfig(),
        training=TrainingConfig(precision="float32", audio_epochs=1, visual_epochs=1),
        device=torch.device("cpu"),
        rival=RivalConfig(kind=kind, components=2, kernel_rows=8),
    )


@pytest.mark.parametrize("kind", [POOLING, KCFA])
def test_a_rival_stands_on_stage_1_and_opens_test_clips_last(kind: str) -> None:
    training = training_of(kind)
    result = training.run()
    assert set(training.networks) == {"audio", "visual"}
    assert set(result.chosen_epochs) == {"audio", "visual"}
    assert set(result.parameters) == set(result.seconds) - {"test"} == {"audio", "visual", kind}
    assert result.parameters[kind] > 0
    assert set(result.chosen) == {"C", "validation_uar"}
    assert result.reads == {
        "stage1_fit": sorted(c for c, _ in TRAIN),
        "stage1_choose": sorted(c for c, _ in VALIDATION),
        "stage2_fit": sorted(c for c, _ in TRAIN),
        "stage2_choose": sorted(c for c, _ in VALIDATION),
        "test": sorted(c for c, _ in TEST),
    }
    wall = training.wall
    assert isinstance(wall, SpyWall)
    assert set(wall.phases[-len(TEST) :]) == {"test"}
    for clip_ids in result.fitted.values():
        assert set(clip_ids) <= {clip_id for clip_id, _ in TRAIN}
    told = [(s.clip_id, s.segment_index) for s in result.segments]
    assert told == [(clip_id, n) for clip_id, _ in TEST for n in range(SEGMENTS)]
    for one, other in zip(result.segments[::2], result.segments[1::2], strict=True):
        assert (one.probabilities == other.probabilities) == (kind == POOLING)
    assert training_of(kind).run().segments == result.segments


def test_with_nobody_to_choose_by_it_says_so() -> None:
    result = training_of(POOLING, task_of(validation=())).run()
    assert result.chosen == {"C": 1.0}
    assert "no inner validation subject: C of average_pooling_svm is 1, unchosen" in result.warnings
