"""Clips as the networks read them, and a record of which phase read which clip."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.errors import require_one_of
from pipelines.mfcc import RESCALINGS, rescale
from pipelines.networks.pooling import shrink_crops
from pipelines.records import ClipArrays
from pipelines.split_task import Pieces

FIT_PHASES = ("stage1_fit", "stage2_fit")
"""Phases that learn from clips, by stage."""
CHOOSE_PHASES = ("stage1_choose", "stage2_choose")
"""Phases that choose an epoch by clips, by stage."""
TEST_PHASE = "test"
PART_OF_PHASE = {
    **dict.fromkeys(FIT_PHASES, "train"),
    **dict.fromkeys(CHOOSE_PHASES, "validation"),
    TEST_PHASE: "test",
}
"""Phase -> the part of the split that it may read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipTensors:
    """One clip, ready for the networks: its pixels, or what a frozen trunk made of them."""

    clip_id: str
    frames: Tensor
    """Each unique frame once: face crops uint8 [n, 3, side, side] RGB, or features [n, size]."""
    audio: Tensor
    """Each segment: its audio image uint8 [segments, 3, 64, 64] of static, delta and delta-delta in
    0-255 (section 3.2), float16 and unscaled where the training still has to standardise it; or
    features [segments, size]."""
    frame_indices: Tensor
    """int64 [segments, 20] into `frames`."""
    numbers: tuple[int, ...] = ()
    """Which segments of the clip these are; empty: all."""
    prosody: Tensor = field(default_factory=lambda: torch.empty(0))
    """Each segment: pitch in Hz, 0 where unvoiced, and energy in dB, float16 [segments, 2, 64];
    empty where nobody asks for it."""

    @property
    def segments(self) -> int:
        """Number of segments."""
        return len(self.frame_indices)

    def keep(self, numbers: tuple[int, ...]) -> ClipTensors:
        """Return the clip with some of its segments, and only the frames that these show."""
        rows = torch.tensor(numbers, device=self.frame_indices.device)
        frames, indices = torch.unique(self.frame_indices[rows], return_inverse=True)
        return replace(
            self,
            frames=self.frames[frames] if len(self.frames) else self.frames,
            audio=self.audio[rows] if len(self.audio) else self.audio,
            prosody=self.prosody[rows] if len(self.prosody) else self.prosody,
            frame_indices=indices,
            numbers=numbers,
        )

    def only(self, modality: str) -> ClipTensors:
        """Return the clip with one modality, `audio` or `visual`, and the other empty."""
        nothing = torch.empty(0)
        return (
            replace(self, frames=nothing) if modality == "audio" else replace(self, audio=nothing)
        )

    @property
    def bytes(self) -> int:
        """Memory that the tensors take."""
        tensors = (self.frames, self.audio, self.frame_indices, self.prosody)
        return sum(tensor.element_size() * tensor.numel() for tensor in tensors)


def to_tensors(arrays: ClipArrays, *, face_size: int | None, rescaling: str) -> ClipTensors:
    """Shrink the crops and rescale the audio images, as the training wants them."""
    return ClipTensors(
        clip_id=arrays.clip_id,
        frames=frame_tensor(arrays.crops, face_size),
        audio=audio_tensor(arrays.mfcc, rescaling),
        frame_indices=index_tensor(arrays.frame_indices),
    )


def frame_tensor(crops: npt.NDArray[np.uint8], face_size: int | None) -> Tensor:
    """Return crops [n, side, side, 3] as uint8 [n, 3, face_size, face_size]."""
    return shrink_crops(torch.from_numpy(crops.copy()).permute(0, 3, 1, 2), face_size).contiguous()


def audio_tensor(mfcc: npt.NDArray[np.float16], rescaling: str) -> Tensor:
    """Return audio images [segments, rows, columns, 3] channels first, in 0-255.

    With `standardised` they stay as they are: how to rescale them depends on the split.
    """
    require_one_of("rescaling", rescaling, RESCALINGS)
    if rescaling == "standardised":
        images = torch.from_numpy(mfcc.copy())
    else:
        images = torch.from_numpy(rescale(mfcc, rescaling)).round().to(torch.uint8)
    return images.permute(0, 3, 1, 2).contiguous()


def index_tensor(frame_indices: npt.NDArray[np.int32]) -> Tensor:
    """Return frame indices [segments, 20] as int64."""
    return torch.from_numpy(frame_indices.astype("int64"))


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


def pieces_by_phase(pieces: Pieces) -> Pieces:
    """Return phase -> clip -> segments of part -> clip -> segments."""
    return {phase: pieces[part] for phase, part in PART_OF_PHASE.items() if part in pieces}


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
    pieces: Pieces = field(default_factory=dict)
    """Phase -> clip -> the segments that it gets to see, where clips are divided."""
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
        if (phase == TEST_PHASE) != self.frozen:
            when = "before" if phase == TEST_PHASE else "after"
            raise WallError(f"phase {phase} asked for {clip_id} {when} the model was frozen")
        self.reads.setdefault(phase, set()).add(clip_id)
        clip = self.clips[clip_id]
        return clip.keep(self.pieces[phase][clip_id]) if phase in self.pieces else clip
