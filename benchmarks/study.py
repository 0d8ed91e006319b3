"""A whole LOSO study by this project, from shards to predictions, and its twin for plain PyTorch.

`python -m benchmarks.study FOLDER PRECISION` runs it in a process of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torchvision

from benchmarks import plain_study
from benchmarks.plain_study import Probabilities
from harness.leakage import allowed_reads
from harness.splits import ProtocolConfig, plan_splits
from pipelines.clip_reading import ClipPlaces, ClipReader
from pipelines.config import PathsConfig, PipelineConfig
from pipelines.device import exact_device
from pipelines.extract import FeaturePlan, FeatureWorker
from pipelines.feature_store import AUDIO, FRAMES, FeaturesConfig
from pipelines.inputs import ClipCache, Wall, to_tensors
from pipelines.networks.backbone import AUDIO_IMAGE, ModelConfig, backbone_class
from pipelines.networks.fusion import FusionConfig
from pipelines.networks.torchvision_trunks import Vgg19Backbone
from pipelines.records import CROP_SIZE, ClipOutcome, Segment
from pipelines.segments import frames_of_segment
from pipelines.session import ClusterConfig
from pipelines.shard_tables import ClipFrames
from pipelines.shards import ShardFolder
from pipelines.split_task import SplitTask, seed_for
from pipelines.training import SplitTraining
from pipelines.training_config import TrainingConfig

EMOTIONS = ("anger", "happiness")
FRAME_RATE = 25
"""Of eNTERFACE'05."""
SEGMENT_S, SHIFT_S = 0.655, 0.3
VGG19 = "benchmarks.study:Vgg19At64"
FEATURE_TYPES = {"float32": "float32", "bfloat16": "float16"}
"""Precision -> how the feature store keeps features."""


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
        )
        for number, frame_indices in enumerate(_frame_indices(size.segments))
    ]
    return frames, segments


# Ours


def run_study(corpus: Corpus, precision: str) -> dict[str, Probabilities]:
    """Make the features of a corpus in an empty store, then train and predict split by split."""
    with (
        tempfile.TemporaryDirectory(dir=corpus.folder) as data,
        _as_in_a_trial(),
    ):
        config = configured(corpus, precision, data)
        plan = FeaturePlan(config)
        _extract(plan, corpus)
        places = ClipPlaces(
            shards=str(corpus.shards.root),
            audio_features=str(plan.folders[AUDIO].root),
            frame_features=str(plan.folders[FRAMES].root),
        )
        clips = ClipCache(ClipReader(places=places, keys=corpus.keys), 2**31)
        return {task.split_id: _run_split(task, clips, config) for task in tasks(corpus)}


def configured(corpus: Corpus, precision: str, data: str) -> PipelineConfig:
    """Return the settings of this project's side."""
    size = corpus.size
    return PipelineConfig(
        corpus=None,
        paths=PathsConfig(data=data),
        model=ModelConfig(
            backbone=size.backbone,
            weights=str(corpus.weights) if size.backbone == VGG19 else "none",
            lstm_hidden=size.lstm_hidden,
            dropout=0.0,
        ),
        fusion=FusionConfig(attention_size=size.attention_size, dropout=0.0),
        training=TrainingConfig(
            trunk="frozen",
            precision=precision,
            audio_epochs=size.epochs,
            visual_epochs=size.epochs,
            fusion_epochs=size.epochs,
            clips_per_batch=size.clips_per_batch,
            segments_per_batch=size.segments_per_batch,
            head_rate=size.rate,
        ),
        features=FeaturesConfig(dtype=FEATURE_TYPES[precision]),
        cluster=ClusterConfig(extract_cpus=torch.get_num_threads()),
        seed=size.seed,
    )


def _extract(plan: FeaturePlan, corpus: Corpus) -> None:
    worker = FeatureWorker(
        recipe=plan.recipe,
        digest=plan.digest,
        shards=str(corpus.shards.root),
        folders={kind: str(folder.root) for kind, folder in plan.folders.items()},
        dtype=plan.dtype,
        rescaling=plan.rescaling,
        face_size=plan.face_size,
    )
    kinds = ",".join(plan.folders)
    for clip_id, key in corpus.keys.items():
        problem = worker({"clip_id": clip_id, "key": key, "kinds": kinds})["problem"]
        assert not problem, problem


