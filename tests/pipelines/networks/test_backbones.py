"""The trunks are what they are named after, take both kinds of image and load nothing harmful."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VGG, VGG19_Weights, vgg19

from pipelines.errors import UsageError
from pipelines.networks.backbones import (
    Backbone,
    ModelConfig,
    SmallBackbone,
    average_by_matrices,
    build_backbone,
    shrink_crops,
)


def random_images(count: int, side: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


class Loaded:
    """torchvision's own VGG19 with weights of its own, and our trunk from the same file."""

    def __init__(self, folder: Path) -> None:
        path = folder / "vgg19.pth"
        torch.manual_seed(3)
        self.reference: VGG = vgg19(weights=None, init_weights=False).eval()
        # A shifted middle, so that forgotten biases and a forgotten last ReLU both show.
        with torch.no_grad():
            for name, parameter in self.reference.named_parameters():
                if name.startswith("classifier") and name.endswith("bias"):
                    parameter.normal_(std=0.01)
        torch.save(self.reference.state_dict(), path)
        self.trunk: Backbone = build_backbone(ModelConfig(backbone="vgg19", weights=str(path)))
        self.trunk.eval()
        path.unlink()

    @torch.no_grad()
    def fc7(self, normalised: Tensor) -> Tensor:
        """The first five layers of torchvision's classifier, one after another."""
        values: Tensor = self.reference.avgpool(self.reference.features(normalised)).flatten(1)
        for layer in list(self.reference.classifier)[:5]:
            values = layer(values)
        return values


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(tmp_path_factory.mktemp("weights"))


def imagenet_normalised(images: Tensor) -> Tensor:
    """What torchvision's own preset does to a picture once it has its size."""
    preset = VGG19_Weights.IMAGENET1K_V1.transforms()
    mean = torch.tensor(preset.mean).view(3, 1, 1)
    deviation = torch.tensor(preset.std).view(3, 1, 1)
    return (images.float() / 255 - mean) / deviation


@pytest.mark.parametrize("side", [64, 227])
def test_vgg19_gives_torchvisions_fc7_of_faces_and_audio_images(loaded: Loaded, side: int) -> None:
    images = random_images(1, side)
    with torch.no_grad():
        ours = loaded.trunk(images)
    truth = loaded.fc7(imagenet_normalised(images))
    assert ours.shape == (1, 4096)
    spread = float(truth.std())
    assert 0.1 < float((truth == 0).double().mean()) < 0.9  # after the ReLU, and not dead
    torch.testing.assert_close(ours, truth, rtol=0, atol=1e-4 * spread)


def test_vgg19_with_weights_is_normalised_as_imagenet_was(loaded: Loaded) -> None:
    images = random_images(2, 8)
    torch.testing.assert_close(
        loaded.trunk.normalised(images), imagenet_normalised(images), rtol=0, atol=1e-6
    )


def test_vgg19_drops_features_in_training_only(loaded: Loaded) -> None:
    images = random_images(1, 32)
    with torch.no_grad():
        still = [loaded.trunk(images) for _ in range(2)]
        loaded.trunk.train()
        varied = [loaded.trunk(images) for _ in range(2)]
        loaded.trunk.eval()
    assert torch.equal(*still)
    assert not torch.equal(*varied)


