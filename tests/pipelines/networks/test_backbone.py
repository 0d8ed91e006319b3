"""Settings of the model that can't be meant are refused by name before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import UsageError
from pipelines.networks.backbone import BACKBONES, ModelConfig, backbone_class


def test_every_name_is_a_trunk_with_a_feature() -> None:
    sizes = {name: backbone_class(name).feature_size for name in BACKBONES}
    assert sizes == {
        "vgg19": 4096,
        "vgg16": 4096,
        "vgg11": 4096,
        "alexnet": 4096,
        "resnet18": 512,
        "small": 128,
    }


def test_missing_weights_are_refused_with_the_ways_to_give_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.weights \(.*gone\.pth\) is not a file.*imagenet"):
        ModelConfig(backbone="vgg19", weights=str(tmp_path / "gone.pth"))
    with pytest.raises(UsageError, match=r"model\.weights \(.*\) is not a file"):
        ModelConfig(backbone="vgg19", weights=str(tmp_path))


@pytest.mark.parametrize("backbone", ["small", "pipelines.networks.small:SmallBackbone"])
def test_small_and_own_networks_have_no_imagenet_weights(backbone: str) -> None:
    with pytest.raises(UsageError, match=r"model\.weights \(imagenet\) does not exist.*small"):
        ModelConfig(backbone=backbone, weights="imagenet")


@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_a_digest_without_a_file_is_refused(weights: str) -> None:
    with pytest.raises(UsageError, match=rf"^model\.weights_sha256 \(0+\) .* \(it is {weights}\)"):
        ModelConfig(backbone="vgg19", weights=weights, weights_sha256="0" * 64)


@pytest.mark.parametrize("digest", ["abc", "g" * 64, "0" * 40, "0" * 65])
def test_what_is_no_digest_is_refused_before_the_file_is_read(digest: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.touch()
    with pytest.raises(UsageError, match=rf"^model\.weights_sha256 \({digest}\) is no SHA-256"):
        ModelConfig(weights=str(path), weights_sha256=digest)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"backbone": "resnet"},
            r"model\.backbone \(resnet\) must be one of: vgg19, vgg16, vgg11, alexnet, resnet18, "
            r"small, package\.module:Class$",
        ),
        ({"audio_size": 63}, r"model\.audio_size \(63\) must be 0 \(as they are\) or at least 64"),
        ({"audio_size": -1}, r"model\.audio_size \(-1\) must be 0"),
        ({"temporal": "gru"}, r"model\.temporal \(gru\) must be one of: lstm, lstm_mean, mean"),
        ({"modalities": "text"}, r"model\.modalities \(text\) must be one of: both, audio, visual"),
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
