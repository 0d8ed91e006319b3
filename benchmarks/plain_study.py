"""The study as one writes it without this project: plain PyTorch and torchvision, nothing of ours.

The frozen trunk gives 4096 numbers a face and a sound; an LSTM runs over the 20 faces of a segment.
Stage 1 trains a network for each modality, stage 2 the attention fusion on both of them frozen; of
each network the epoch with the lowest loss on the inner subject is kept. Clips, splits and seeds
come from outside, so that another implementation can be asked for the same predictions.

`python -m benchmarks.plain_study FOLDER SPLIT` trains one split on features that lie in FOLDER.
"""

from __future__ import annotations

import copy
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.plain_features import Features, FeaturesOnDisk, Segment

_Network = TypeVar("_Network", bound=nn.Module)
Vectors = Callable[[Sequence[Segment]], tuple[Tensor, Tensor]]
"""What stage 1 makes of segments: audio [n, feature_size] and visual [n, hidden]."""
Probabilities = dict[str, list[list[float]]]
"""Test clip -> segments -> classes."""


@dataclass(frozen=True)
class Split:
    """Who is learned from, who chooses the epoch, who is tested, and where randomness starts."""

    split_id: str
    train: list[tuple[str, int]]
    """Clips with their labels."""
    validation: list[tuple[str, int]]
    test: list[str]
    seeds: dict[str, int]
    """Of the weights of `audio`, `visual` and `fusion`, and of the order of their batches."""


@dataclass(frozen=True)
class Settings:
    """Sizes."""

    classes: int
    feature_size: int
    lstm_hidden: int
    attention_size: int
    segments: int
    """Of each clip."""
    epochs: int
    """Of each network."""
    clips_per_batch: int
    """Of stage 1."""
    segments_per_batch: int
    """Of stage 2."""
    rate: float
    """Of learning."""
    keep_vectors: bool
    """Stage 2 computes what stage 1 makes of a segment once, instead of in every batch."""
    autocast: bool = False
    """The LSTM computes in bfloat16."""
    device: str = "cpu"
    """Of the networks; trunk and clips are put there by whoever makes them."""


# Networks


class AudioNetwork(nn.Module):
    """Trunk's feature -> class scores."""

    def __init__(self, features: Features, settings: Settings) -> None:
        super().__init__()
        self.features = features
        self.output = nn.Linear(settings.feature_size, settings.classes)

    def vectors(self, segments: Sequence[Segment]) -> Tensor:
        """Return [n, feature_size]."""
        return self.features.audio(segments)

    def forward(self, segments: Sequence[Segment]) -> Tensor:
        """Return class scores [n, classes]."""
        scores: Tensor = self.output(self.vectors(segments))
        return scores


class VisualNetwork(nn.Module):
    """Trunk's features of 20 faces -> LSTM -> its last state -> class scores."""

    def __init__(self, features: Features, settings: Settings) -> None:
        super().__init__()
        self.features, self.autocast = features, settings.autocast
        hidden = settings.lstm_hidden
        self.lstm = nn.LSTM(settings.feature_size, hidden, batch_first=True)
        self.lstm.get_parameter("bias_hh_l0").data[hidden : 2 * hidden] = 1.0  # open forget gate
        self.output = nn.Linear(hidden, settings.classes)

    def vectors(self, segments: Sequence[Segment]) -> Tensor:
        """Return [n, hidden]."""
        faces = self.features.visual(segments)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            _, (hidden, _) = self.lstm(faces)
        last: Tensor = hidden[-1].float()
        return last

    def forward(self, segments: Sequence[Segment]) -> Tensor:
        """Return class scores [n, classes]."""
        scores: Tensor = self.output(self.vectors(segments))
        return scores


class AttentionFusion(nn.Module):
    """Attention over the two modalities (equations 5-7) -> class scores."""

    def __init__(self, vectors: Vectors, settings: Settings) -> None:
        super().__init__()
        self.vectors = vectors
        sizes = (settings.feature_size, settings.lstm_hidden)
        common, differ = min(sizes), sizes[0] != sizes[1]
        self.audio = nn.Linear(sizes[0], common) if differ else nn.Identity()
        self.visual = nn.Linear(sizes[1], common) if differ else nn.Identity()
        self.hidden = nn.Linear(common, settings.attention_size)
        start = torch.randn(settings.attention_size) / math.sqrt(settings.attention_size)
        self.context = nn.Parameter(start)
        self.output = nn.Linear(common, settings.classes)

    def forward(self, segments: Sequence[Segment]) -> Tensor:
        """Return class scores [n, classes]."""
        audio, visual = self.vectors(segments)
        both = torch.stack([self.audio(audio), self.visual(visual)], dim=1)
        beta = torch.softmax(torch.tanh(self.hidden(both)) @ self.context, dim=1)
        scores: Tensor = self.output((beta[:, :, None] * both).sum(1))
        return scores


