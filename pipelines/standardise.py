"""Audio images by mean and deviation over the training clips: a third way to 0-255.

Fitted anew by every split, on the clips that it trains on; it carries their ids, which the leak
guards check.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipelines.inputs import ClipTensors

DEVIATIONS = 4.0
"""What lies so many deviations below the mean is 0, above it 255; the mean is in the middle."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Standardiser:
    """Mean and deviation of each coefficient row of each channel."""

    fitted_on: tuple[str, ...]
    """Ids of the clips that it has seen."""
    mean: Tensor
    """float64 [3, rows, 1]."""
    deviation: Tensor
    """float64 [3, rows, 1]; 0 where a row never varied."""

    def __call__(self, clip: ClipTensors) -> ClipTensors:
        """Return a clip of unscaled audio images with uint8 ones; what never varied is 128."""
        steps = 127.5 / DEVIATIONS / self.deviation.clamp(min=torch.finfo(torch.float32).tiny)
        values = (clip.audio.double() - self.mean) * steps.where(self.deviation > 0, 0.0)
        scaled = (values + 127.5).round().clamp(0, 255).to(torch.uint8)
        return replace(clip, audio=scaled)


def fit_standardiser(clips: Iterable[ClipTensors]) -> Standardiser:
    """Take mean and deviation over all segments and frames of clips with unscaled audio images."""
    fitted_on, count = [], 0
    total, squares = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for clip in clips:
        values = clip.audio.double()
        fitted_on.append(clip.clip_id)
        count += values.shape[0] * values.shape[-1]
        total = total + values.sum(dim=(0, -1), keepdim=True)[0]
        squares = squares + values.square().sum(dim=(0, -1), keepdim=True)[0]
    mean = total / count
    variance = (squares / count - mean.square()).clamp(min=0)
    # Half precision and summing leave a trace of a constant: it would be blown up to full range.
    variance = variance.where(variance > 1e-12 * squares / count, 0.0)
    return Standardiser(fitted_on=tuple(fitted_on), mean=mean, deviation=variance.sqrt())
