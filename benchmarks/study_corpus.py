"""The corpus of a study that is measured: clips as shards on a disk, and weights in a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torchvision

from pipelines.networks.backbone import AUDIO_IMAGE
from pipelines.networks.torchvision_trunks import Vgg19Backbone
from pipelines.records import CROP_SIZE, ClipOutcome, Segment
from pipelines.segments import frames_of_segment
from pipelines.shard_tables import ClipFrames
from pipelines.shards import ShardFolder
from pipelines.split_task import seed_for

EMOTIONS = ("anger", "happiness")
FRAME_RATE = 25
"""Of eNTERFACE'05."""
SEGMENT_S, SHIFT_S = 0.655, 0.3
VGG19 = "benchmarks.study_corpus:Vgg19At64"


class Vgg19At64(Vgg19Backbone):
    """VGG19 on faces of 64 pixels, so that a study with it in every forward pass takes minutes."""

    face_size = 64


@dataclass(frozen=True)
class StudySize:
    """What is done, by either side."""

    subjects: int = 4
    clips_per_subject: int = 2
    segments: int = 7
    epochs: int = 2
    """Of each network."""
    lstm_hidden: int = 4096
    attention_size: int = 64
    clips_per_batch: int = 4
    """Of stage 1."""
    segments_per_batch: int = 32
    """Of stage 2."""
    rate: float = 1e-3
    """Of learning: the one that Adam has by default."""
    backbone: str = VGG19
    seed: int = 0

    @property
    def unique_frames(self) -> int:
        """Frames of a clip that some segment shows."""
        return len(np.unique(np.stack(_frame_indices(self.segments))))

    def describe(self) -> str:
        """Return the work in words."""
        return (
            f"LOSO over {self.subjects} subjects with {self.clips_per_subject} clips of "
            f"{self.segments} segments each ({SEGMENT_S * 1000:.0f} ms every "
            f"{SHIFT_S * 1000:.0f} ms at {FRAME_RATE} frames/s: 20 frames a segment, "
            f"{self.unique_frames} unique ones a clip), an inner validation subject in every split;"
            f" {self.epochs} epochs of each of three networks (audio, visual, attention fusion); "
            "faces and audio images of 64x64 pixels, VGG19 with random weights from a file, "
            f"frozen, fc7; LSTM 4096 -> {self.lstm_hidden}; no dropout; {self.clips_per_batch} "
            f"clips a batch in stage 1, {self.segments_per_batch} segments in stage 2"
        )


@dataclass(frozen=True)
class Corpus:
    """Clips as shards on a disk."""

    folder: Path
    size: StudySize
    outcomes: tuple[ClipOutcome, ...]

    @property
    def weights(self) -> Path:
        """Of VGG19: as ImageNet's would be, in a file."""
        return self.folder / "vgg19.pt"

    @property
    def shards(self) -> ShardFolder:
        """Where they are."""
        return ShardFolder(self.folder / "shards")

    @property
    def keys(self) -> dict[str, str]:
        """clip_id -> key."""
        return {outcome.clip_id: key_of(outcome.clip_id) for outcome in self.outcomes}


def key_of(clip_id: str) -> str:
    """Return the name of a clip's files."""
    return clip_id.replace("/", "-")


def make_corpus(folder: Path, size: StudySize) -> Corpus:
    """Write clips in which dark or bright pictures tell one emotion from the other."""
    corpus = Corpus(folder, size, tuple(_outcome(size, number) for number in range(_clips(size))))
    for outcome in corpus.outcomes:
        corpus.shards.write_clip(key_of(outcome.clip_id), outcome, *_content(outcome, size))
    if size.backbone == VGG19:
        torch.manual_seed(size.seed)
        torch.save(torchvision.models.vgg19(weights=None).state_dict(), corpus.weights)
    return corpus


def _clips(size: StudySize) -> int:
    return size.subjects * size.clips_per_subject


def _outcome(size: StudySize, number: int) -> ClipOutcome:
    subject, take = divmod(number, size.clips_per_subject)
    emotion = EMOTIONS[take % len(EMOTIONS)]
    clip_id = f"s{subject + 1}/{emotion}-{take}"
    return ClipOutcome(clip_id=clip_id, subject=f"s{subject + 1}", emotion=emotion, status="ok")


def _frame_indices(segments: int) -> list[npt.NDArray[np.int32]]:
    seconds = SEGMENT_S + SHIFT_S * (segments - 1)
    times_s = np.arange(np.ceil(seconds * FRAME_RATE)) / FRAME_RATE
    return [frames_of_segment(times_s, SHIFT_S * number, SEGMENT_S) for number in range(segments)]


def _content(outcome: ClipOutcome, size: StudySize) -> tuple[ClipFrames, list[Segment]]:
    random = np.random.default_rng(seed_for(size.seed, outcome.clip_id))
    sign = 1 if outcome.emotion == EMOTIONS[0] else -1
    count = size.unique_frames
    light = 128 + sign * random.uniform(20, 60) + 10 * np.sin(np.arange(count) / 5)
    noise = random.integers(-40, 41, (count, CROP_SIZE, CROP_SIZE, 3), dtype=np.int16)
    frames = ClipFrames(
        times_s=np.arange(count) / FRAME_RATE,
        crops=(noise + light[:, None, None, None].astype(np.int16)).clip(0, 255).astype(np.uint8),
        boxes=np.zeros((count, 4), np.float32),
        detected=np.ones(count, bool),
    )
    # Most of an image is near the low or near the high end of its rows' range.
    images = sign * random.lognormal(size=(size.segments, AUDIO_IMAGE, AUDIO_IMAGE, 3))
    segments = [
        Segment(
            clip_id=outcome.clip_id,
            segment_index=number,
            start_s=SHIFT_S * number,
            mfcc=images[number].astype(np.float16),
            frame_indices=frame_indices,
            pitch_hz=np.zeros(64, np.float16),
            energy_db=np.zeros(64, np.float16),
        )
        for number, frame_indices in enumerate(_frame_indices(size.segments))
    ]
    return frames, segments


def write_corpus(corpus: Corpus) -> None:
    """Write what a process needs to find the corpus."""
    told = {"size": asdict(corpus.size), "outcomes": [asdict(o) for o in corpus.outcomes]}
    (corpus.folder / "corpus.json").write_text(json.dumps(told))


def read_corpus(folder: Path) -> Corpus:
    """Read what `write_corpus` wrote."""
    told = json.loads((folder / "corpus.json").read_text())
    outcomes = tuple(ClipOutcome(**outcome) for outcome in told["outcomes"])
    return Corpus(folder, StudySize(**told["size"]), outcomes)
