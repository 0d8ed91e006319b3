"""Trunks of torchvision give torchvision's own features, of both kinds of image, alone or not."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from random_images import random_images
from torch import Tensor, nn
from torchvision.models import VGG19_Weights, get_model, get_model_weights
from torchvision.models.feature_extraction import create_feature_extractor

from pipelines.networks.backbone import Backbone, ModelConfig, backbone_class, build_backbone

NODES = {"vgg19": "classifier.4", "vgg11": "classifier.4", "alexnet": "classifier.5"}
"""The ReLU behind the second fully connected layer, as torchvision counts its layers."""
NODES["resnet18"] = "flatten"


class Loaded:
    """torchvision's own network with weights of its own, and our trunk from the same file."""

    def __init__(self, name: str, folder: Path) -> None:
        path = folder / f"{name}.pth"
        torch.manual_seed(3)
        options = {"init_weights": False} if name.startswith("vgg") else {}
        self.name = name
        self.reference: nn.Module = get_model(name, weights=None, **options).eval()
        # A shifted middle, so that forgotten biases and a forgotten last ReLU both show; and
        # statistics unlike those of any batch, so that forgotten ones show too.
        with torch.no_grad():
            for key, value in self.reference.state_dict().items():
                if key.startswith("classifier") and key.endswith("bias"):
                    value.normal_(std=0.01)
                elif key.endswith("running_mean"):
                    value.normal_(std=0.3)
                elif key.endswith("running_var"):
                    value.uniform_(0.5, 2.0)
        torch.save(self.reference.state_dict(), path)
        self.trunk: Backbone = build_backbone(ModelConfig(backbone=name, weights=str(path)))
        self.trunk.eval()
        path.unlink()

    @torch.no_grad()
    def features(self, normalised: Tensor) -> Tensor:
        """What torchvision's tool takes out of torchvision's network."""
        node = NODES[self.name]
        extract = create_feature_extractor(self.reference, [node])
        values: Tensor = extract(normalised)[node]
        return values


