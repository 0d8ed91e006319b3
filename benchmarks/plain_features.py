"""Features of faces and sounds without this project: plain PyTorch and torchvision.

Clips come from outside, as pixels in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

Segment = tuple[str, int]
"""Id of its clip, and its number in it."""


@dataclass(frozen=True)
class Clip:
    """What is known of a clip: faces and sounds as pixels in 0-255."""

    frames: Tensor
    """uint8 [n, 3, side, side]."""
    audio: Tensor
    """uint8 [segments, 3, 64, 64]."""
    frame_indices: Tensor
    """int64 [segments, 20] into `frames`."""


def vgg19_fc7(weights: Path) -> nn.Module:
    """Return VGG19 from pixels of 0-255 to the ReLU after its second fully connected layer."""
    import torchvision

    vgg = torchvision.models.vgg19(weights=None, init_weights=False)
    vgg.load_state_dict(torch.load(weights))
    normalised = Normalised((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    layers = [vgg.features, vgg.avgpool, nn.Flatten(), *vgg.classifier[:5]]
    return nn.Sequential(normalised, *layers).eval().requires_grad_(False)


class Normalised(nn.Module):
    """Pixels of 0-255 -> what a trunk was trained on."""

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """Return [n, 3, side, side] in the type of the trunk."""
        mean, deviation = self.get_buffer("mean"), self.get_buffer("deviation")
        return (pixels.to(mean.dtype) / 255.0 - mean) / deviation


class Features(Protocol):
    """Where the networks of stage 1 get the trunk's features of segments from."""

    def audio(self, segments: Sequence[Segment]) -> Tensor:
        """Return [n, feature_size]."""

    def visual(self, segments: Sequence[Segment]) -> Tensor:
        """Return [n, 20, feature_size]."""


class TrunkInForwardPass:
    """The first way: the trunk is the first layer of every forward pass."""

    def __init__(self, trunk: nn.Module, clips: Mapping[str, Clip]) -> None:
        self.trunk, self.clips = trunk, clips

    @torch.no_grad()
    def audio(self, segments: Sequence[Segment]) -> Tensor:
        images = torch.stack([self.clips[clip].audio[number] for clip, number in segments])
        features: Tensor = self.trunk(images)
        return features

    @torch.no_grad()
    def visual(self, segments: Sequence[Segment]) -> Tensor:
        faces = [self.clips[clip].frames for clip, _ in segments]
        rows = [self.clips[clip].frame_indices[number] for clip, number in segments]
        images = torch.cat([of_clip[row] for of_clip, row in zip(faces, rows, strict=True)])
        features: Tensor = self.trunk(images)
        return features.view(len(segments), -1, features.shape[1])


class FeaturesOnDisk:
    """The toolkit's way: the features of each segment lie in a file of its clip."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held: dict[str, dict[str, Tensor]] = {}

    def _of(self, clip: str) -> dict[str, Tensor]:
        if clip not in self.held:
            self.held[clip] = torch.load(_file(self.folder, clip))
        return self.held[clip]

    def audio(self, segments: Sequence[Segment]) -> Tensor:
        return torch.stack([self._of(clip)["audio"][number] for clip, number in segments]).float()

    def visual(self, segments: Sequence[Segment]) -> Tensor:
        return torch.stack([self._of(clip)["visual"][number] for clip, number in segments]).float()


@torch.no_grad()
def extract(
    trunk: nn.Module, clips: Mapping[str, Clip], folder: Path, *, bfloat16: bool = False
) -> None:
    """Write the features of each clip: segment by segment, frame by frame, one image at a time."""
    layout = torch.channels_last if bfloat16 else torch.contiguous_format
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    trunk = trunk.to(dtype).to(memory_format=layout)

    def feature(image: Tensor) -> Tensor:
        features: Tensor = trunk(image[None].to(memory_format=layout))
        return features[0]

    for clip_id, clip in clips.items():
        audio = [feature(image) for image in clip.audio]
        visual = [
            torch.stack([feature(clip.frames[frame]) for frame in frames])
            for frames in clip.frame_indices
        ]
        file = _file(folder, clip_id)
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"audio": torch.stack(audio), "visual": torch.stack(visual)}, file)


def _file(folder: Path, clip: str) -> Path:
    return folder / "features" / f"{clip}.pt"
