"""Weights are those that were meant, whatever way they come, and nothing harmful is loaded."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import pytest
import torch
from random_images import random_images
from torch import nn
from torchvision.models import get_model, get_model_weights

from pipelines.errors import UsageError
from pipelines.networks.backbone import ModelConfig, build_backbone
from pipelines.networks.small import SmallBackbone
from pipelines.networks.weights import weights_digest

TORCHVISIONS = ("vgg19", "vgg16", "vgg11", "alexnet", "resnet18")


class Malicious:
    """Unpickled with code allowed, it makes a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("by", ["pickle", "torch"])
@pytest.mark.parametrize("backbone", ["small", "vgg19", "resnet18"])
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
@pytest.mark.parametrize("backbone", ["small", "vgg16"])
def test_a_wrong_weights_file_is_refused_by_name_in_one_line(
    backbone: str, kind: str, tmp_path: Path
) -> None:
    path = wrong_file(kind, tmp_path)
    with pytest.raises(UsageError, match=r"^model\.weights \(.*weights\.pth\)") as raised:
        build_backbone(ModelConfig(backbone=backbone, weights=str(path)))
    assert "\n" not in str(raised.value)


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.pth"
    torch.save(SmallBackbone().state_dict(), path)
    return path


@pytest.mark.parametrize("form", ["lower", "upper"])
def test_a_file_with_the_digest_that_was_told_is_loaded(form: str, small_file: Path) -> None:
    digest = getattr(hashlib.sha256(small_file.read_bytes()).hexdigest(), form)()
    trunk = build_backbone(ModelConfig(weights=str(small_file), weights_sha256=digest))
    saved = torch.load(small_file, weights_only=True)
    assert all(torch.equal(value, saved[key]) for key, value in trunk.state_dict().items())


def test_a_file_with_another_digest_is_refused_with_both(small_file: Path) -> None:
    digest = hashlib.sha256(small_file.read_bytes()).hexdigest()
    with small_file.open("ab") as file:
        file.write(b"\0")  # torch alone would load it all the same
    found = hashlib.sha256(small_file.read_bytes()).hexdigest()
    build_backbone(ModelConfig(weights=str(small_file)))
    with pytest.raises(UsageError) as raised:
        build_backbone(ModelConfig(weights=str(small_file), weights_sha256=digest))
    assert str(raised.value) == (
        f"model.weights ({small_file}) has SHA-256 {found}, but model.weights_sha256 is {digest}: "
        "get the file again, or correct the digest if this file is meant"
    )


@pytest.mark.parametrize("name", TORCHVISIONS)
@pytest.mark.parametrize("cause", [OSError("no route"), RuntimeError("hash"), ValueError("x")])
def test_weights_that_cannot_be_downloaded_are_explained_both_ways(
    name: str, cause: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(self: object, *arguments: object, **options: object) -> None:
        raise cause

    weights = get_model_weights(name)
    monkeypatch.setattr(weights, "get_state_dict", unreachable)
    with pytest.raises(UsageError, match=r"model\.weights \(imagenet\) could not") as raised:
        build_backbone(ModelConfig(backbone=name, weights="imagenet"))
    assert weights.IMAGENET1K_V1.url in str(raised.value)
    assert "model.weights=/path/to/it" in str(raised.value)


def test_imagenet_weights_come_by_torchvisions_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where torchvision keeps its downloads is what a download would have left."""
    file_name = get_model_weights("resnet18").IMAGENET1K_V1.url.rpartition("/")[2]
    path = tmp_path / "hub" / "checkpoints" / file_name
    path.parent.mkdir(parents=True)
    torch.save(get_model("resnet18", weights=None).state_dict(), path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    by_name = build_backbone(ModelConfig(backbone="resnet18", weights="imagenet"))
    by_path = build_backbone(ModelConfig(backbone="resnet18", weights=str(path)))
    assert weights_digest(by_name) == weights_digest(by_path)


def test_a_download_is_checked_by_its_hash_and_may_hold_no_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, dict[str, object]]] = []

    def download(url: str, **options: object) -> None:
        asked.append((url, options))
        raise OSError("seen enough")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    with pytest.raises(UsageError):
        build_backbone(ModelConfig(backbone="vgg19", weights="imagenet"))
    [(url, options)] = asked
    assert url == get_model_weights("vgg19").IMAGENET1K_V1.url
    assert options["check_hash"] is True
    assert options["weights_only"] is True


class Tiny(nn.Module):
    """A weight and a buffer that is not saved."""

    def __init__(self, weight: torch.Tensor, mean: float = 0.5) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.register_buffer("mean", torch.tensor(mean), persistent=False)


def test_a_digest_is_that_of_names_shapes_types_and_bytes() -> None:
    weight = torch.tensor([[1.0, 2.0, 3.0]])
    digest = hashlib.sha256()
    digest.update(b"mean () torch.float32\n\x00\x00\x00\x3f")
    digest.update(b"weight (1, 3) torch.float32\n")
    digest.update(b"\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40")
    assert weights_digest(Tiny(weight)) == digest.hexdigest()


def test_whatever_a_trunk_computes_with_changes_its_digest() -> None:
    weight = torch.arange(1.0, 5.0).view(1, 1, 2, 2)
    flipped = weight.clone()
    flipped.view(torch.int32)[0, 0, 1, 1] ^= 1
    others = [
        Tiny(flipped),
        Tiny(weight.view(1, 1, 1, 4)),
        Tiny(weight.double()),
        Tiny(weight.to(torch.bfloat16)),
        Tiny(weight.transpose(2, 3)),
        Tiny(weight, mean=0.25),
        nn.Sequential(Tiny(weight)),
    ]
    known = {weights_digest(network) for network in [Tiny(weight), *others]}
    assert len(known) == len(others) + 1


def test_layout_mode_and_passes_leave_a_digest_alone() -> None:
    torch.manual_seed(0)
    trunk = SmallBackbone()
    before = weights_digest(trunk)
    trunk.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    trunk(random_images(2, 48))
    assert weights_digest(trunk) == before
