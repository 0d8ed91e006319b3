"""Stage 2: the fusion network, trained on what the frozen networks of stage 1 make of segments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.fitting import Batch, Fit, Fitted, fit
from pipelines.inputs import CHOOSE_PHASES, FIT_PHASES
from pipelines.networks.fusion import FusionConfig, SegmentVectors
from pipelines.segment_networks import build_fusion
from pipelines.split_clips import SplitClips
from pipelines.split_task import slices
from pipelines.stage1 import Stage1
from pipelines.training_config import TrainingConfig


class Stage2:
    """The fusion network of one split, on top of its stage 1."""

    def __init__(
        self, clips: SplitClips, stage1: Stage1, *, seed: int, fusion: FusionConfig
    ) -> None:
        self.clips, self.stage1 = clips, stage1
        self.training: TrainingConfig = stage1.training
        self.network = build_fusion(stage1, len(clips.classes), fusion, seed=seed)

    def train(self, settings: Fit) -> Fitted:
        """Train the fusion network; stage 1 must be frozen."""
        fit_phase, choose_phase = FIT_PHASES[1], CHOOSE_PHASES[1]
        learned = self._segments(fit_phase, self.clips.train)
        held_out = self._segments(choose_phase, self.clips.validation)

        def batches(order: list[int]) -> Iterable[Batch]:
            for items in slices(order, self._batch_size(learned)):
                yield self._batch(learned, items)

        return fit(
            self.network,
            settings,
            rates=[(self.training.head_rate, list(self.network.parameters()))],
            items=len(learned),
            batches=batches,
            validation=lambda: [self._batch(held_out, range(len(held_out)))] if held_out else [],
        )

    @torch.no_grad()
    def _segments(self, phase: str, clip_ids: Sequence[str]) -> _Segments:
        vectors, labels, sizes = [], [], []
        # Several clips at a time: reading the LSTM's weights takes longer than computing with them.
        for some in slices(clip_ids, self.training.clips_per_batch):
            clips = [self.clips.read(phase, clip_id) for clip_id in some]
            vectors.append(self.stage1.segment_vectors(clips, states=self.network.of_states))
            labels.append(self.clips.segment_labels(clips))
            sizes += [clip.segments for clip in clips]
        return _Segments.join(vectors, labels, sizes if self.network.per_clip else None)

    def _batch_size(self, segments: _Segments) -> int:
        """Return items of a batch: segments, or clips that hold as many where clips are fused."""
        size = self.training.segments_per_batch
        return max(1, round(size * len(segments) / len(segments.labels)))

    def _batch(self, segments: _Segments, items: Sequence[int]) -> Batch:
        return Batch(
            items,
            lambda part: self.network(segments.vectors(part)).scores,
            lambda part: segments.of_items(part),
        )


@dataclass(frozen=True)
class _Segments:
    """Segments as stage 2 sees them, in items: each segment, or all those of a clip."""

    audio: Tensor
    visual: Tensor
    labels: Tensor
    """Of each segment."""
    rows: list[Tensor] | None
    """Rows of each clip; None where every segment is an item of its own."""

    @staticmethod
    def join(
        vectors: Sequence[SegmentVectors], labels: Sequence[Tensor], sizes: list[int] | None
    ) -> _Segments:
        """Put together segments of clips, which are items of `sizes` segments where it is given."""
        if not vectors:
            return _Segments(torch.empty(0), torch.empty(0), torch.empty(0), None)
        rows = None if sizes is None else torch.split(torch.arange(sum(sizes)), sizes)
        return _Segments(
            audio=torch.cat([some.audio for some in vectors]),
            visual=torch.cat([some.visual for some in vectors]),
            labels=torch.cat(list(labels)),
            rows=None if rows is None else list(rows),
        )

    def __len__(self) -> int:
        return len(self.labels) if self.rows is None else len(self.rows)

    def vectors(self, items: Sequence[int]) -> SegmentVectors:
        """Return the vectors of some items, each clip's segments together."""
        device = self.labels.device
        if self.rows is None:
            rows = torch.tensor(list(items), device=device)
            return SegmentVectors(
                self.audio[rows], self.visual[rows], torch.arange(len(rows), device=device)
            )
        each = [self.rows[item] for item in items]
        rows = torch.cat(each).to(device)
        sizes = torch.tensor([len(of_clip) for of_clip in each])
        clip = torch.arange(len(each)).repeat_interleave(sizes).to(device)
        return SegmentVectors(self.audio[rows], self.visual[rows], clip)

    def of_items(self, items: Sequence[int]) -> Tensor:
        """Return one label an item."""
        first = list(items) if self.rows is None else [int(self.rows[item][0]) for item in items]
        return self.labels[torch.tensor(first, device=self.labels.device)]
