"""Variations of a training clip that leave its emotion as it is. Off in the paper's profile."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from pipelines.inputs import ClipTensors

LARGEST_SHIFT = 1 / 16
"""Of a face crop's side, in each direction."""
LARGEST_GAIN = 0.25
"""Change of a clip's contrast, and half of it of its brightness."""
LARGEST_TINT = 0.15
"""Change of each colour's share: light and skin differ between people, expressions don't."""
LARGEST_MASK = 1 / 6
"""Of an audio image's rows, and of its columns (SpecAugment, Park et al. 2019)."""


def augmented(clip: ClipTensors, generator: torch.Generator) -> ClipTensors:
    """Return a variation of a clip: one for all its frames, so that nothing flickers.

    A modality that the training does not use is empty, and stays so.
    """
    return replace(
        clip,
        frames=_vary_faces(clip.frames, generator) if len(clip.frames) else clip.frames,
        audio=_mask_audio(clip.audio, generator),
    )


def draw_segments(clip: ClipTensors, count: int, generator: torch.Generator) -> ClipTensors:
    """Return a clip with `count` of its segments, drawn at random, and only their frames.

    Neighbouring segments are nearly alike: with few of each, a batch holds more different clips
    for the same work. A modality that the training does not use is empty, and stays so.
    """
    if clip.segments <= count:
        return clip
    drawn = torch.randperm(clip.segments, generator=generator)[:count].sort().values
    frames, indices = torch.unique(clip.frame_indices[drawn], return_inverse=True)
    return replace(
        clip,
        frames=clip.frames[frames] if len(clip.frames) else clip.frames,
        audio=clip.audio[drawn] if len(clip.audio) else clip.audio,
        frame_indices=indices,
    )


def _vary_faces(crops: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror, shift and relight crops uint8 [n, 3, side, side]."""
    mirror, gain, offset = torch.rand(3, generator=generator).tolist()
    tint = 1 + LARGEST_TINT * (2 * torch.rand(3, generator=generator) - 1)
    side = crops.shape[-1]
    reach = max(1, round(LARGEST_SHIFT * side))
    down, right = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
    varied = crops.flip(-1) if mirror < 0.5 else crops
    bordered = pad(varied.float(), (reach, reach, reach, reach), mode="replicate")
    varied = bordered[:, :, down : down + side, right : right + side]
    contrast = 1 + LARGEST_GAIN * (2 * gain - 1)
    brightness = 255 * LARGEST_GAIN / 2 * (2 * offset - 1)
    middle = varied.mean()
    varied = (varied - middle) * contrast + middle + brightness
    varied = varied * tint.view(1, 3, 1, 1)
    relit: Tensor = varied.round().clamp(0, 255).to(torch.uint8)
    return relit


def _mask_audio(images: Tensor, generator: torch.Generator) -> Tensor:
    """Grey out a band of rows and a span of columns of each image uint8 [n, 3, rows, columns]."""
    masked = images.clone()
    for image in masked:
        rows, columns = image.shape[-2:]
        first, height = _span(rows, generator)
        image[:, first : first + height] = 128
        first, width = _span(columns, generator)
        image[:, :, first : first + width] = 128
    return masked


def _span(length: int, generator: torch.Generator) -> tuple[int, int]:
    width = int(
        torch.randint(0, max(1, round(LARGEST_MASK * length)) + 1, (1,), generator=generator)
    )
    first = int(torch.randint(0, length - width + 1, (1,), generator=generator))
    return first, width
