"""A trial reads pixels or features, and nothing that is not finite."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_extract import FRAME_COUNT, ROWS, SEGMENTS, configured, shards, worker

from pipelines.clip_reading import ClipPlaces, ClipReader
from pipelines.extract import FeaturePlan
from pipelines.feature_store import FeatureFolder
from pipelines.shards import ShardFolder

__all__ = ["shards"]
KEYS = {"a": "key-a", "b": "key-b"}


def test_pixels_and_features_are_of_the_same_clip(shards: ShardFolder, tmp_path: Path) -> None:
    plan = FeaturePlan(configured(tmp_path))
    work = worker(plan, shards)
    for row in ROWS:
        work(row)
    pixels = ClipReader(places=ClipPlaces(shards=str(shards.root), face_size=24), keys=KEYS)("b")
    places = plan.placed(ClipPlaces(shards=str(shards.root)))
    features = ClipReader(places=places, keys=KEYS)("b")
    assert pixels.frames.shape == (FRAME_COUNT, 3, 24, 24)
    assert pixels.audio.shape == (SEGMENTS, 3, 64, 64)
    assert torch.equal(features.frame_indices, pixels.frame_indices)
    trunk, _ = plan.recipe.build()
    torch.testing.assert_close(features.frames, trunk(pixels.frames).half())
    torch.testing.assert_close(features.audio, trunk(pixels.audio).half())
    assert features.segments == pixels.segments == SEGMENTS


@pytest.mark.parametrize(("modality", "empty"), [("audio", "frames"), ("visual", "audio")])
def test_what_a_modality_does_not_use_is_not_read(
    modality: str, empty: str, shards: ShardFolder
) -> None:
    places = ClipPlaces(shards=str(shards.root), modalities=(modality,))
    clip = ClipReader(places=places, keys=KEYS)("a")
    assert getattr(clip, empty).numel() == 0
    assert clip.segments == SEGMENTS


def test_a_feature_that_is_not_finite_stops_with_the_clip_and_the_file(
    shards: ShardFolder, tmp_path: Path
) -> None:
    folder = FeatureFolder(tmp_path)
    broken = torch.zeros(FRAME_COUNT, 4)
    broken[3, 2] = float("inf")
    folder.write("key-a", broken)
    places = ClipPlaces(shards=str(shards.root), frame_features=str(tmp_path))
    with pytest.raises(FloatingPointError, match=r"features of a are not finite: remove .*key-a"):
        ClipReader(places=places, keys=KEYS)("a")
