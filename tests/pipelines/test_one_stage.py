"""All networks trained at once, by the fusion's loss: as a plain loop does it, to the same bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipelines.checkpoints import Checkpoints
from pipelines.errors import UsageError
from pipelines.inputs import ClipCache, ClipTensors, Wall
from pipelines.networks.backbone import ModelConfig
from pipelines.networks.fusion import FusionConfig, SegmentVectors
from pipelines.one_stage import JointNetwork
from pipelines.split_task import Row, SplitResult, SplitTask, seed_for
from pipelines.training import SplitTraining
from pipelines.training_config import TrainingConfig

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL = ModelConfig(backbone="tiny_network:TinyBackbone", lstm_hidden=7)
FUSION = FusionConfig(attention_size=4, dropout=0.0)
ONE = TrainingConfig(
    stages="one", precision="float32", joint_epochs=2, clips_per_batch=2, patience=99
)
TRAIN, VALIDATION, TEST = ("a/0", "a/1", "a/2", "b/0", "b/1"), ("c/0", "c/1"), ("d/0", "d/1")
LABEL = {clip_id: int(clip_id[-1]) % 2 for clip_id in TRAIN + VALIDATION + TEST}
SEGMENTS, FRAMES = 3, 6
SIZES = {"fc": 48, "frozen": 12}


def made(clip_id: str, trunk: str = "full") -> ClipTensors:
    """Noise: pixels, or what a frozen (part of a) trunk might have made of them."""
    random = torch.Generator().manual_seed(seed_for(0, clip_id))

    def noise(number: int, side: int) -> Tensor:
        if trunk == "full":
            shape = (number, 3, side, side)
            return torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)
        return torch.randn(number, SIZES[trunk], generator=random, dtype=torch.float64)

    starts = torch.randint(0, FRAMES - 3, (SEGMENTS,), generator=random)
    return ClipTensors(
        clip_id=clip_id,
        frames=noise(FRAMES, 24),
        audio=noise(SEGMENTS, 64),
        frame_indices=torch.stack([torch.arange(20) * 4 // 20 + int(s) for s in starts]),
    )


def training_of(
    config: TrainingConfig = ONE,
    fusion: FusionConfig = FUSION,
    *,
    model: ModelConfig = MODEL,
    validation: Sequence[str] = VALIDATION,
    checkpoints: Checkpoints | None = None,
    on_epoch: Callable[[Row], None] = lambda row: None,
    halts: Callable[[Sequence[Row]], bool] = lambda curves: False,
) -> SplitTraining:
    task = SplitTask(
        split_id="held-out-d",
        repeat=0,
        seed=7,
        classes=("anger", "fear"),
        train=tuple((c, LABEL[c]) for c in TRAIN),
        validation=tuple((c, LABEL[c]) for c in validation),
        test=TEST,
    )
    allowed = {
        "stage1_fit": frozenset(TRAIN),
        "stage1_choose": frozenset(validation),
        "test": frozenset(TEST),
    }
    return SplitTraining(
        task,
        # To phases of a second stage this wall opens nothing.
        Wall(clips=ClipCache(lambda c: made(c, config.trunk), 2**30), allowed=allowed),
        model=model,
        fusion=fusion,
        training=config,
        device=torch.device("cpu"),
        checkpoints=checkpoints or Checkpoints(folder=None, key="", every_s=0.0),
        on_epoch=on_epoch,
        halts=halts,
    )


def joint(training: SplitTraining) -> JointNetwork:
    assert training.one_stage is not None
    return training.one_stage.network


def told(result: SplitResult) -> list[object]:
    return [*result.segments, *result.curves, result.chosen_epochs, result.reads]


def naive_scores(network: JointNetwork, clips: Sequence[ClipTensors]) -> Tensor:
    """The plain way: each image by itself through its trunk, each segment through torch's LSTM."""
    lstm = network.temporal.lstm
    assert isinstance(lstm, nn.LSTM)
    audio, visual, of_clip = [], [], []
    for number, clip in enumerate(clips):
        for segment in range(clip.segments):
            audio.append(network.audio_trunk(clip.audio[segment : segment + 1]))
            shown = [
                network.visual_trunk(clip.frames[i : i + 1]) for i in clip.frame_indices[segment]
            ]
            states = lstm(torch.cat(shown)[None])[0]
            visual.append(states if network.fusion.of_states else states[:, -1])
            of_clip.append(number)
    vectors = SegmentVectors(torch.cat(audio), torch.cat(visual), torch.tensor(of_clip))
    scores: Tensor = network.fusion(vectors).scores
    return scores