def test_without_weights_a_small_trunk_comes_from_the_generator() -> None:
    def parameters(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        return list(build_backbone(ModelConfig(weights="none")).parameters())

    same = zip(parameters(1), parameters(1), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert not torch.equal(parameters(1)[0], parameters(2)[0])


def test_small_weights_of_a_file_are_those_that_run(tmp_path: Path) -> None:
    torch.manual_seed(4)
    saved = SmallBackbone()
    torch.save(saved.state_dict(), tmp_path / "small.pth")
    torch.manual_seed(5)
    trunk = build_backbone(ModelConfig(weights=str(tmp_path / "small.pth")))
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


class Malicious:
    """Unpickled with code allowed, it makes a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("by", ["pickle", "torch"])
@pytest.mark.parametrize("backbone", ["small", "vgg19"])
def test_code_in_a_weights_file_is_refused_and_never_runs(
    by: str, backbone: str, tmp_path: Path
) -> None:
    trap, file = tmp_path / "executed", tmp_path / "weights.pth"
    content = {"features.0.weight": Malicious(str(trap))}
    if by == "pickle":
        file.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, file)
    with pytest.raises(UsageError, match=r"^model\.weights \(.*weights\.pth\)"):
        build_backbone(ModelConfig(backbone=backbone, weights=str(file)))
    assert not trap.exists()
    # Code allowed, the trap does work.
    if by == "pickle":
        pickle.loads(file.read_bytes())
    else:
        torch.load(file, weights_only=False)
    assert trap.exists()


def wrong_file(kind: str, folder: Path) -> Path:
    path = folder / "weights.pth"
    if kind == "text":
        path.write_text("not weights at all\n")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "another network":
        torch.save(nn.Linear(3, 2).state_dict(), path)
    elif kind == "another shape":
        state = SmallBackbone().state_dict()
        state["features.0.weight"] = torch.zeros(1)
        torch.save(state, path)
    else:
        torch.save(torch.zeros(3), path)
    return path


@pytest.mark.parametrize(
    "kind", ["text", "empty", "another network", "another shape", "a bare tensor"]
)
def test_a_wrong_weights_file_is_refused_by_name_in_one_line(kind: str, tmp_path: Path) -> None:
    path = wrong_file(kind, tmp_path)
    with pytest.raises(UsageError, match=r"^model\.weights \(.*weights\.pth\)") as raised:
        build_backbone(ModelConfig(weights=str(path)))
    assert "\n" not in str(raised.value)


def test_missing_weights_are_refused_with_the_ways_to_give_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.weights \(.*gone\.pth\) is not a file.*imagenet"):
        ModelConfig(backbone="vgg19", weights=str(tmp_path / "gone.pth"))
    with pytest.raises(UsageError, match=r"model\.weights \(.*\) is not a file"):
        ModelConfig(backbone="vgg19", weights=str(tmp_path))


def test_small_has_no_imagenet_weights() -> None:
    with pytest.raises(UsageError, match=r"model\.weights \(imagenet\) does not exist.*small"):
        ModelConfig(backbone="small", weights="imagenet")


@pytest.mark.parametrize("cause", [OSError("no route"), RuntimeError("hash"), ValueError("x")])
def test_weights_that_cannot_be_downloaded_are_explained_both_ways(
    cause: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(self: object, *arguments: object, **options: object) -> None:
        raise cause

    monkeypatch.setattr(VGG19_Weights, "get_state_dict", unreachable)
    monkeypatch.setattr("torchvision.models.vgg19", lambda weights: nn.Identity())
    with pytest.raises(UsageError, match=r"model\.weights \(imagenet\) could not") as raised:
        build_backbone(ModelConfig(backbone="vgg19", weights="imagenet"))
    assert VGG19_Weights.IMAGENET1K_V1.url in str(raised.value)
    assert "model.weights=/path/to/it" in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "alexnet"}, r"model\.backbone \(alexnet\) must be one of: small, vgg19"),
        ({"lstm_hidden": 0}, r"model\.lstm_hidden \(0\) must be at least 1"),
        ({"dropout": 1.0}, r"model\.dropout \(1\.0\) must be in"),
        ({"dropout": -0.1}, r"model\.dropout \(-0\.1\) must be in"),
    ],
)
def test_model_settings_out_of_range_are_refused_by_name(
    settings: dict[str, str | float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        ModelConfig(**settings)  # type: ignore[arg-type]


def area_means(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.float64]:
    """Means over the whole pixels that each of side x side cells touches."""
    size = image.shape[-1]
    edges = [(i * size // side, -(-(i + 1) * size // side)) for i in range(side)]
    return np.array(
        [
            [[plane[a:b, c:d].astype(np.float64).mean() for c, d in edges] for a, b in edges]
            for plane in image
        ]
    )


def test_shrinking_by_two_averages_each_square_of_four() -> None:
    crop = torch.tensor([[[[0, 4, 10, 10], [8, 12, 11, 12], [255, 255, 1, 1], [255, 255, 2, 1]]]])
    shrunk = shrink_crops(crop.expand(1, 3, 4, 4).to(torch.uint8), 2)
    # (0+4+8+12)/4 = 6; (10+10+11+12)/4 = 10.75; 255; 5/4 = 1.25.
    assert shrunk.tolist() == [[[[6, 11], [255, 1]]] * 3]
    assert shrunk.dtype == torch.uint8


def test_shrinking_a_stored_crop_averages_areas() -> None:
    crops = random_images(1, 227)
    truth = area_means(crops[0].numpy(), 48)
    shrunk = shrink_crops(crops, 48)[0].numpy()
    assert shrunk.shape == (3, 48, 48)
    assert np.abs(shrunk - truth).max() <= 0.5 + 1e-3


def test_crops_of_the_right_size_and_trunks_that_take_them_as_stored_leave_them_alone() -> None:
    crops = random_images(1, 48)
    assert shrink_crops(crops, 48) is crops
    assert shrink_crops(crops, None) is crops


@pytest.mark.parametrize(("size", "side"), [(2, 7), (4, 3), (8, 7), (7, 7), (14, 7), (5, 3)])
def test_averaging_by_matrices_equals_torchs_adaptive_pooling(size: int, side: int) -> None:
    maps = torch.randn(2, 3, size, size + 1, dtype=torch.float64)
    expected = torch.nn.AdaptiveAvgPool2d(side)(maps)
    torch.testing.assert_close(average_by_matrices(maps, side), expected, atol=1e-12, rtol=0)
