"""The rival: a study as one writes it first, with the frozen trunk in every forward pass.

The same networks, seeds, batches, choice of epochs and optimiser as `pipelines.training`, so that
the predictions can be compared; none of its code in the loops.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipelines.inputs import ClipTensors
from pipelines.networks.backbone import Backbone, ModelConfig
from pipelines.networks.fusion import FusionConfig, FusionNetwork, SegmentVectors
from pipelines.networks.recognisers import AudioNetwork, VisualNetwork
from pipelines.split_task import SplitTask, seed_for
from pipelines.training_config import TrainingConfig

Score = Callable[[Sequence[str]], Tensor]


@dataclass
class PlainLoop:
    """One split after another; clips are pixels."""

    trunk: Backbone
    """Frozen, in evaluation."""
    clips: Mapping[str, ClipTensors]
    """On the device."""
    model: ModelConfig
    fusion: FusionConfig
    training: TrainingConfig
    device: torch.device

    def study(self, tasks: Sequence[SplitTask]) -> Tensor:
        """Return class probabilities of the test segments of all splits, in order."""
        return torch.cat([self._split(task) for task in tasks])

    def _split(self, task: SplitTask) -> Tensor:
        classes, seed = len(task.classes), task.seed
        labels = dict(task.train + task.validation)
        torch.manual_seed(seed_for(seed, "audio"))
        audio = AudioNetwork(self.model, classes, trained="frozen").to(self.device)
        torch.manual_seed(seed_for(seed, "visual"))
        visual = VisualNetwork(self.model, classes, trained="frozen").to(self.device)
        torch.manual_seed(seed_for(seed, "fusion"))
        sizes = audio.feature_size, visual.feature_size
        fusion = FusionNetwork(*sizes, classes, self.fusion).to(self.device)
        weights = self._class_weights(task)

        def labels_of(clip_ids: Sequence[str]) -> Tensor:
            each = [labels[c] for c in clip_ids for _ in range(self.clips[c].segments)]
            return torch.tensor(each, device=self.device)

        rates = {"audio": self.training.audio_epochs, "visual": self.training.visual_epochs}
        scores: dict[str, Score] = {
            "audio": lambda ids: audio.output(self._audio(ids)),
            "visual": lambda ids: visual.output(self._visual(visual, ids)),
        }
        networks: dict[str, nn.Module] = {"audio": audio, "visual": visual}
        for name, epochs in rates.items():
            _train(
                networks[name],
                epochs,
                self.training.head_rate,
                seed_for(seed, name, "fit"),
                [clip_id for clip_id, _ in task.train],
                [clip_id for clip_id, _ in task.validation],
                self.training.clips_per_batch,
                scores[name],
                labels_of,
                weights,
            )
        with torch.no_grad():
            vectors = {c: (self._audio([c]), self._visual(visual, [c])) for c in labels}
            vectors |= {c: (self._audio([c]), self._visual(visual, [c])) for c in task.test}
        rows = {
            f"{c}#{k}": (audio_row, visual_row)
            for c, pair in vectors.items()
            for k, (audio_row, visual_row) in enumerate(zip(*pair, strict=True))
        }

        def fused(names: Sequence[str]) -> Tensor:
            each = [rows[name] for name in names]
            order = torch.arange(len(each), device=self.device)
            audio_rows, visual_rows = (torch.stack([row[k] for row in each]) for k in (0, 1))
            scores: Tensor = fusion(SegmentVectors(audio_rows, visual_rows, order)).scores
            return scores

        def segments_of(pairs: Sequence[tuple[str, int]]) -> list[str]:
            return [f"{c}#{k}" for c, _ in pairs for k in range(self.clips[c].segments)]

        _train(
            fusion,
            self.training.fusion_epochs,
            self.training.head_rate,
            seed_for(seed, "fusion", "fit"),
            segments_of(task.train),
            segments_of(task.validation),
            self.training.segments_per_batch,
            fused,
            lambda names: torch.tensor(
                [labels[name.partition("#")[0]] for name in names], device=self.device
            ),
            weights,
        )
        with torch.no_grad():
            test = [f"{c}#{k}" for c in task.test for k in range(self.clips[c].segments)]
            return torch.softmax(fused(test).double(), dim=1).cpu()

    def _audio(self, clip_ids: Sequence[str]) -> Tensor:
        with torch.no_grad():
            features: Tensor = self.trunk(torch.cat([self.clips[c].audio for c in clip_ids]))
        return features

    def _visual(self, visual: VisualNetwork, clip_ids: Sequence[str]) -> Tensor:
        """Every frame of every segment through the trunk, then torch's LSTM."""
        clips = [self.clips[c] for c in clip_ids]
        frames = torch.cat([clip.frames[clip.frame_indices.flatten()] for clip in clips])
        with torch.no_grad():
            features = self.trunk(frames)
        steps = clips[0].frame_indices.shape[1]
        lstm = visual.temporal.get_submodule("lstm")
        last: Tensor = lstm(features.view(-1, steps, features.shape[1]))[0][:, -1]
        return last

    def _class_weights(self, task: SplitTask) -> Tensor:
        counts = torch.zeros(len(task.classes), dtype=torch.float64)
        for clip_id, label in task.train:
            counts[label] += self.clips[clip_id].segments
        weights = torch.where(counts > 0, 1.0 / counts.clamp(min=1), 0.0)
        return (weights * (counts > 0).sum() / weights.sum()).float().to(self.device)


def _train(
    network: nn.Module,
    epochs: int,
    rate: float,
    seed: int,
    train: Sequence[str],
    validation: Sequence[str],
    batch_size: int,
    scores: Score,
    labels_of: Callable[[Sequence[str]], Tensor],
    weights: Tensor,
) -> None:
    """Train with Adam as it comes; keep the epoch with the lowest validation loss."""
    adam = torch.optim.Adam(network.parameters(), lr=rate)
    shuffle = torch.Generator().manual_seed(seed)
    best_loss, best_state = float("inf"), copy.deepcopy(network.state_dict())
    for _ in range(epochs):
        order = torch.randperm(len(train), generator=shuffle).tolist()
        for start in range(0, len(order), batch_size):
            batch = [train[number] for number in order[start : start + batch_size]]
            adam.zero_grad()
            loss = cross_entropy(scores(batch), labels_of(batch), weight=weights)
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
        with torch.no_grad():
            held_out = torch.cat([scores([name]) for name in validation])
            held_out_loss = float(cross_entropy(held_out, labels_of(validation)))
        if held_out_loss < best_loss:
            best_loss, best_state = held_out_loss, copy.deepcopy(network.state_dict())
    network.load_state_dict(best_state)