def _run_split(task: SplitTask, clips: ClipCache, config: PipelineConfig) -> Probabilities:
    allowed = allowed_reads(task.train_ids, task.validation_ids, task.test)
    result = SplitTraining(
        task,
        Wall(clips=clips, allowed=allowed),
        model=config.model,
        fusion=config.fusion,
        training=config.training,
        device=torch.device("cpu"),
    ).run()
    probabilities: Probabilities = {clip_id: [] for clip_id in task.test}
    for segment in result.segments:
        probabilities[segment.clip_id].append(list(segment.probabilities))
    return probabilities


@contextmanager
def _as_in_a_trial() -> Iterator[None]:
    """Compute with what fixes a prediction to the bit, which costs time."""
    before = torch.are_deterministic_algorithms_enabled()
    exact_device(torch.get_num_threads(), on_gpu=False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def tasks(corpus: Corpus) -> list[SplitTask]:
    """Return the splits of the study, labels where they are learned from or chosen by."""
    plan = plan_splits(corpus.outcomes, ProtocolConfig(), corpus.size.seed)
    label_of = {o.clip_id: EMOTIONS.index(o.emotion) for o in corpus.outcomes}

    def labelled(clip_ids: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
        return tuple((clip_id, label_of[clip_id]) for clip_id in clip_ids)

    return [
        SplitTask(
            split_id=split.split_id,
            repeat=split.repeat,
            seed=split.seed,
            classes=EMOTIONS,
            train=labelled(split.train),
            validation=labelled(split.validation),
            test=split.test,
        )
        for split in plan.splits
    ]


# What plain PyTorch is given of the same study


def plain_clips(corpus: Corpus) -> dict[str, plain_study.Clip]:
    """Return the clips in memory, faces shrunk and audio images rescaled: that costs it nothing."""
    face_size = backbone_class(corpus.size.backbone).face_size
    clips = {}
    for clip_id, key in corpus.keys.items():
        tensors = to_tensors(corpus.shards.read(key, clip_id), face_size=face_size, rescaling="row")
        clips[clip_id] = plain_study.Clip(tensors.frames, tensors.audio, tensors.frame_indices)
    return clips


def plain_splits(corpus: Corpus) -> list[plain_study.Split]:
    """Return the splits, with the seeds from which ours start."""
    return [
        plain_study.Split(
            split_id=task.split_id,
            train=list(task.train),
            validation=list(task.validation),
            test=list(task.test),
            seeds={
                **{name: seed_for(task.seed, name) for name in ("audio", "visual", "fusion")},
                **{
                    f"order of {name}": seed_for(task.seed, name, "fit")
                    for name in ("audio", "visual", "fusion")
                },
            },
        )
        for task in tasks(corpus)
    ]


def plain_settings(size: StudySize, *, keep_vectors: bool = False) -> plain_study.Settings:
    """Return its sizes."""
    return plain_study.Settings(
        classes=len(EMOTIONS),
        feature_size=backbone_class(size.backbone).feature_size,
        lstm_hidden=size.lstm_hidden,
        attention_size=size.attention_size,
        segments=size.segments,
        epochs=size.epochs,
        clips_per_batch=size.clips_per_batch,
        segments_per_batch=size.segments_per_batch,
        rate=size.rate,
        keep_vectors=keep_vectors,
    )


def trunk_seed(size: StudySize) -> int:
    """Return the seed of the frozen trunk's random weights."""
    return seed_for(size.seed, "trunk")


# A process of its own


def write_corpus(corpus: Corpus) -> None:
    """Write what a process needs to find the corpus."""
    told = {"size": asdict(corpus.size), "outcomes": [asdict(o) for o in corpus.outcomes]}
    (corpus.folder / "corpus.json").write_text(json.dumps(told))


def read_corpus(folder: Path) -> Corpus:
    """Read what `write_corpus` wrote."""
    told = json.loads((folder / "corpus.json").read_text())
    outcomes = tuple(ClipOutcome(**outcome) for outcome in told["outcomes"])
    return Corpus(folder, StudySize(**told["size"]), outcomes)


def main() -> None:
    """Run the study of the corpus in a folder, and write its probabilities there."""
    folder, precision = Path(sys.argv[1]), sys.argv[2]
    found = run_study(read_corpus(folder), precision)
    (folder / f"ours-{precision}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
