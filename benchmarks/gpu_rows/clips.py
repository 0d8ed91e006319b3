"""Clips made in memory, the splits over their subjects, and their training: no disk, no Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipelines.inputs import CHOOSE_PHASES, FIT_PHASES, TEST_PHASE, ClipCache, ClipTensors, Wall
from pipelines.segments import frames_of_segment
from pipelines.split_task import SplitTask, seed_for

CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
SEGMENT_S, SHIFT_S, FRAMES_A_SECOND = 0.655, 0.3, 25


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """How many clips of how many people, all of one length."""

    subjects: int
    clips: int
    """In all; each subject has as many, but for one."""
    segments: int = 7

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """Ids that begin with the subject, ordered."""
        numbers = range(self.clips)
        return tuple(sorted(f"s{number % self.subjects:02d}/{number:04d}" for number in numbers))

    @property
    def frame_indices(self) -> Tensor:
        """Which of a clip's frames each segment shows, int64 [segments, 20]."""
        starts_s = np.arange(self.segments) * SHIFT_S
        times_s = np.arange(0, starts_s[-1] + SEGMENT_S, 1 / FRAMES_A_SECOND)
        each = [frames_of_segment(times_s, start_s, SEGMENT_S) for start_s in starts_s]
        unique = np.unique(np.stack(each), return_inverse=True)[1]
        return torch.from_numpy(unique.reshape(self.segments, -1).astype(np.int64))

    @property
    def frames(self) -> int:
        """Unique frames of a clip."""
        return int(self.frame_indices.max()) + 1

    def tasks(self) -> list[SplitTask]:
        """Return a split a subject; the next subject chooses epochs."""
        return [self._task(held_out) for held_out in range(self.subjects)]

    def _task(self, held_out: int) -> SplitTask:
        test, validator = f"s{held_out:02d}/", f"s{(held_out + 1) % self.subjects:02d}/"
        rest = [clip_id for clip_id in self.clip_ids if not clip_id.startswith(test)]
        labelled = [(clip_id, label_of(clip_id)) for clip_id in rest]
        return SplitTask(
            split_id=f"loso-s{held_out:02d}",
            repeat=0,
            seed=held_out,
            classes=CLASSES,
            train=tuple(pair for pair in labelled if not pair[0].startswith(validator)),
            validation=tuple(pair for pair in labelled if pair[0].startswith(validator)),
            test=tuple(clip_id for clip_id in self.clip_ids if clip_id.startswith(test)),
        )


def label_of(clip_id: str) -> int:
    """Return a clip's class."""
    return int(clip_id.rpartition("/")[2]) // 3 % len(CLASSES)


def wall_of(task: SplitTask, clips: Mapping[str, ClipTensors]) -> Wall:
    """Return a split's way to clips that are held in memory."""
    return Wall(
        clips=ClipCache(clips.__getitem__, limit_bytes=2**62),
        allowed={
            **dict.fromkeys(FIT_PHASES, frozenset(task.train_ids)),
            **dict.fromkeys(CHOOSE_PHASES, frozenset(task.validation_ids)),
            TEST_PHASE: frozenset(task.test),
        },
    )


def make_clips(
    corpus: Corpus, frames: Callable[[str, int], Tensor], audio: Callable[[str, int], Tensor]
) -> dict[str, ClipTensors]:
    """Return clips by id; `frames` and `audio` make so many of a clip."""
    indices = corpus.frame_indices
    return {
        clip_id: ClipTensors(
            clip_id=clip_id,
            frames=frames(clip_id, corpus.frames),
            audio=audio(clip_id, corpus.segments),
            frame_indices=indices,
        )
        for clip_id in corpus.clip_ids
    }


def images(clip_id: str, count: int, side: int) -> Tensor:
    """Return uint8 [count, 3, side, side]: noise on a ground that tells the class."""
    generator = torch.Generator().manual_seed(seed_for(0, clip_id, str(side)))
    noise = torch.randint(0, 128, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    ground = torch.tensor([20 * (label_of(clip_id) * k % 6) for k in (1, 2, 4)], dtype=torch.uint8)
    return noise + ground.view(1, 3, 1, 1)


def features(clip_id: str, count: int, size: int, device: torch.device) -> Tensor:
    """Return float16 [count, size] as fc7 leaves its ReLU; some entries tell the class."""
    generator = torch.Generator(device).manual_seed(seed_for(0, clip_id))
    values = torch.randn(count, size, generator=generator, device=device)
    values[:, label_of(clip_id) :: len(CLASSES)] += 0.5
    return values.relu_().half()
