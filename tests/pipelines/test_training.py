"""Two-stage training of a split: it learns, repeats to the bit, and never peeks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipelines.errors import UsageError
from pipelines.fitting import Fit, Fitted
from pipelines.inputs import ClipCache, ClipTensors, Wall, WallError
from pipelines.networks.backbone import ModelConfig, build_backbone
from pipelines.networks.frozen import FrozenTrunk
from pipelines.networks.fusion import Fused, FusionConfig
from pipelines.split_task import Row, SplitResult, SplitTask, seed_for
from pipelines.training import SplitTraining
from pipelines.training_config import TrainingConfig

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ("anger", "fear")
SUBJECTS, TAKES = ("s1", "s2", "s3", "s4"), 4
SEGMENTS, FRAMES = 3, 5
MODEL = ModelConfig(backbone="small", lstm_hidden=8, dropout=0.1)
FUSION = FusionConfig(attention_size=4, dropout=0.1)
SHORT = TrainingConfig(
    precision="float32", audio_epochs=2, visual_epochs=2, fusion_epochs=3, patience=10
)


def label_of(clip_id: str) -> int:
    return CLASSES.index(clip_id.split("/")[1].split("_")[0])


def clip_ids(*subjects: str) -> list[str]:
    return [
        f"{s}/{emotion}_{take}" for s in subjects for emotion in CLASSES for take in range(TAKES)
    ]


def make_clip(clip_id: str) -> ClipTensors:
    """A clip whose sound tells its class: upper or lower rows are louder. Its faces are noise."""
    generator = torch.Generator().manual_seed(seed_for(0, clip_id))

    def noise(*shape: int) -> Tensor:
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)

    images = noise(SEGMENTS, 3, 32, 32) // 2
    half = slice(0, 16) if label_of(clip_id) == 0 else slice(16, 32)
    images[:, :, half] += 60
    return ClipTensors(
        clip_id=clip_id,
        frames=noise(FRAMES, 3, 16, 16),
        audio=images,
        frame_indices=torch.stack([torch.arange(20) * 3 // 20 + s for s in range(SEGMENTS)]),
    )


def make_task(held_out: str = "s4", choose_by: str = "s3", **changes: object) -> SplitTask:
    train = clip_ids(*(s for s in SUBJECTS if s not in (held_out, choose_by)))
    task = SplitTask(
        split_id=f"held-out-{held_out}",
        repeat=0,
        seed=7,
        classes=CLASSES,
        train=tuple((c, label_of(c)) for c in train),
        validation=tuple((c, label_of(c)) for c in clip_ids(choose_by)),
        test=tuple(clip_ids(held_out)),
    )
    return replace(task, **changes)  # type: ignore[arg-type]


class SpyWall(Wall):
    """Notes, at every read, whether the model was frozen."""

    def __init__(self, task: SplitTask, clips: ClipCache | None = None) -> None:
        train = frozenset(clip_id for clip_id, _ in task.train)
        validation = frozenset(clip_id for clip_id, _ in task.validation)
        super().__init__(
            clips=clips or ClipCache(make_clip, 2**30),
            allowed={
                "stage1_fit": train,
                "stage1_choose": validation,
                "stage2_fit": train,
                "stage2_choose": validation,
                "test": frozenset(task.test),
            },
        )
        self.log: list[tuple[str, str, bool]] = []

    def read(self, phase: str, clip_id: str) -> ClipTensors:
        self.log.append((phase, clip_id, self.frozen))
        return super().read(phase, clip_id)


def training_of(
    task: SplitTask | None = None,
    config: TrainingConfig = SHORT,
    *,
    clips: ClipCache | None = None,
    model: ModelConfig = MODEL,
    fusion: FusionConfig = FUSION,
    on_epoch: Callable[[Row], None] = lambda row: None,
) -> SplitTraining:
    task = task or make_task()
    return SplitTraining(
        task,
        SpyWall(task, clips),
        model=model,
        fusion=fusion,
        training=config,
        device=torch.device("cpu"),
        on_epoch=on_epoch,
    )


def probabilities(result: SplitResult) -> list[tuple[object, ...]]:
    return [
        (s.clip_id, s.segment_index, s.probabilities, s.attention["audio"]) for s in result.segments
    ]


@pytest.fixture(scope="module")
def short() -> tuple[SplitTraining, SplitResult]:
    training = training_of()
    return training, training.run()


def test_a_planted_signal_in_the_sound_is_found_on_an_unseen_subject() -> None:
    config = TrainingConfig(precision="float32", audio_epochs=10, visual_epochs=1, fusion_epochs=40)
    result = training_of(config=config).run()
    right = [segment.probabilities[label_of(segment.clip_id)] > 0.5 for segment in result.segments]
    assert len(right) == len(clip_ids("s4")) * SEGMENTS
    # By chance 22 of 24 come less than once in 50,000 times.
    assert sum(right) >= 22


def test_every_test_segment_has_one_prediction_that_sums_to_one(
    short: tuple[SplitTraining, SplitResult],
) -> None:
    _, result = short
    told = [(segment.clip_id, segment.segment_index) for segment in result.segments]
    assert told == [(clip_id, index) for clip_id in clip_ids("s4") for index in range(SEGMENTS)]
    for segment in result.segments:
        assert sum(segment.probabilities) == pytest.approx(1.0, abs=1e-12)
        assert set(segment.attention) == {"audio", "visual"}
        assert np.sum(list(segment.attention.values())) == pytest.approx(1.0, abs=1e-5)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(
    short: tuple[SplitTraining, SplitResult],
) -> None:
    assert probabilities(training_of().run()) == probabilities(short[1])
    other = training_of(make_task(seed=8)).run()
    assert probabilities(other) != probabilities(short[1])


def test_what_was_drawn_before_in_this_process_does_not_matter(
    short: tuple[SplitTraining, SplitResult],
) -> None:
    torch.manual_seed(12345)
    training = training_of()
    torch.rand(99)
    assert probabilities(training.run()) == probabilities(short[1])


def test_the_order_of_the_splits_does_not_matter() -> None:
    tasks = {held_out: make_task(held_out, choose_by="s1") for held_out in ("s3", "s4")}

    def run_in(order: tuple[str, ...]) -> dict[str, object]:
        # Clips are shared by the splits of a process; this memory drops them now and then.
        shared = ClipCache(make_clip, 20 * make_clip("s1/anger_0").bytes)
        return {
            held_out: probabilities(training_of(tasks[held_out], clips=shared).run())
            for held_out in order
        }

    assert run_in(("s3", "s4")) == run_in(("s4", "s3"))


def test_a_clips_prediction_does_not_depend_on_the_other_test_clips(
    short: tuple[SplitTraining, SplitResult],
) -> None:
    fewer = clip_ids("s4")[5:2:-2]
    result = training_of(make_task(test=tuple(fewer))).run()
    of_all = {(clip_id, index): rest for clip_id, index, *rest in probabilities(short[1])}
    assert [s.clip_id for s in result.segments[::SEGMENTS]] == fewer
    for clip_id, index, *rest in probabilities(result):
        assert rest == of_all[clip_id, index]


def test_training_leaves_the_number_of_threads_alone() -> None:
    task = make_task()
    few = make_task(train=task.train[::8], validation=(), test=task.test[:1])
    torch.set_num_threads(2)
    try:
        training_of(few, replace(SHORT, audio_epochs=1, visual_epochs=1, fusion_epochs=1)).run()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_test_clips_open_when_nothing_is_left_to_choose(
    short: tuple[SplitTraining, SplitResult],
) -> None:
    wall = short[0].wall
    assert isinstance(wall, SpyWall)
    tested = set(clip_ids("s4"))
    assert {clip_id for _, clip_id, frozen in wall.log if frozen} == tested
    assert not {clip_id for _, clip_id, frozen in wall.log if not frozen} & tested
    kinds = [frozen for *_, frozen in wall.log]
    assert kinds == sorted(kinds)


def test_reads_are_listed_by_phase(short: tuple[SplitTraining, SplitResult]) -> None:
    train, validation, test = clip_ids("s1", "s2"), clip_ids("s3"), clip_ids("s4")
    assert short[1].reads == {
        "stage1_fit": sorted(train),
        "stage1_choose": sorted(validation),
        "stage2_fit": sorted(train),
        "stage2_choose": sorted(validation),
        "test": sorted(test),
    }


def test_labels_of_test_clips_are_not_needed_and_not_there(
    short: tuple[SplitTraining, SplitResult],
) -> None:
    assert not set(short[0].clips.label_of) & set(clip_ids("s4"))


def state(network: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(network.state_dict())


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


class Counter:
    """Counts the images that enter a trunk, in training mode and otherwise."""

    def __init__(self, trunk: nn.Module) -> None:
        self.images: list[Tensor] = []
        self.training: list[bool] = []
        trunk.register_forward_hook(self._note)

    def _note(self, trunk: nn.Module, arguments: tuple[Tensor, ...], features: Tensor) -> None:
        self.images.append(arguments[0].clone())
        self.training.append(trunk.training)

    def total(self, training: bool | None = None) -> int:
        kinds = zip(self.images, self.training, strict=True)
        return sum(len(images) for images, kind in kinds if training in (None, kind))


def test_a_full_trunk_sees_each_unique_frame_once_an_epoch() -> None:
    training = training_of()
    audio, visual = Counter(training.stage1.audio.trunk), Counter(training.stage1.visual.trunk)
    training.run()
    train, held_out, tested = len(clip_ids("s1", "s2")), len(clip_ids("s3")), len(clip_ids("s4"))
    for counter, per_clip in ((audio, SEGMENTS), (visual, FRAMES)):
        assert counter.total(training=True) == 2 * train * per_clip
        # Each epoch's validation, then the features of stage 2, then the test.
        assert (
            counter.total(training=False) == (2 * held_out + train + held_out + tested) * per_clip
        )


@cache
def frozen_trunk(layer: str) -> FrozenTrunk:
    torch.manual_seed(11)
    cpu = torch.device("cpu")
    return FrozenTrunk(build_backbone(MODEL), layer=layer, compute=None, device=cpu)


def clip_of_features(clip_id: str, layer: str) -> ClipTensors:
    """The clip as the feature store holds it."""
    clip = make_clip(clip_id)
    frozen = frozen_trunk(layer)
    return replace(clip, frames=frozen(clip.frames).half(), audio=frozen(clip.audio).half())


@pytest.mark.parametrize(("trunk", "layer"), [("frozen", "features"), ("fc", "pooled")])
def test_on_features_only_what_stands_on_the_frozen_layers_is_trained(
    trunk: str, layer: str
) -> None:
    clips = ClipCache(partial(clip_of_features, layer=layer), 2**30)
    config = replace(SHORT, trunk=trunk, audio_epochs=12, fusion_epochs=20, segments_per_clip=2)
    training = training_of(config=config, clips=clips)
    before = {name: state(network) for name, network in training.networks.items()}
    whole = sum(p.numel() for p in build_backbone(MODEL).parameters())
    convolutional_half = build_backbone(MODEL).features
    assert isinstance(convolutional_half, nn.Module)
    convolutions = sum(p.numel() for p in convolutional_half.parameters())
    trained = sum(p.numel() for p in training.stage1.audio.trunk.parameters())
    assert trained == (0 if trunk == "frozen" else whole - convolutions)
    result = training.run()
    for name, network in training.networks.items():
        assert changed(before[name], state(network)) == set(before[name])
    right = [segment.probabilities[label_of(segment.clip_id)] > 0.5 for segment in result.segments]
    assert len(right) == len(clip_ids("s4")) * SEGMENTS
    # By chance 20 of 24 come once in 1,300 times; the sound of these clips tells their class.
    assert sum(right) >= 20
    again = training_of(config=config, clips=clips).run()
    assert probabilities(again) == probabilities(result)


def test_augmentation_of_features_is_not_done_and_not_passed_over_in_silence() -> None:
    clips = ClipCache(partial(clip_of_features, layer="features"), 2**30)
    config = replace(SHORT, trunk="frozen", augment=True)
    result = training_of(config=config, clips=clips).run()
    assert [w for w in result.warnings if "training.augment does nothing" in w]
    plain = training_of(config=replace(SHORT, trunk="frozen"), clips=clips).run()
    assert probabilities(plain) == probabilities(result)


@pytest.mark.parametrize("modality", ["audio", "visual"])
def test_one_modality_alone_is_its_own_network_and_its_own_softmax(modality: str) -> None:
    config = replace(SHORT, audio_epochs=10, augment=True, segments_per_clip=2)
    both = training_of(config=config)
    both.run()
    alone = training_of(config=config, model=replace(MODEL, modalities=modality))
    result = alone.run()
    assert list(alone.networks) == [modality]
    assert set(result.chosen_epochs) == set(result.parameters) == {modality}
    assert set(result.reads) == {"stage1_fit", "stage1_choose", "test"}
    # Stage 1 is the same whether or not another network and a fusion come after it.
    for name, value in both.stage1.networks[modality].state_dict().items():
        assert torch.equal(value, alone.networks[modality].state_dict()[name])
    clip = make_clip("s4/fear_0")
    with torch.no_grad():
        scores = both.stage1.scores(modality, [clip])
    told = [s.probabilities for s in result.segments if s.clip_id == "s4/fear_0"]
    expected = torch.softmax(scores.double(), 1)
    torch.testing.assert_close(torch.tensor(told, dtype=torch.float64), expected)
    assert all(segment.attention == {} for segment in result.segments)


@pytest.mark.parametrize("attend_over", ["timesteps", "features", "segments", "concat"])
def test_every_way_to_attend_trains_and_predicts_each_segment(attend_over: str) -> None:
    config = replace(SHORT, audio_epochs=10, fusion_epochs=40)
    fusion = replace(FUSION, attend_over=attend_over)
    result = training_of(config=config, fusion=fusion).run()
    told = [(segment.clip_id, segment.segment_index) for segment in result.segments]
    assert told == [(clip_id, index) for clip_id in clip_ids("s4") for index in range(SEGMENTS)]
    right = [segment.probabilities[label_of(segment.clip_id)] > 0.5 for segment in result.segments]
    assert sum(right) >= 20
    names = {"timesteps": {"timesteps"}, "features": {"audio", "visual"}, "segments": {"segments"}}
    assert set(result.segments[0].attention) == names.get(attend_over, set())
    if attend_over == "segments":
        for clip_id in clip_ids("s4"):
            rows = [segment for segment in result.segments if segment.clip_id == clip_id]
            assert len({row.probabilities for row in rows}) == 1
            shares = [row.attention["segments"] for row in rows]
            assert sum(s for s in shares if isinstance(s, float)) == pytest.approx(1.0)


def test_in_one_stage_the_sound_is_found_too() -> None:
    config = replace(SHORT, stages="one", joint_epochs=12, trunk_rate=1e-3)
    result = training_of(config=config).run()
    right = [segment.probabilities[label_of(segment.clip_id)] > 0.5 for segment in result.segments]
    assert len(right) == len(clip_ids("s4")) * SEGMENTS
    # By chance 22 of 24 come less than once in 50,000 times.
    assert sum(right) >= 22


def test_a_full_trunk_is_trained() -> None:
    training = training_of()
    before = {name: state(network) for name, network in training.networks.items()}
    training.run()
    for name, network in training.networks.items():
        assert changed(before[name], state(network)) == set(before[name])


def test_stage_2_leaves_the_networks_of_stage_1_as_they_are() -> None:
    states: list[dict[str, Tensor]] = []

    def on_epoch(row: Row) -> None:
        if row["network"] == "fusion":
            states.append({**state(training.stage1.audio), **state(training.stage1.visual)})

    training = training_of(config=replace(SHORT, fusion_epochs=8), on_epoch=on_epoch)
    training.run()
    assert len(states) == 8
    assert changed(states[0], states[-1]) == set()
    assert (
        changed(states[0], {**state(training.stage1.audio), **state(training.stage1.visual)})
        == set()
    )


def test_the_kept_epochs_are_those_with_the_lowest_validation_loss() -> None:
    config = TrainingConfig(
        precision="float32", audio_epochs=6, visual_epochs=5, fusion_epochs=9, patience=100
    )
    rows: list[Row] = []
    result = training_of(config=config, on_epoch=rows.append).run()
    assert rows == result.curves
    for name, epochs in (("audio", 6), ("visual", 5), ("fusion", 9)):
        of_network = [row for row in result.curves if row["network"] == name]
        assert [row["epoch"] for row in of_network] == list(range(1, epochs + 1))
        losses = [float(row["validation_loss"]) for row in of_network]
        assert result.chosen_epochs[name] == 1 + losses.index(min(losses))
    # Faces are noise here: what is learned of them is soon wrong, so that a choice was made.
    assert result.chosen_epochs["visual"] < 5


def test_without_a_validation_subject_the_last_epoch_is_kept_and_a_warning_says_so() -> None:
    result = training_of(make_task(validation=())).run()
    assert result.chosen_epochs == {"audio": 2, "visual": 2, "fusion": 3}
    assert [w for w in result.warnings if "validation" in w and "last epoch" in w]
    assert set(result.reads) == {"stage1_fit", "stage2_fit", "test"}
    assert len(result.segments) == len(clip_ids("s4")) * SEGMENTS


def test_with_all_there_is_nothing_to_warn_of(short: tuple[SplitTraining, SplitResult]) -> None:
    assert short[1].warnings == []


@pytest.mark.parametrize("class_weights", [True, False])
def test_a_class_without_training_clips_is_warned_of_and_trained_without(
    class_weights: bool,
) -> None:
    classes = (*CLASSES, "joy")
    config = replace(SHORT, class_weights=class_weights)
    result = training_of(make_task(classes=classes), config).run()
    assert [w for w in result.warnings if "joy" in w]
    assert not [w for w in result.warnings if "anger" in w or "fear" in w]
    assert all(len(segment.probabilities) == 3 for segment in result.segments)


def test_a_class_that_only_the_validation_subject_shows_does_not_crash() -> None:
    fear_only = tuple(pair for pair in make_task().train if pair[1] == 1)
    result = training_of(make_task(train=fear_only)).run()
    assert [w for w in result.warnings if "anger" in w]
    assert len(result.segments) == len(clip_ids("s4")) * SEGMENTS


def test_classes_weigh_the_inverse_of_their_share_of_segments() -> None:
    task = make_task()
    unbalanced = (*[p for p in task.train if p[1] == 0][:3], *[p for p in task.train if p[1] == 1])
    training = training_of(replace(task, train=unbalanced, classes=(*CLASSES, "joy")))
    # 9 segments of anger, 24 of fear: in the ratio of 24 to 9, with mean 1; joy has none.
    assert training.class_weights is not None
    assert training.class_weights.tolist() == pytest.approx([2 * 24 / 33, 2 * 9 / 33, 0.0])
    assert training_of(config=replace(SHORT, class_weights=False)).class_weights is None


def test_a_loss_that_overflows_stops_the_split_with_the_setting_to_lower() -> None:
    with pytest.raises(FloatingPointError, match=r"audio network.*training\.head_rate"):
        training_of(config=replace(SHORT, head_rate=1e30, trunk_rate=1e30, audio_epochs=9)).run()


@pytest.mark.parametrize("count", [1, 2])
def test_an_epoch_takes_so_many_segments_of_each_clip_and_the_rest_of_the_work_all(
    count: int,
) -> None:
    training = training_of(config=replace(SHORT, segments_per_clip=count))
    audio, visual = Counter(training.stage1.audio.trunk), Counter(training.stage1.visual.trunk)
    result = training.run()
    train = len(clip_ids("s1", "s2"))
    assert audio.total(training=True) == 2 * train * count
    # Segment k has frames k to k + 2: one has 3 frames, two neighbours 4, the outer two 5.
    assert 2 * train * 3 <= visual.total(training=True) <= 2 * train * (3 if count == 1 else 5)
    assert len(result.segments) == len(clip_ids("s4")) * SEGMENTS
    assert audio.total(training=False) == (3 * len(clip_ids("s3")) + train + 8) * SEGMENTS


def test_drawn_segments_change_from_epoch_to_epoch() -> None:
    config = replace(SHORT, segments_per_clip=1, clips_per_batch=100, visual_epochs=1)
    training = training_of(config=config)
    audio = Counter(training.stage1.audio.trunk)
    training.run()
    epochs = [
        {int(image.long().sum()) for image in images}
        for images, kind in zip(audio.images, audio.training, strict=True)
        if kind
    ]
    assert len(epochs) == 2
    assert len(epochs[0] - epochs[1]) > 2


def test_augmentation_varies_what_is_trained_on_and_nothing_else() -> None:
    training = training_of(config=replace(SHORT, augment=True))
    audio, visual = Counter(training.stage1.audio.trunk), Counter(training.stage1.visual.trunk)
    training.run()
    clips = [make_clip(clip_id) for clip_id in clip_ids(*SUBJECTS)]
    known = {
        "audio": {image.numpy().tobytes() for clip in clips for image in clip.audio},
        "visual": {image.numpy().tobytes() for clip in clips for image in clip.frames},
    }
    for name, counter in (("audio", audio), ("visual", visual)):
        as_read = {True: 0, False: 0}
        for images, kind in zip(counter.images, counter.training, strict=True):
            as_read[kind] += sum(image.numpy().tobytes() in known[name] for image in images)
        assert as_read[False] == counter.total(training=False) > 0
        assert as_read[True] < 0.1 * counter.total(training=True)


def test_attention_weights_bear_the_names_of_their_modalities() -> None:
    training = training_of()
    told: list[list[float]] = []

    def note(network: nn.Module, vectors: object, fused: Fused) -> None:
        if training.wall.frozen:
            columns = [fused.attention["audio"], fused.attention["visual"]]
            told.extend(torch.stack(columns, dim=1).double().tolist())

    training.networks["fusion"].register_forward_hook(note)
    segments = training.run().segments
    assert [[s.attention["audio"], s.attention["visual"]] for s in segments] == told
    assert all(audio != visual for audio, visual in told)


def unscaled_clip(clip_id: str) -> ClipTensors:
    """A clip whose audio images are as stored: its rows lie far apart."""
    clip = make_clip(clip_id)
    rows = torch.linspace(-700, 300, 32).view(1, 1, 32, 1)
    return replace(clip, audio=(clip.audio.float() / 8 + rows).half())


STANDARDISED = replace(SHORT, rescaling="standardised")


def standardised_training(clips: Callable[[str], ClipTensors] = unscaled_clip) -> SplitTraining:
    return training_of(config=STANDARDISED, clips=ClipCache(clips, 2**30))


def test_standardising_is_fitted_on_the_training_clips_and_says_so() -> None:
    training = standardised_training()
    seen: list[Tensor] = []
    hook = training.stage1.audio.trunk.register_forward_hook(
        lambda trunk, images, features: seen.append(images[0])
    )
    result = training.run()
    hook.remove()
    assert result.fitted == {"standardiser": clip_ids("s1", "s2")}
    assert {images.dtype for images in seen} == {torch.uint8}
    stored = torch.cat([unscaled_clip(c).audio for c in clip_ids("s1", "s2")]).double()
    mean, deviation = (stored.mean(dim=(0, 3)), stored.std(dim=(0, 3), correction=0))
    tested = unscaled_clip(clip_ids("s4")[-1]).audio.double()
    standard = (tested - mean[None, :, :, None]) / deviation[None, :, :, None]
    expected = (127.5 + 127.5 / 4 * standard).clamp(0, 255)
    assert (seen[-1].double() - expected).abs().max() <= 0.5 + 1e-3
    assert probabilities(standardised_training().run()) == probabilities(result)


def test_what_validation_and_test_clips_hold_does_not_move_the_standardiser() -> None:
    def others_louder(clip_id: str) -> ClipTensors:
        clip = unscaled_clip(clip_id)
        louder = clip.audio + (200 if clip_id.startswith(("s3", "s4")) else 0)
        return replace(clip, audio=louder)

    one, other = standardised_training().clips.standardiser, standardised_training(others_louder)
    assert one is not None
    assert other.clips.standardiser is not None
    assert torch.equal(one.mean, other.clips.standardiser.mean)
    assert torch.equal(one.deviation, other.clips.standardiser.deviation)


@pytest.mark.parametrize("subject", ["s3", "s4"])
def test_a_standardiser_that_asks_for_other_clips_meets_the_wall(subject: str) -> None:
    task = make_task()
    leaking = replace(task, train=(*task.train, (f"{subject}/anger_0", 0)))
    with pytest.raises(WallError, match=f"stage1_fit asked for {subject}/anger_0"):
        SplitTraining(
            leaking,
            SpyWall(task, ClipCache(unscaled_clip, 2**30)),
            model=MODEL,
            fusion=FUSION,
            training=STANDARDISED,
            device=torch.device("cpu"),
        )


def test_without_standardising_nothing_was_fitted(short: tuple[SplitTraining, SplitResult]) -> None:
    assert short[1].fitted == {}


def test_parameters_and_seconds_are_told(short: tuple[SplitTraining, SplitResult]) -> None:
    _, result = short
    # Fusion of 128 and 8: two projections to 8, W_h of 4 rows, its context, the output.
    assert result.parameters["fusion"] == (128 * 8 + 8) + (8 * 8 + 8) + (8 * 4 + 4) + 4 + (16 + 2)
    trunk = sum(p.numel() for p in short[0].stage1.audio.trunk.parameters())
    assert result.parameters["audio"] == trunk + 128 * 2 + 2
    assert result.parameters["visual"] == trunk + 4 * 8 * (128 + 8 + 2) + 8 * 2 + 2
    assert set(result.seconds) == {"audio", "visual", "fusion", "test"}
    assert all(value > 0 for value in result.seconds.values())


def test_concatenation_has_no_attention_to_tell() -> None:
    task = make_task()
    training = SplitTraining(
        task,
        SpyWall(task),
        model=MODEL,
        fusion=FusionConfig(attend_over="concat"),
        training=SHORT,
        device=torch.device("cpu"),
    )
    assert {str(segment.attention) for segment in training.run().segments} == {"{}"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": "three"}, r"training\.stages \(three\) must be one of: two, one"),
        ({"joint_epochs": 0}, r"training\.joint_epochs \(0\) must be at least 1"),
        ({"trunk": "half"}, r"training\.trunk \(half\) must be one of: full, fc, frozen"),
        ({"schedule": "linear"}, r"training\.schedule \(linear\) must be one of"),
        ({"keep": "first"}, r"training\.keep \(first\) must be one of: best, last"),
        ({"rescaling": "image"}, r"training\.rescaling \(image\) must be one of: row, channel"),
        ({"audio_epochs": 0}, r"training\.audio_epochs \(0\) must be at least 1"),
        ({"patience": 0}, r"training\.patience \(0\) must be at least 1"),
        ({"clips_per_batch": 0}, r"training\.clips_per_batch \(0\) must be at least 1"),
        ({"segments_per_clip": 0}, r"training\.segments_per_clip \(0\) must be at least 1"),
        ({"trunk_rate": 0.0}, r"training\.trunk_rate \(0\.0\) must be greater than 0"),
        ({"head_rate": float("nan")}, r"training\.head_rate \(nan\) must be"),
        ({"head_rate": float("inf")}, r"training\.head_rate \(inf\) must be"),
    ],
)
def test_training_settings_out_of_range_are_refused_by_name(
    settings: dict[str, str | int | float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        TrainingConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("room", [1, 2])
def test_a_device_out_of_memory_is_flagged_and_changes_next_to_nothing(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without dropout, which draws other numbers for other parts.
    model, fusion = replace(MODEL, dropout=0.0), replace(FUSION, dropout=0.0)
    whole = training_of(model=model, fusion=fusion).run()
    training = training_of(model=model, fusion=fusion)
    scores = training.stage1.scores

    def cramped(name: str, clips: Sequence[ClipTensors]) -> Tensor:
        if name == "visual" and len(clips) > room:
            raise torch.OutOfMemoryError("planted")
        return scores(name, clips)

    monkeypatch.setattr(training.stage1, "scores", cramped)
    result = training.run()
    (warning,) = result.warnings
    assert warning.startswith("the visual network ran out of memory on cpu")
    assert f"in parts of {room}" in warning
    for ours, theirs in zip(result.segments, whole.segments, strict=True):
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-5)


def test_a_clip_that_no_device_holds_fails_the_split_with_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = training_of()

    def cramped(name: str, clips: Sequence[ClipTensors]) -> Tensor:
        raise torch.OutOfMemoryError("planted")

    monkeypatch.setattr(training.stage1, "scores", cramped)
    with pytest.raises(MemoryError, match=r"audio network does not fit.*training\.trunk=frozen"):
        training.run()


@pytest.mark.parametrize("where", ["step", "segment_vectors"])
def test_a_device_that_cannot_hold_what_trains_a_network_is_told_with_what_to_set(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("planted")

    training = training_of()
    owner = torch.optim.Adam if where == "step" else training.stage1
    monkeypatch.setattr(owner, where, full)
    with pytest.raises(MemoryError, match=r"held-out-s4 .* do not fit on cpu: lower training\."):
        training.run()


def test_stage_2_leaves_stage_1_as_it_is() -> None:
    before: dict[str, Tensor] = {}
    training = training_of()
    assert training.stage2 is not None
    train = training.stage2.train

    def noting(settings: Fit) -> Fitted:
        before.update(copy.deepcopy(stage1_weights(training)))
        return train(settings)

    training.stage2.train = noting  # type: ignore[method-assign]
    training.run()
    after = stage1_weights(training)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], value) for name, value in after.items())
    frozen = [p for network in training.stage1.networks.values() for p in network.parameters()]
    assert frozen
    assert not any(parameter.requires_grad for parameter in frozen)


def stage1_weights(training: SplitTraining) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value
        for name, network in training.stage1.networks.items()
        for key, value in network.state_dict().items()
    }


def test_bfloat16_agrees_with_float32() -> None:
    """At real sizes: benchmarks/results/C1.json."""
    clips = ClipCache(partial(clip_of_features, layer="features"), 2**30)
    config = replace(SHORT, trunk="frozen", audio_epochs=12, visual_epochs=4, fusion_epochs=20)
    results = {
        precision: training_of(config=replace(config, precision=precision), clips=clips).run()
        for precision in ("float32", "bfloat16")
    }
    pairs = list(zip(*(result.segments for result in results.values()), strict=True))
    assert probabilities(results["float32"]) != probabilities(results["bfloat16"])
    for one, other in pairs:
        assert one.probabilities == pytest.approx(other.probabilities, abs=0.05)


def test_standardised_audio_images_pass_the_frozen_trunk_in_their_own_split() -> None:
    """Nothing of it is stored: the standardiser knows the split's training clips."""
    frozen = frozen_trunk("features")
    passed: list[int] = []

    class Counting(FrozenTrunk):
        def __call__(self, images: Tensor) -> Tensor:
            passed.append(len(images))
            assert images.dtype == torch.uint8
            return frozen(images)

    def clip_of(clip_id: str) -> ClipTensors:
        features = clip_of_features(clip_id, "features")
        return replace(features, audio=unscaled_clip(clip_id).audio)

    task = make_task()
    result = SplitTraining(
        task,
        SpyWall(task, ClipCache(clip_of, 2**30)),
        model=MODEL,
        fusion=FUSION,
        training=replace(STANDARDISED, trunk="frozen", audio_epochs=8, fusion_epochs=20),
        device=torch.device("cpu"),
        frozen_audio=Counting.__new__(Counting),
    ).run()
    assert result.fitted == {"standardiser": clip_ids("s1", "s2")}
    assert passed == [SEGMENTS] * len(clip_ids(*SUBJECTS))  # each clip once
    right = [segment.probabilities[label_of(segment.clip_id)] > 0.5 for segment in result.segments]
    assert sum(right) >= 20
