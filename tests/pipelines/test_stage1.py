"""Each unique frame passes a trunk once, and segments get what they would get each by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny_network import TinyBackbone
from torch import Tensor, nn

from pipelines.inputs import ClipCache, ClipTensors, Wall
from pipelines.networks.backbone import ModelConfig
from pipelines.networks.frozen import FrozenTrunk
from pipelines.split_clips import SplitClips
from pipelines.split_task import SplitTask, seed_for
from pipelines.stage1 import Stage1
from pipelines.training_config import TrainingConfig

MODEL = ModelConfig(backbone="tiny_network:TinyBackbone", lstm_hidden=7, dropout=0.0)
SEGMENTS, FRAMES, HIDDEN = 3, 9, 7
LAYERS = {"frozen": "features", "fc": "pooled"}


def pixels(clip_id: str) -> ClipTensors:
    """A clip whose segments overlap, with frames that repeat as rule 3 has them."""
    generator = torch.Generator().manual_seed(seed_for(0, clip_id))
    starts = torch.randint(0, FRAMES - 6, (SEGMENTS,), generator=generator)
    return ClipTensors(
        clip_id=clip_id,
        frames=torch.randint(0, 256, (FRAMES, 3, 24, 24), generator=generator, dtype=torch.uint8),
        audio=torch.randint(0, 256, (SEGMENTS, 3, 64, 64), generator=generator, dtype=torch.uint8),
        frame_indices=torch.stack([torch.arange(20) * 6 // 20 + int(s) for s in starts]),
    )


def frozen_trunk(mode: str) -> tuple[TinyBackbone, FrozenTrunk]:
    torch.manual_seed(5)
    backbone = TinyBackbone().double()
    return backbone, FrozenTrunk(
        backbone, layer=LAYERS[mode], compute=torch.float64, device=torch.device("cpu")
    )


def stage1_of(mode: str, read: Callable[[str], ClipTensors]) -> Stage1:
    task = SplitTask(
        split_id="x",
        repeat=0,
        seed=1,
        classes=("anger", "fear"),
        train=(("a", 0), ("b", 1)),
        validation=(),
        test=(),
    )
    wall = Wall(clips=ClipCache(read, 2**20), allowed={"stage1_fit": frozenset("ab")})
    cpu = torch.device("cpu")
    clips = SplitClips(task, wall, standardised=False, frozen_audio=None, device=cpu)
    stage1 = Stage1(
        clips,
        seed=1,
        model=MODEL,
        training=TrainingConfig(trunk=mode, precision="float32"),
        device=cpu,
    )
    for network in stage1.networks.values():
        network.double()
    return stage1


def by_segment(
    stage1: Stage1, name: str, whole: Callable[[Tensor], Tensor], clips: list[ClipTensors]
) -> Tensor:
    """The naive way: every segment by itself, all its 20 frames through the whole trunk."""
    network = stage1.networks[name]
    rows = []
    for clip in clips:
        for segment in range(SEGMENTS):
            if name == "audio":
                rows.append(whole(clip.audio[segment : segment + 1])[0])
                continue
            frames = torch.cat([whole(clip.frames[i : i + 1]) for i in clip.frame_indices[segment]])
            rows.append(torch_lstm(stage1.visual.temporal)(frames[None])[1][0][0, 0])
    scores: Tensor = network.output(torch.stack(rows))
    return scores


def torch_lstm(ours: nn.Module) -> nn.LSTM:
    """torch's own LSTM on the very same parameters."""
    held = dict(ours.named_parameters())
    rows, size = next(v for k, v in held.items() if k.endswith("weight_ih_l0")).shape
    lstm = nn.LSTM(size, rows // 4, batch_first=True).double()
    for name in list(lstm._parameters):
        (parameter,) = [value for key, value in held.items() if key.endswith(name)]
        lstm._parameters[name] = parameter
    lstm._flat_weights = [lstm._parameters[name] for name in lstm._flat_weights_names]
    return lstm


def gradients(scores: Tensor, network: nn.Module) -> dict[str, Tensor]:
    weights = torch.linspace(-1, 2, scores.numel(), dtype=torch.float64).view_as(scores)
    named = dict(network.named_parameters())
    values = torch.autograd.grad((scores * weights).sum(), list(named.values()))
    return dict(zip(named, values, strict=True))


@pytest.mark.parametrize("name", ["audio", "visual"])
@pytest.mark.parametrize("mode", ["full", "fc", "frozen"])
def test_unique_frames_once_give_what_each_segment_gives_by_itself(mode: str, name: str) -> None:
    clips = [pixels("a"), pixels("b")]
    if mode == "full":
        stage1 = stage1_of(mode, pixels)
        inputs = clips
        whole: Callable[[Tensor], Tensor] = stage1.networks[name].trunk
    else:
        backbone, frozen = frozen_trunk(mode)

        def features(clip: ClipTensors) -> ClipTensors:
            return replace(clip, frames=exact(frozen, clip.frames), audio=exact(frozen, clip.audio))

        inputs = [features(clip) for clip in clips]
        stage1 = stage1_of(mode, lambda clip_id: features(pixels(clip_id)))
        trunk = stage1.networks[name].trunk
        whole = (lambda images: trunk(backbone.convolutional(images))) if mode == "fc" else backbone
    passed: list[int] = []
    hook = stage1.networks[name].trunk.register_forward_hook(
        lambda trunk, given, made: passed.append(len(given[0]))
    )
    ours = stage1.scores(name, inputs)
    hook.remove()
    assert passed == [2 * (SEGMENTS if name == "audio" else FRAMES)]
    naive = by_segment(stage1, name, whole, clips)
    assert float(naive.detach().std()) > 1e-3
    torch.testing.assert_close(ours, naive, rtol=1e-10, atol=1e-10)
    network = stage1.networks[name]
    one, other = gradients(ours, network), gradients(naive, network)
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert float(value.abs().max()) > 0, key
        torch.testing.assert_close(value, other[key], rtol=1e-10, atol=1e-10)


def exact(frozen: FrozenTrunk, images: Tensor) -> Tensor:
    """Features before they are rounded for the store."""
    with torch.no_grad():
        return frozen._half(images)