# Training


def run_study(
    features: Features, splits: Sequence[Split], settings: Settings
) -> dict[str, Probabilities]:
    """Train one split after the other; return split -> probabilities of its test segments."""
    return {split.split_id: run_split(features, split, settings) for split in splits}


def run_split(features: Features, split: Split, settings: Settings) -> Probabilities:
    """Train both stages of one split and predict its test segments."""
    audio = _seeded(split, "audio", settings, lambda: AudioNetwork(features, settings))
    visual = _seeded(split, "visual", settings, lambda: VisualNetwork(features, settings))

    def segments_of(clip: str) -> list[Segment]:
        return [(clip, number) for number in range(settings.segments)]

    def labelled(clips: Sequence[tuple[str, int]]) -> list[list[tuple[Segment, int]]]:
        return [[(segment, label) for segment in segments_of(clip)] for clip, label in clips]

    train, validation = labelled(split.train), labelled(split.validation)
    for name, network in (("audio", audio), ("visual", visual)):
        _fit(network, train, validation, settings.clips_per_batch, split, name, settings)

    @torch.no_grad()
    def of_stage1(segments: Sequence[Segment]) -> tuple[Tensor, Tensor]:
        return audio.vectors(segments), visual.vectors(segments)

    vectors: Vectors = of_stage1
    if settings.keep_vectors:
        clips = [clip for clip, _ in split.train + split.validation] + split.test
        vectors = _kept(of_stage1, [segment for clip in clips for segment in segments_of(clip)])
    fusion = _seeded(split, "fusion", settings, lambda: AttentionFusion(vectors, settings))
    single = [[pair] for pair in chain(*train)]
    _fit(fusion, single, validation, settings.segments_per_batch, split, "fusion", settings)
    with torch.no_grad():
        return {
            clip: torch.softmax(fusion(segments_of(clip)).double(), dim=1).tolist()
            for clip in split.test
        }


def _seeded(split: Split, name: str, settings: Settings, build: Callable[[], _Network]) -> _Network:
    torch.manual_seed(split.seeds[name])
    return build().to(settings.device)


def _kept(vectors: Vectors, segments: Sequence[Segment]) -> Vectors:
    audio, visual = vectors(segments)
    row_of = {segment: row for row, segment in enumerate(segments)}

    def look_up(wanted: Sequence[Segment]) -> tuple[Tensor, Tensor]:
        rows = [row_of[segment] for segment in wanted]
        return audio[rows], visual[rows]

    return look_up


def _fit(
    network: nn.Module,
    groups: Sequence[Sequence[tuple[Segment, int]]],
    held_out: Sequence[Sequence[tuple[Segment, int]]],
    groups_per_batch: int,
    split: Split,
    name: str,
    settings: Settings,
) -> None:
    """Train with Adam; a group is what the order of an epoch keeps together."""
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.rate)
    shuffle = torch.Generator().manual_seed(split.seeds[f"order of {name}"])
    best_loss, best_state = math.inf, network.state_dict()
    for _ in range(settings.epochs):
        network.train()
        order = torch.randperm(len(groups), generator=shuffle).tolist()
        for start in range(0, len(order), groups_per_batch):
            batch = chain(*(groups[number] for number in order[start : start + groups_per_batch]))
            optimiser.zero_grad()
            _loss(network, list(batch)).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        network.eval()
        with torch.no_grad():
            loss = float(_loss(network, list(chain(*held_out))))
        if loss < best_loss:
            best_loss, best_state = loss, copy.deepcopy(network.state_dict())
    network.load_state_dict(best_state)


def _loss(network: nn.Module, pairs: Sequence[tuple[Segment, int]]) -> Tensor:
    segments, labels = zip(*pairs, strict=True)
    scores = network(segments)
    return cross_entropy(scores, torch.tensor(labels, device=scores.device))


def vote(segments: Sequence[Sequence[float]]) -> int:
    """Return the class of most segments; among equals the most probable one."""
    probabilities = torch.tensor(segments, dtype=torch.float64)
    votes = torch.bincount(probabilities.argmax(1), minlength=probabilities.shape[1])
    return int((votes + probabilities.mean(0) / 2).argmax())


# One process per split


def write_task(folder: Path, splits: Sequence[Split], settings: Settings) -> None:
    """Write what the processes of the splits read."""
    task = {"settings": asdict(settings), "splits": {s.split_id: asdict(s) for s in splits}}
    (folder / "study.json").write_text(json.dumps(task))


def main() -> None:
    """Train one split on the features in a folder, and write its probabilities there."""
    folder, split_id = Path(sys.argv[1]), sys.argv[2]
    task: dict[str, Any] = json.loads((folder / "study.json").read_text())
    split, settings = Split(**task["splits"][split_id]), Settings(**task["settings"])
    found = run_split(FeaturesOnDisk(folder), split, settings)
    (folder / f"{split_id}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