@pytest.fixture(scope="module", params=list(NODES))
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(request.param, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module", params=["alexnet", "resnet18"])
def light(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """One with fully connected layers and one without; a VGG is half a gigabyte."""
    return Loaded(request.param, tmp_path_factory.mktemp("weights"))


def prepared_by_torchvision(name: str, images: Tensor) -> Tensor:
    """The preset that belongs to the weights, told to leave the size as it is."""
    preset = get_model_weights(name).IMAGENET1K_V1.transforms
    side = images.shape[-1]
    normalised: Tensor = preset(crop_size=side, resize_size=side)(images)
    return normalised


@pytest.mark.parametrize("side", [64, 227])
def test_a_trunk_gives_torchvisions_features_of_audio_images_and_faces(
    loaded: Loaded, side: int
) -> None:
    images = random_images(1, side)
    with torch.no_grad():
        ours = loaded.trunk(images)
    truth = loaded.features(prepared_by_torchvision(loaded.name, images))
    assert ours.shape == truth.shape == (1, loaded.trunk.feature_size)
    if loaded.name != "resnet18":  # after the ReLU, and not dead
        assert 0.1 < float((truth == 0).double().mean()) < 0.9
    torch.testing.assert_close(ours, truth, rtol=0, atol=1e-4 * float(truth.std()))


def test_weights_of_a_file_are_normalised_as_imagenet_was(loaded: Loaded) -> None:
    images = random_images(2, 8)
    ours = loaded.trunk.normalised(images)
    truth = prepared_by_torchvision(loaded.name, images)
    torch.testing.assert_close(ours, truth, rtol=0, atol=1e-6)
    preset = VGG19_Weights.IMAGENET1K_V1.transforms()
    by_hand = (images[0, 2, 3, 4].double() / 255 - preset.mean[2]) / preset.std[2]
    assert abs(float(ours[0, 2, 3, 4]) - float(by_hand)) < 1e-6


@torch.no_grad()
def test_training_drops_features_of_fully_connected_layers_and_nothing_else(
    loaded: Loaded,
) -> None:
    trunk, images = loaded.trunk, random_images(1, 64)
    still = trunk(images)
    trunk.train()
    trained = trunk(images)
    trunk.eval()
    assert torch.equal(trained, still) == (trunk.pooled_size is None)


@torch.no_grad()
def test_the_two_halves_are_the_whole_where_it_has_two(light: Loaded) -> None:
    trunk, images = light.trunk, random_images(2, 64)
    if trunk.pooled_size is None:
        assert light.name == "resnet18"
        with pytest.raises(NotImplementedError, match="can't be split"):
            trunk.convolutional(images)
        return
    pooled = trunk.convolutional(images)
    assert pooled.shape == (2, trunk.pooled_size)
    assert torch.equal(trunk.connected(pooled), trunk(images))


@torch.no_grad()
def test_a_feature_does_not_depend_on_what_else_is_in_the_batch(light: Loaded) -> None:
    images = random_images(3, 64)
    still = light.trunk(images[1:2])
    # AlexNet's dropout varies in training by itself.
    light.trunk.train(light.name == "resnet18")
    together = light.trunk(images)[1:2]
    light.trunk.eval()
    torch.testing.assert_close(together, still, rtol=0, atol=1e-4 * float(still.std()))
    assert torch.equal(light.trunk(images[1:2]), still)  # no statistic has moved


@torch.no_grad()
def test_float64_is_exact_and_bfloat16_is_near(light: Loaded) -> None:
    images = random_images(1, 64)
    truth = light.features(prepared_by_torchvision(light.name, images)).double()
    trunk = copy.deepcopy(light.trunk)
    exact = trunk.double()(images)
    near = trunk.to(torch.bfloat16)(images)
    assert (exact.dtype, near.dtype) == (torch.float64, torch.bfloat16)
    spread = float(truth.std())
    torch.testing.assert_close(exact, truth, rtol=0, atol=1e-4 * spread)
    assert 1e-4 * spread < float((near.double() - truth).abs().mean()) < 0.05 * spread


def test_loading_initialises_nothing_first(light: Loaded, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(light.reference.state_dict(), path)
    before = torch.get_rng_state()
    trunk = build_backbone(ModelConfig(backbone=light.name, weights=str(path)))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(not p.is_meta and p.requires_grad for p in trunk.parameters())


def test_half_precision_in_a_file_becomes_single(tmp_path: Path) -> None:
    path = tmp_path / "half.pth"
    torch.save(get_model("resnet18", weights=None).half().state_dict(), path)
    trunk = build_backbone(ModelConfig(backbone="resnet18", weights=str(path)))
    assert {p.dtype for p in trunk.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ["vgg16", "vgg11", "vgg19", "alexnet"])
def test_layers_are_torchvisions_up_to_fc7(name: str) -> None:
    with torch.device("meta"):  # shapes without memory
        trunk = backbone_class(name)(weights="none")  # type: ignore[call-arg]
        reference = get_model(name, weights=None)
    assert repr(trunk.features) == repr(reference.features)
    layers = list(reference.classifier)[:-1]
    # VGG has a dropout between fc7's ReLU and the classes, AlexNet has none there.
    layers = layers[:-1] if isinstance(layers[-1], nn.Dropout) else layers
    assert isinstance(layers[-1], nn.ReLU)
    assert [repr(layer) for layer in trunk.get_submodule("classifier").children()] == [
        repr(layer) for layer in layers
    ]


def test_resnet_from_scratch_has_no_batch_normalisation_and_learns_alone() -> None:
    torch.manual_seed(0)
    trunk = build_backbone(ModelConfig(backbone="resnet18", weights="none"))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules())
    images = random_images(3, 64)
    alone, together = trunk(images[1:2]), trunk(images)[1:2]
    assert trunk.training
    assert alone.shape == (1, 512)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    alone.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trunk.parameters())
