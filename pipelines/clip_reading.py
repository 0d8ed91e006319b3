"""Reads clips as a training wants them: pixels from the shards, features from the feature store."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipelines.feature_store import FeatureFolder
from pipelines.inputs import ClipTensors, audio_tensor, frame_tensor, index_tensor
from pipelines.shards import ShardFolder


@dataclass(frozen=True, kw_only=True)
class ClipPlaces:
    """Where the clips of a study are, and how they are read."""

    shards: str
    audio_features: str = ""
    """Folder of the feature store; empty: audio images are read."""
    frame_features: str = ""
    """Folder of the feature store; empty: face crops are read."""
    modalities: tuple[str, ...] = ("audio", "visual")
    """What is read: `audio`, `visual`, and `prosody` for the classical rivals."""
    face_size: int | None = None
    rescaling: str = "row"


@dataclass(kw_only=True)
class ClipReader:
    """Reads clips by id; knows the keys of those that its trials may ask for."""

    places: ClipPlaces
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Features are small and held where they are computed with; pixels go there in batches."""
    keys: dict[str, str] = field(default_factory=dict)
    """clip_id -> key of its shards and its features."""

    def __call__(self, clip_id: str) -> ClipTensors:
        """Read one clip; what a training of these modalities does not use is empty.

        Raises:
            FloatingPointError: an audio image or a feature is not finite.
        """
        key, nothing = self.keys[clip_id], torch.empty(0)
        shards = ShardFolder(self.places.shards)
        return ClipTensors(
            clip_id=clip_id,
            frames=self._frames(shards, clip_id) if "visual" in self.places.modalities else nothing,
            audio=self._audio(shards, clip_id) if "audio" in self.places.modalities else nothing,
            frame_indices=index_tensor(shards.read_frame_indices(key)),
            prosody=torch.from_numpy(shards.read_prosody(key))
            if "prosody" in self.places.modalities
            else nothing,
        )

    def _frames(self, shards: ShardFolder, clip_id: str) -> Tensor:
        if self.places.frame_features:
            return self._features(self.places.frame_features, clip_id)
        return frame_tensor(shards.read_crops(self.keys[clip_id]), self.places.face_size)

    def _audio(self, shards: ShardFolder, clip_id: str) -> Tensor:
        if self.places.audio_features:
            return self._features(self.places.audio_features, clip_id)
        mfcc = shards.read_mfcc(self.keys[clip_id])
        path = shards.path("outcomes", self.keys[clip_id])  # without it the clip is done again
        _require_finite(torch.from_numpy(mfcc.copy()), "audio images", clip_id, path)
        return audio_tensor(mfcc, self.places.rescaling)

    def _features(self, root: str, clip_id: str) -> Tensor:
        folder = FeatureFolder(root)
        features = folder.read(self.keys[clip_id])
        _require_finite(features, "features", clip_id, folder.path(self.keys[clip_id]))
        return features.to(self.device)


def _require_finite(values: Tensor, what: str, clip_id: str, path: object) -> None:
    if not torch.isfinite(values).all():
        raise FloatingPointError(
            f"the {what} of {clip_id} are not finite: remove {path} and run the same command again"
        )
