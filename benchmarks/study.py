"""A whole LOSO study by this project, from shards to predictions, and its twin for plain PyTorch.

`python -m benchmarks.study FOLDER PRECISION` runs it in a process of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks import plain_features, plain_study
from benchmarks.feature_corpus import clips_of
from benchmarks.plain_study import Probabilities
from benchmarks.study_corpus import EMOTIONS, VGG19, Corpus, StudySize, read_corpus
from harness.leakage import allowed_reads
from harness.protocols import ProtocolConfig
from harness.splits import plan_splits
from pipelines.clip_reading import ClipPlaces, ClipReader
from pipelines.config import PathsConfig, PipelineConfig
from pipelines.device import exact_device
from pipelines.extract import FeaturePlan, FeatureWorker
from pipelines.feature_store import AUDIO, FRAMES, FeaturesConfig
from pipelines.inputs import ClipCache, Wall, to_tensors
from pipelines.networks.backbone import ModelConfig, backbone_class
from pipelines.networks.fusion import FusionConfig
from pipelines.session import ClusterConfig
from pipelines.split_task import SplitTask, seed_for
from pipelines.training import SplitTraining
from pipelines.training_config import TrainingConfig

FEATURE_TYPES = {"float32": "float32", "bfloat16": "float16"}
"""Precision -> how the feature store keeps features."""


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
        told = worker({"clip_id": clip_id, "key": key, "kinds": kinds})
        assert not told["refused"] + told["stopped"], told


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
    plan = plan_splits(clips_of(corpus.outcomes), {}, ProtocolConfig(), corpus.size.seed)
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


def plain_clips(corpus: Corpus) -> dict[str, plain_features.Clip]:
    """Return the clips in memory, faces shrunk and audio images rescaled: that costs it nothing."""
    face_size = backbone_class(corpus.size.backbone).face_size
    clips = {}
    for clip_id, key in corpus.keys.items():
        tensors = to_tensors(corpus.shards.read(key, clip_id), face_size=face_size, rescaling="row")
        clips[clip_id] = plain_features.Clip(tensors.frames, tensors.audio, tensors.frame_indices)
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


def main() -> None:
    """Run the study of the corpus in a folder, and write its probabilities there."""
    folder, precision = Path(sys.argv[1]), sys.argv[2]
    found = run_study(read_corpus(folder), precision)
    (folder / f"ours-{precision}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
