"""The small trunk takes both kinds of image, and each image by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from random_images import random_images
from torch import Tensor

from pipelines.networks.backbone import ModelConfig, build_backbone
from pipelines.networks.small import SmallBackbone


def test_without_weights_a_small_trunk_comes_from_the_generator() -> None:
    def parameters(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        return list(build_backbone(ModelConfig(weights="none")).parameters())

    same = zip(parameters(1), parameters(1), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert not torch.equal(parameters(1)[0], parameters(2)[0])


@pytest.mark.parametrize("zipped", [True, False])
def test_small_weights_of_a_file_are_those_that_run(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "small.pth"
    torch.manual_seed(4)
    saved = SmallBackbone()
    # torchvision's files are of both forms: those of VGG are not zipped.
    torch.save(saved.state_dict(), path, _use_new_zipfile_serialization=zipped)
    torch.manual_seed(5)
    trunk = build_backbone(ModelConfig(weights=str(path)))
    images = random_images(2, 48)
    torch.testing.assert_close(trunk(images), saved(images))


@pytest.mark.parametrize("side", [48, 64, 227])
def test_small_trunk_takes_faces_and_audio_images(side: int) -> None:
    features = SmallBackbone().eval()(random_images(2, side))
    assert features.shape == (2, 128)
    assert torch.isfinite(features).all()
    assert float(features.detach().std()) > 0


@pytest.mark.parametrize("training", [True, False])
def test_small_feature_does_not_depend_on_what_else_is_in_the_batch(training: bool) -> None:
    torch.manual_seed(0)
    trunk = SmallBackbone().train(training)
    images = random_images(5, 48)
    alone = trunk(images[2:3])
    torch.testing.assert_close(trunk(images)[2:3], alone, rtol=0, atol=1e-5)
    others = random_images(5, 48, seed=9)
    others[2] = images[2]
    torch.testing.assert_close(trunk(others)[2:3], alone, rtol=0, atol=1e-5)


def test_uint8_and_float_images_in_0_to_255_give_the_same_feature() -> None:
    trunk = SmallBackbone().eval()
    images = random_images(2, 48)
    assert torch.equal(trunk(images), trunk(images.float()))


def test_the_two_halves_are_the_whole() -> None:
    trunk, images = SmallBackbone().eval(), random_images(2, 48)
    pooled = trunk.convolutional(images)
    assert pooled.shape == (2, trunk.pooled_size)
    assert torch.equal(trunk.connected(pooled), trunk(images))


@torch.no_grad()
def test_small_runs_in_float64_and_bfloat16() -> None:
    torch.manual_seed(0)
    trunk, images = SmallBackbone().eval(), random_images(2, 48)
    single = trunk(images).double()
    exact = trunk.double()(images)
    near = trunk.to(torch.bfloat16)(images)
    assert (exact.dtype, near.dtype) == (torch.float64, torch.bfloat16)
    torch.testing.assert_close(exact, single, rtol=0, atol=1e-5)
    assert float((near.double() - exact).abs().mean()) < 0.05 * float(exact.std())