def naive_training(training: SplitTraining) -> None:
    """Adam, its two rates and a weighted loss, as one would write them."""
    network, config = joint(training), training.config
    trunk = [*network.audio_trunk.parameters(), *network.visual_trunk.parameters()]
    head = [*network.temporal.parameters(), *network.fusion.parameters()]
    adam = torch.optim.Adam(
        [
            {"params": params, "lr": rate}
            for params, rate in ((trunk, config.trunk_rate), (head, config.head_rate))
            if params
        ]
    )
    # Three clips of one class and two of the other: the inverse shares, with mean 1.
    weights = torch.tensor([0.8, 1.2], dtype=torch.float64)
    random = torch.Generator().manual_seed(seed_for(7, "joint", "fit"))
    for _ in range(config.joint_epochs):
        order = torch.randperm(len(TRAIN), generator=random).tolist()
        for numbers in (order[0:2], order[2:4], order[4:5]):
            clips = [made(TRAIN[number], config.trunk) for number in numbers]
            rows = 1 if network.fusion.per_clip else SEGMENTS
            labels = torch.tensor([LABEL[clip.clip_id] for clip in clips for _ in range(rows)])
            adam.zero_grad()
            loss = cross_entropy(naive_scores(network, clips), labels, weight=weights)
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()


def doubled(training: SplitTraining) -> SplitTraining:
    joint(training).double()
    assert training.class_weights is not None
    training.class_weights = training.class_weights.double()
    return training


@pytest.mark.parametrize(
    ("trunk", "attend_over", "hidden"),
    [
        ("full", "modalities", []),
        ("full", "concat", [6, 5]),
        ("fc", "segments", []),
        ("frozen", "timesteps", [5]),
    ],
)
def test_it_learns_what_a_plain_loop_over_segments_learns(
    trunk: str, attend_over: str, hidden: list[int]
) -> None:
    config = replace(ONE, trunk=trunk, keep="last", trunk_rate=1e-3, head_rate=1e-2)
    fusion = replace(FUSION, attend_over=attend_over, hidden=hidden)
    ours, plain = (doubled(training_of(config, fusion)) for _ in range(2))
    start = {name: value.clone() for name, value in joint(ours).state_dict().items()}
    result = ours.run()
    naive_training(plain)
    theirs = joint(plain).state_dict()
    for name, value in joint(ours).state_dict().items():
        assert not torch.equal(value, start[name]), name
        torch.testing.assert_close(value, theirs[name], rtol=1e-7, atol=1e-9)
    joint(plain).eval()
    expected = torch.cat([naive_scores(joint(plain), [made(c, trunk)]) for c in TEST]).softmax(1)
    if attend_over == "segments":
        expected = expected.repeat_interleave(SEGMENTS, 0)
    predicted = torch.tensor([s.probabilities for s in result.segments], dtype=torch.float64)
    torch.testing.assert_close(predicted, expected.detach(), rtol=1e-7, atol=1e-9)
    held_out = [made(c, trunk) for c in VALIDATION]
    rows = 1 if attend_over == "segments" else SEGMENTS
    labels = torch.tensor([LABEL[clip.clip_id] for clip in held_out for _ in range(rows)])
    loss = float(cross_entropy(naive_scores(joint(plain), held_out).detach(), labels))
    assert result.curves[-1]["validation_loss"] == pytest.approx(loss, rel=1e-6)


def test_one_loss_reaches_trunks_lstm_and_fusion_and_no_softmax_of_stage_1() -> None:
    training = training_of()
    network = joint(training)
    network([made("a/0"), made("b/1")]).scores.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name
    ours = {id(parameter) for parameter in network.parameters()}
    for recogniser in training.stage1.networks.values():
        left = {n for n, p in recogniser.named_parameters() if id(p) not in ours}
        assert left == {"output.weight", "output.bias"}
    numbers = sum(parameter.numel() for parameter in network.parameters())
    assert training.result.parameters == {"joint": numbers}


def test_it_starts_where_two_stages_start() -> None:
    one, two = training_of(), training_of(replace(ONE, stages="two"))
    assert two.fusion is not None
    pairs = [
        (joint(one).audio_trunk, two.stage1.audio.trunk),
        (joint(one).visual_trunk, two.stage1.visual.trunk),
        (joint(one).temporal, two.stage1.visual.temporal),
        (joint(one).fusion, two.fusion),
    ]
    for ours, theirs in pairs:
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        for name, value in ours.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name])


