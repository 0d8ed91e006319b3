"""Trained networks -> class probabilities and attention weights of the segments of one clip."""

from __future__ import annotations

import torch

from pipelines.inputs import ClipTensors
from pipelines.networks.fusion import Fused, FusionNetwork
from pipelines.segment_networks import SegmentNetworks
from pipelines.split_task import AttentionWeights, SegmentPrediction


@torch.no_grad()
def predict_segments(
    networks: SegmentNetworks, fusion: FusionNetwork | None, clip: ClipTensors
) -> list[SegmentPrediction]:
    """Predict the segments of one clip, alone: no other clip can matter.

    Args:
        networks: of stage 1, frozen.
        fusion: of stage 2; None where there is one modality, whose network then predicts.
        clip: the clip as the networks were trained on clips.

    Raises:
        FloatingPointError: a probability is not finite.
    """
    if fusion is None:
        (name,) = networks.networks
        scores = networks.scores(name, [clip])
        attention: list[AttentionWeights] = [{}] * clip.segments
    else:
        fused: Fused = fusion(networks.segment_vectors([clip], states=fusion.of_states))
        scores, attention = fused.scores, fused.attention_of_segments()
    probabilities = torch.softmax(scores.double(), dim=1).cpu()
    if not torch.isfinite(probabilities).all():
        raise FloatingPointError(f"non-finite probabilities for {clip.clip_id}")
    # Where a clip is fused as a whole each of its segments carries the clip's prediction.
    rows = probabilities.expand(len(attention), -1).tolist()
    return [
        SegmentPrediction(
            clip_id=clip.clip_id,
            segment_index=number,
            probabilities=tuple(row),
            attention=weights,
        )
        for number, row, weights in zip(
            clip.numbers or range(clip.segments), rows, attention, strict=True
        )
    ]
