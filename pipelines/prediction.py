"""Trained networks -> class probabilities and attention weights of the segments of one clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
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
    probabilities = torch.softmax(scores.double(), dim=1).cpu().numpy()
    return segment_predictions(clip, probabilities, attention)


def segment_predictions(
    clip: ClipTensors,
    probabilities: npt.NDArray[np.float64],
    attention: Sequence[AttentionWeights] | None = None,
) -> list[SegmentPrediction]:
    """Return the predictions of a clip's segments.

    Args:
        clip: the clip.
        probabilities: [segments, classes], or [1, classes] where the clip is predicted as a whole:
            each of its segments then carries the clip's prediction.
        attention: one a segment; None where nothing attended.

    Raises:
        FloatingPointError: a probability is not finite.
    """
    if not np.isfinite(probabilities).all():
        raise FloatingPointError(f"non-finite probabilities for {clip.clip_id}")
    each: Sequence[AttentionWeights] = [{}] * clip.segments if attention is None else attention
    rows = np.broadcast_to(probabilities, (len(each), probabilities.shape[1])).tolist()
    return [
        SegmentPrediction(
            clip_id=clip.clip_id,
            segment_index=number,
            probabilities=tuple(row),
            attention=weights,
        )
        for number, row, weights in zip(
            clip.numbers or range(clip.segments), rows, each, strict=True
        )
    ]
