"""Clips as the networks read them, and a record of which phase read which clip."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipelines.errors import require_one_of
from pipelines.mfcc import RESCALINGS, rescale
from pipelines.networks.pooling import shrink_crops
from pipelines.records import ClipArrays


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipTensors:
    """One clip on the CPU, ready for the networks."""

    clip_id: str
    crops: Tensor
    """uint8 [n, 3, side, side] RGB, each unique frame once."""
    audio_images: Tensor
    """uint8 [segments, 3, 64, 64]: static, delta, delta-delta in 0-255 (section 3.2); float16 and
    unscaled where the training still has to standardise them."""
    frame_indices: Tensor
    """int64 [segments, 20] into `crops`."""

    @property
    def segments(self) -> int:
        """Number of segments."""
        return len(self.audio_images)

    @property
    def bytes(self) -> int:
        """Memory that the tensors take."""
        tensors = (self.crops, self.audio_images, self.frame_indices)
        return sum(tensor.element_size() * tensor.numel() for tensor in tensors)


def to_tensors(arrays: ClipArrays, *, face_size: int | None, rescaling: str) -> ClipTensors:
    """Shrink the crops and rescale the audio images, as the training wants them.

    With `standardised` the images stay as they are: how to rescale them depends on the split.
    """
    require_one_of("rescaling", rescaling, RESCALINGS)
    crops = torch.from_numpy(arrays.crops.copy()).permute(0, 3, 1, 2)
    if rescaling == "standardised":
        images = torch.from_numpy(arrays.mfcc.copy())
    else:
        images = torch.from_numpy(rescale(arrays.mfcc, rescaling)).round().to(torch.uint8)
    return ClipTensors(
        clip_id=arrays.clip_id,
        crops=shrink_crops(crops, face_size).contiguous(),
        audio_images=images.permute(0, 3, 1, 2).contiguous(),
        frame_indices=torch.from_numpy(arrays.frame_indices.astype("int64")),
    )


class ClipCache:
    """Clips by id, read on demand and kept while they fit: shared by the splits of a process."""

    def __init__(self, read: Callable[[str], ClipTensors], limit_bytes: int) -> None:
        self._read = read
        self._limit = limit_bytes
        self._held: OrderedDict[str, ClipTensors] = OrderedDict()
        self._bytes = 0

    def __getitem__(self, clip_id: str) -> ClipTensors:
        held = self._held.get(clip_id)
        if held is not None:
            self._held.move_to_end(clip_id)
            return held
        clip = self._read(clip_id)
        self._held[clip_id] = clip
        self._bytes += clip.bytes
        while self._bytes > self._limit and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._bytes -= dropped.bytes
        return clip


class WallError(RuntimeError):
    """A phase asked for a clip that it must not see."""


@dataclass
class Wall:
    """The only way from a split to its clips: it knows who may see what, and writes down who did.

    Test clips open only after `freeze()`, and only for the phase `test`; every phase's reads go
    to the ledger, where the leak guards check them.
    """

    clips: ClipCache
    allowed: dict[str, frozenset[str]]
    """Phase -> the clips that it may read."""
    reads: dict[str, set[str]] = field(default_factory=dict)
    frozen: bool = False

    def freeze(self) -> None:
        """Declare every choice made: from here on nothing is fitted."""
        self.frozen = True

    def read(self, phase: str, clip_id: str) -> ClipTensors:
        """Return a clip to a phase.

        Raises:
            WallError: the phase may not see this clip, or not yet.
        """
        if clip_id not in self.allowed.get(phase, frozenset()):
            raise WallError(f"phase {phase} asked for {clip_id}, which is not among its clips")
        if (phase == "test") != self.frozen:
            when = "before" if phase == "test" else "after"
            raise WallError(f"phase {phase} asked for {clip_id} {when} the model was frozen")
        self.reads.setdefault(phase, set()).add(clip_id)
        return self.clips[clip_id]
