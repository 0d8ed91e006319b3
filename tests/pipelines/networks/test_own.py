"""A researcher's own network runs like a built-in one, and what is wrong with it is said."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import torch
from random_images import random_images

from harness.config import StudyConfig, config_digest
from pipelines.config import CONF, PipelineConfig, compose_config
from pipelines.errors import UsageError
from pipelines.networks.backbone import Backbone, ModelConfig, backbone_class, build_backbone
from pipelines.networks.own import source_digest
from pipelines.networks.recognisers import AudioNetwork, VisualNetwork

GUIDE = CONF.parent / "docs" / "own_network.md"
NET = """
import torch
from torch import nn
from pipelines.networks.backbone import Backbone

class Net(Backbone):
    feature_size = 6
    def __init__(self, weights):
        super().__init__()
    def forward(self, images):
        means = self.normalised(images).mean((2, 3))
        return torch.cat([means, means], dim=1)
"""
Write = Callable[[str], str]
_numbers = count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Put a source where it can be imported; return the name of the module."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names: list[str] = []

    def module(source: str) -> str:
        names.append(f"my_net_{next(_numbers)}")
        (tmp_path / f"{names[-1]}.py").write_text(source)
        return names[-1]

    yield module
    for name in names:
        sys.modules.pop(name, None)


def example() -> str:
    found = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found
    return found[1]


def test_the_example_of_the_guide_is_a_trunk_of_both_networks(write: Write, tmp_path: Path) -> None:
    module = write(example())
    torch.manual_seed(0)
    config = compose_config("pipeline", PipelineConfig, [f"model={module}:Net"]).model
    assert (config.backbone, config.lstm_hidden) == (f"{module}:Net", 512)
    assert backbone_class(config.backbone).face_size == 48
    audio, visual = AudioNetwork(config, 6).eval(), VisualNetwork(config, 6).eval()
    scores = audio.scores(audio.trunk(random_images(2, 64)))
    assert scores.shape == (2, 6)
    features = visual.trunk(random_images(5, 48))
    assert visual.temporal(features, torch.randint(0, 5, (3, 20))).shape == (3, 512)
    assert isinstance(visual.trunk, Backbone)
    pooled = visual.trunk.convolutional(random_images(5, 48))
    assert torch.equal(visual.trunk.connected(pooled), features)
    # The same from a file, in another dtype.
    path = tmp_path / "net.pth"
    torch.save(visual.trunk.state_dict(), path)
    again = build_backbone(ModelConfig(backbone=config.backbone, weights=str(path))).eval()
    assert torch.equal(again(random_images(5, 48)), features)
    assert again.to(torch.bfloat16)(random_images(5, 48)).dtype == torch.bfloat16


def test_a_network_that_cannot_be_split_needs_forward_alone(write: Write) -> None:
    trunk = build_backbone(ModelConfig(backbone=f"{write(NET)}:Net"))
    assert trunk.training
    images = random_images(3, 64)
    means = (images.double() / 255).mean((2, 3))
    truth = torch.cat([(means - 0.5) / 0.25] * 2, dim=1)
    torch.testing.assert_close(trunk.double()(images), truth, atol=1e-12, rtol=0)


def test_model_and_backbone_say_the_same_and_the_last_word_counts(write: Write) -> None:
    reference = f"{write(NET)}:Net"

    def model(*overrides: str) -> ModelConfig:
        return compose_config("pipeline", PipelineConfig, overrides).model

    assert model(f"model={reference}") == model("model=own", f"model.backbone={reference}")
    assert model(f"model={reference}").backbone == reference
    assert model(f"model={reference}", "model.lstm_hidden=9").lstm_hidden == 9
    assert model(f"model.backbone={reference}").backbone == reference
    assert model(f"model={reference}", "model=resnet18").backbone == "resnet18"
    assert model("profile=paper", f"model={reference}", "model.weights=none").backbone == reference


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("gone_net:Net", "there is no module gone_net: it must be importable, so run from the"),
        ("gone.deeper.net:Net", "there is no module gone: it must be importable"),
        (":Net", "must be written package.module:Class, e.g. my_net:Net"),
        ("my-net:Net", "must be written package.module:Class"),
        ("my_net:Net:Other", "must be written package.module:Class"),
        ("pipelines.errors:UsageError", "is no Backbone: let the class inherit from pipelines."),
        ("pipelines.errors:require", "has no class require: it has no subclass of Backbone"),
    ],
)
def test_a_reference_to_nothing_usable_is_refused(reference: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        compose_config("pipeline", PipelineConfig, [f"model={reference}"])
    assert str(raised.value).startswith(f"model.backbone ({reference})")
    assert message in str(raised.value)


def changed(old: str, new: str) -> str:
    assert old in NET
    return NET.replace(old, new)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (changed("class Net(", "class Other("), r"has no class Net: it has Other$"),
        (changed("(Backbone)", "(nn.Module)"), r"is no Backbone: let the class inherit"),
        (changed("from torch import nn", "import torch_geometry"), r"No module named 'torch_geom"),
        (changed("class Net(Backbone):", "class Net(Backbone)"), r"fails: SyntaxError: .*line 6\)"),
        (changed("feature_size = 6", ""), r"has feature_size None: set it to the length"),
        (changed("feature_size = 6", "feature_size = 0"), r"has feature_size 0: set it"),
        (
            changed("weights)", ")"),
            r"can't be built with weights='none': TypeError: .*'weights'",
        ),
        (
            changed("super().__init__()", "super().__init__(); 1 / 0"),
            r"ZeroDivisionError: division by zero \(my_net_\d+\.py, line 9\)$",
        ),
        (
            changed("means, means", "means"),
            r"forward returns \[2, 3\] for a tensor \[2, 3, 64, 64\]: it must return \[2, 6\]$",
        ),
        (changed("return torch", "return 3 #"), r"forward returns int for a tensor"),
        (
            changed("means, means], dim=1)", "means, means], dim=1) @ torch.ones(7)"),
            r"forward fails on a tensor \[2, 3, 64, 64\]: RuntimeError: .*\.py, line 12\)$",
        ),
        (
            changed(".mean((2, 3))", ".flatten(1)[:, :3 if images.shape[2] < 99 else 4]"),
            r"forward returns \[2, 8\] for a tensor \[2, 3, 227, 227\]",
        ),
        (changed("feature_size = 6", "feature_size = 6; pooled_size = 3"), r"Net can't be split"),
        (
            changed("feature_size = 6", "feature_size = 6; pooled_size = 3")
            + "    def convolutional(self, images):\n        return images.float().mean((2, 3))\n"
            + "    def connected(self, pooled):\n        return torch.cat([pooled, pooled], 1)\n",
            r"forward is not connected after convolutional",
        ),
        (
            changed("feature_size = 6", "feature_size = 6; pooled_size = 3").replace(
                "forward", "unused"
            )
            + "    def convolutional(self, images):\n        return images.float().mean((2, 3))\n"
            + "    def connected(self, pooled):\n        return torch.cat([pooled, pooled], 1)\n",
            r"has pooled_size 3, but no self.features",
        ),
        (
            changed("return torch.cat", "means = means - means.mean(0)\n        return torch.cat"),
            r"depend on what else is in the batch",
        ),
    ],
)
def test_a_network_that_is_no_trunk_is_refused_in_one_line(
    source: str, message: str, write: Write
) -> None:
    reference = f"{write(source)}:Net"
    with pytest.raises(UsageError, match=message) as raised:
        build_backbone(ModelConfig(backbone=reference))
    assert str(raised.value).startswith(f"model.backbone ({reference})")
    assert "\n" not in str(raised.value)


def test_a_network_is_keyed_by_its_source_and_by_all_of_ones_own_that_it_imports(
    write: Write, tmp_path: Path
) -> None:
    below = write("import json, torch\nSLOPE = 0.1\n")
    blocks = write(f"import {below}\n")
    write("SLOPE = 0.3\n")  # beside them, and imported by none
    network = f"{write(f'from {blocks} import *' + NET)}:Net"
    digests = {source_digest(network)}
    for changed_module in (blocks, below, network.partition(":")[0]):
        before = len(digests)
        assert source_digest(network) in digests
        with (tmp_path / f"{changed_module}.py").open("a") as file:
            file.write("# a layer more\n")
        digests.add(source_digest(network))
        assert len(digests) == before + 1
    (tmp_path / "unrelated.py").write_text("")
    assert source_digest(network) in digests
    assert source_digest("vgg19") == ""


def test_modules_of_a_package_count_too(write: Write, tmp_path: Path) -> None:
    package = tmp_path / "my_nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "blocks.py").write_text("SLOPE = 0.1\n")
    (package / "net.py").write_text("from .blocks import SLOPE\n" + NET)
    before = source_digest("my_nets.net:Net")
    (package / "blocks.py").write_text("SLOPE = 0.2\n")
    assert source_digest("my_nets.net:Net") != before
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_nets"]:
        del sys.modules[name]


def test_a_changed_network_is_another_study(write: Write, tmp_path: Path) -> None:
    module = write(NET)
    config = compose_config("study", StudyConfig, [f"model={module}:Net"])
    before = config_digest(config)
    assert config_digest(config) == before
    (tmp_path / f"{module}.py").write_text(NET + "# changed\n")
    assert config_digest(config) != before
