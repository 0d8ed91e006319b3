"""Feature store: what the frozen part of a trunk makes of each clip, computed once for all.

`<data>/features/<digest>/<clip key>.safetensors` holds one clip's features of one kind: `audio`
(one row per segment) or `frames` (one row per unique frame). The digest is over all that decides a
feature but the clip; the clip's key, that of its shards, is over its content and its preprocessing.
So every split, study and search that agrees on both shares them, and one new clip costs one clip.
No feature here has seen a label: what is trained stays with its split.

The files are mapped into memory: the processes of a machine share one copy. Those of an object
store are fetched to the host's disk for that, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor

from pipelines.errors import require_one_of
from pipelines.host_copies import host_copy
from pipelines.storage import Location, digest_of, location_of, names_in, write_json, write_whole

FEATURES_VERSION = 1
"""Raised whenever the same images and trunk would give other features than before."""
AUDIO, FRAMES = "audio", "frames"
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
SUFFIX = ".safetensors"


@dataclass
class FeaturesConfig:
    """How features are kept."""

    dtype: str = "float16"
    """float16 (11 bits of precision, up to 65504), bfloat16 (8 bits, any size) or float32 (twice
    the room)."""

    def __post_init__(self) -> None:
        require_one_of("features.dtype", self.dtype, tuple(DTYPES))


class FeatureFolder:
    """The features of one kind by one trunk, on a disk or in an object store."""

    def __init__(self, root: str | Location) -> None:
        self.root = location_of(root)

    def path(self, key: str) -> Location:
        """Return the file of the clip with this key."""
        return self.root / f"{key}{SUFFIX}"

    def held(self) -> set[str]:
        """Return the keys of the clips whose features are here."""
        names = names_in(self.root)
        return {name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)}

    def write(self, key: str, features: Tensor) -> None:
        """Write a clip's features [n, size], whole or not at all."""
        # Not by save_file, whose files nobody but their owner may read: a store is shared.
        content = save({"features": features.contiguous()})
        write_whole(self.path(key), lambda target: target.write_bytes(content))

    def read(self, key: str) -> Tensor:
        """Return a clip's features [n, size]: a view of the file, or of this host's copy of it."""
        path = self.path(key)
        copy = path if isinstance(path, Path) else host_copy(path)
        if copy is None:
            return load(path.read_bytes())["features"]
        with safe_open(copy, framework="pt") as file:
            features: Tensor = file.get_tensor("features")
            return features

    def describe(self, settings: Mapping[str, Any]) -> None:
        """Write, for people, what these features are."""
        write_json(self.root / "features.json", settings)


def feature_folder(data: str, settings: Mapping[str, Any]) -> FeatureFolder:
    """Return where the features with these settings are, under `paths.data`.

    Args:
        data: paths.data.
        settings: all that decides a feature but the clip: kind, trunk, the digest of its weights,
            layer, how its images are prepared, number formats, device, versions.
    """
    digest = digest_of({**settings, "features_version": FEATURES_VERSION})
    return FeatureFolder(location_of(data) / "features" / digest)