def test_it_reads_what_a_first_stage_reads_and_keeps_the_epoch_of_the_lowest_loss() -> None:
    config = replace(ONE, joint_epochs=8, head_rate=0.02)
    training = training_of(config)
    result = training.run()
    assert result.reads == {
        "stage1_fit": sorted(TRAIN),
        "stage1_choose": sorted(VALIDATION),
        "test": sorted(TEST),
    }
    assert {row["network"] for row in result.curves} == set(training.networks) == {"joint"}
    losses = [float(row["validation_loss"]) for row in result.curves]
    assert result.chosen_epochs == {"joint": 1 + losses.index(min(losses))}
    # Noise is soon learned by heart: there was a choice.
    assert result.chosen_epochs["joint"] < 8
    assert set(result.seconds) == {"joint", "test"}
    assert not any(parameter.requires_grad for parameter in joint(training).parameters())
    again = training_of(replace(config, keep="last", joint_epochs=result.chosen_epochs["joint"]))
    assert again.run().segments == result.segments


VARIED = replace(ONE, joint_epochs=5, augment=True, segments_per_clip=2, schedule="cosine")


@pytest.mark.parametrize("killed_after", [2, 5])
def test_a_killed_training_goes_on_to_the_same_bits(killed_after: int, tmp_path: Path) -> None:
    fusion = replace(FUSION, attend_over="segments", dropout=0.3)
    whole = training_of(VARIED, fusion).run()

    def kill(row: Row) -> None:
        if row["epoch"] == min(killed_after + 1, 5) and killed_after < 5:
            raise KeyboardInterrupt

    def kept() -> Checkpoints:
        return Checkpoints(folder=tmp_path, key="k", every_s=0.0)

    killed = training_of(VARIED, fusion, checkpoints=kept(), on_epoch=kill)
    if killed_after < 5:
        with pytest.raises(KeyboardInterrupt):
            killed.run()
    else:
        killed.run()
    assert [path.name for path in tmp_path.iterdir()] == ["joint.pt"]
    torch.manual_seed(99)
    resumed = training_of(VARIED, fusion, checkpoints=kept()).run()
    assert resumed.resumed == {"joint": killed_after}
    assert told(resumed) == told(whole)


def test_an_epoch_varies_both_modalities_of_the_segments_that_it_draws() -> None:
    training = training_of(VARIED)
    seen: list[tuple[bool, int, float]] = []
    joint(training).audio_trunk.register_forward_hook(
        lambda trunk, images, _: seen.append(
            (trunk.training, len(images[0]), float(images[0].double().sum()))
        )
    )
    training.run()
    learned = [(number, total) for training, number, total in seen if training]
    assert sum(number for number, _ in learned) == 5 * 2 * len(TRAIN)
    assert len({total for _, total in learned}) == len(learned)
    held_out = {(n, total) for training, n, total in seen if not training and n == 2 * SEGMENTS}
    clips = torch.cat([made(clip_id).audio for clip_id in VALIDATION])
    assert held_out == {(2 * SEGMENTS, float(clips.double().sum()))}


def test_a_device_out_of_memory_takes_clips_in_parts_and_learns_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fusion = replace(FUSION, attend_over="segments")
    whole, cramped = (doubled(training_of(ONE, fusion)) for _ in range(2))
    expected = whole.run()
    make = cramped.stage1.segment_vectors

    def small(clips: Sequence[ClipTensors], *, states: bool) -> SegmentVectors:
        if len(clips) > 1:
            raise torch.OutOfMemoryError("planted")
        return make(clips, states=states)

    monkeypatch.setattr(cramped.stage1, "segment_vectors", small)
    result = cramped.run()
    assert "the joint network ran out of memory" in result.warnings[0]
    for ours, theirs in zip(result.segments, expected.segments, strict=True):
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-9)


def test_it_can_be_given_up() -> None:
    whole = training_of().run()
    halted = training_of(halts=lambda curves: len(curves) == 2).run()
    assert (halted.halted, halted.segments) == (True, [])
    assert halted.curves == whole.curves[:2]


def test_a_loss_that_overflows_is_said_with_what_to_lower() -> None:
    with pytest.raises(FloatingPointError, match=r"joint network.*training\.trunk_rate"):
        training_of(replace(ONE, trunk_rate=math.exp(70), head_rate=math.exp(70))).run()


@pytest.mark.parametrize("modality", ["audio", "visual"])
def test_one_modality_has_nothing_to_train_in_one_stage(modality: str) -> None:
    with pytest.raises(UsageError) as refused:
        training_of(model=replace(MODEL, modalities=modality))
    assert str(refused.value) == (
        "training.stages (one) trains by the loss of the fusion, and with model.modalities "
        f"({modality}) there is none: use training.stages=two, or model.modalities=both"
    )
