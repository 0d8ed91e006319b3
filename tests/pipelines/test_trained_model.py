"""Networks that were kept predict what they predicted in their study, to the bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pipelines.clip_reading import ClipPlaces, ClipReader
from pipelines.device import exact_device
from pipelines.errors import UsageError
from pipelines.extract import FeatureWorker
from pipelines.faces import FacesConfig
from pipelines.feature_store import FeaturesConfig
from pipelines.inputs import ClipCache, Wall
from pipelines.mfcc import MfccConfig
from pipelines.model_files import ModelSettings, save_model, save_trunk
from pipelines.networks.backbone import ModelConfig, build_backbone, to_be_filled
from pipelines.networks.frozen import LAYERS
from pipelines.networks.fusion import FusionConfig
from pipelines.preprocess_config import PreprocessConfig
from pipelines.records import ClipOutcome, Segment
from pipelines.segments import SegmentsConfig
from pipelines.shard_tables import ClipFrames
from pipelines.shards import ShardFolder
from pipelines.split_task import SegmentPrediction, SplitTask, seed_for
from pipelines.trained_model import TrainedModel
from pipelines.training import SplitTraining
from pipelines.training_config import TrainingConfig
from pipelines.trunk_recipe import TrunkRecipe
from pipelines.vad import VadConfig

CLASSES = ("anger", "fear")
CLIPS = ("a/1", "a/2", "b/1", "b/2", "c/1")
FRAMES, SEGMENTS = 6, 3


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardFolder:
    """Five clips of noise; the key of each is its id without the slash."""
    folder = ShardFolder(tmp_path_factory.mktemp("shards"))
    for clip_id in CLIPS:
        random = np.random.default_rng(seed_for(0, clip_id))
        frames = ClipFrames(
            times_s=np.arange(FRAMES) / 25,
            crops=random.integers(0, 256, (FRAMES, 227, 227, 3), dtype=np.uint8),
            boxes=np.zeros((FRAMES, 4), np.float32),
            detected=np.ones(FRAMES, bool),
        )
        segments = [
            Segment(
                clip_id=clip_id,
                segment_index=number,
                start_s=0.3 * number,
                mfcc=random.normal(0, 9, (64, 64, 3)).astype(np.float16),
                frame_indices=np.sort(random.integers(0, FRAMES, 20)).astype(np.int32),
                pitch_hz=np.zeros(64, np.float16),
                energy_db=np.zeros(64, np.float16),
            )
            for number in range(SEGMENTS)
        ]
        outcome = ClipOutcome(clip_id=clip_id, subject="", emotion="", status="ok")
        folder.write_clip(key_of(clip_id), outcome, frames, segments)
    return folder


def key_of(clip_id: str) -> str:
    return clip_id.replace("/", "")


@dataclass(frozen=True)
class Kept:
    """A model that was trained and kept, and what it predicted then for the test clip."""

    folder: Path
    predicted: list[SegmentPrediction]


def trained(
    shards: ShardFolder,
    tmp_path: Path,
    *,
    model: ModelConfig | None = None,
    fusion: FusionConfig | None = None,
    trunk: str = "full",
    rescaling: str = "row",
    stages: str = "two",
) -> Kept:
    """Train a split as a trial does, on features of a frozen trunk where there is one."""
    model = model or ModelConfig(lstm_hidden=6, dropout=0.1)
    fusion = fusion or FusionConfig(attention_size=4)
    config = TrainingConfig(
        stages=stages,
        trunk=trunk,
        rescaling=rescaling,
        precision="float32",
        audio_epochs=1,
        visual_epochs=1,
        fusion_epochs=1,
        joint_epochs=1,
    )
    recipe, folders = None, {}
    if config.trunk in LAYERS:
        recipe = TrunkRecipe(
            model=model,
            seed=3,
            layer=LAYERS[config.trunk],
            precision="float32",
            threads=1,
            on_gpu=False,
        )
        kinds = ["frames"] if config.rescaling == "standardised" else ["audio", "frames"]
        folders = {kind: str(tmp_path / kind) for kind in kinds}
        worker = FeatureWorker(
            recipe,
            recipe.backbone()[1],
            str(shards.root),
            folders,
            dtype="float16",
            rescaling=config.rescaling,
            face_size=48,
        )
        for clip_id in CLIPS:
            row = {"clip_id": clip_id, "key": key_of(clip_id), "kinds": ",".join(kinds)}
            assert worker(row)["refused"] == ""
    places = ClipPlaces(
        shards=str(shards.root),
        audio_features=folders.get("audio", ""),
        frame_features=folders.get("frames", ""),
        modalities=model.used_modalities,
        face_size=48,
        rescaling=config.rescaling,
    )
    task = SplitTask(
        split_id="c",
        repeat=0,
        seed=11,
        classes=CLASSES,
        train=tuple((c, n % 2) for n, c in enumerate(CLIPS[:3])),
        validation=((CLIPS[3], 1),),
        test=CLIPS[4:],
    )
    allowed = {
        "stage1_fit": frozenset(task.train_ids),
        "stage2_fit": frozenset(task.train_ids),
        "stage1_choose": frozenset(task.validation_ids),
        "stage2_choose": frozenset(task.validation_ids),
        "test": frozenset(task.test),
    }
    reader = ClipReader(places=places, keys={c: key_of(c) for c in CLIPS})
    device = exact_device(1, on_gpu=False)
    splits_own = recipe is not None and config.rescaling == "standardised"
    run = SplitTraining(
        task,
        Wall(clips=ClipCache(reader, 2**30), allowed=allowed),
        model=model,
        fusion=fusion,
        training=config,
        device=device,
        frozen_audio=recipe.build()[0] if splits_own and recipe is not None else None,
    )
    predicted = run.run().segments
    settings = ModelSettings(
        model=model,
        fusion=fusion,
        training=config,
        features=FeaturesConfig(),
        vad=VadConfig(),
        mfcc=MfccConfig(),
        faces=FacesConfig(),
        segments=SegmentsConfig(),
        preprocess=PreprocessConfig(),
        detector="",
        trunk=recipe,
    )
    save_model(tmp_path / "model", settings, run, study_digest="d")
    if recipe is not None:
        save_trunk(tmp_path / "model", recipe)
    return Kept(tmp_path / "model", predicted)


def again(kept: Kept, shards: ShardFolder) -> list[SegmentPrediction]:
    """Predict the test clip by the kept model, in whatever state torch is."""
    torch.manual_seed(99)
    return TrainedModel(kept.folder).predict(shards.read(key_of(CLIPS[4]), CLIPS[4]))


WAYS: dict[str, dict[str, object]] = {
    "both": {},
    "audio": {"model": ModelConfig(modalities="audio"), "rescaling": "channel"},
    "visual": {"model": ModelConfig(modalities="visual", lstm_hidden=6, temporal="lstm_mean")},
    "larger_sound": {"model": ModelConfig(audio_size=96, lstm_hidden=6)},
    "timesteps": {"fusion": FusionConfig(attend_over="timesteps", attention_size=4)},
    "one_a_clip": {"fusion": FusionConfig(attend_over="segments", attention_size=4)},
    "standardised": {"rescaling": "standardised"},
    "frozen": {"trunk": "frozen"},
    "frozen_standardised": {"trunk": "frozen", "rescaling": "standardised"},
    "fc": {"trunk": "fc"},
    "hidden": {"fusion": FusionConfig(attend_over="concat", hidden=[6, 5])},
    "one_stage": {"stages": "one"},
    "one_stage_one_a_clip": {
        "stages": "one",
        "trunk": "frozen",
        "rescaling": "standardised",
        "fusion": FusionConfig(attend_over="segments", attention_size=4),
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_a_kept_model_predicts_what_its_split_did_to_the_bit(
    way: str, shards: ShardFolder, tmp_path: Path
) -> None:
    kept = trained(shards, tmp_path, **WAYS[way])  # type: ignore[arg-type]
    assert len(kept.predicted) == SEGMENTS
    assert len({row.probabilities for row in kept.predicted}) == (
        1 if way.endswith("one_a_clip") else 3
    )
    assert again(kept, shards) == kept.predicted


@pytest.fixture
def frozen(shards: ShardFolder, tmp_path: Path) -> Kept:
    return trained(shards, tmp_path, trunk="frozen")


def test_a_frozen_trunk_is_made_again_by_its_recipe_where_it_was_not_kept(
    frozen: Kept, shards: ShardFolder
) -> None:
    (frozen.folder / "trunk.safetensors").unlink()
    assert again(frozen, shards) == frozen.predicted
    told = json.loads((frozen.folder / "model.json").read_text())
    told["settings"]["trunk"]["seed"] = 4
    (frozen.folder / "model.json").write_text(json.dumps(told))
    with pytest.raises(UsageError, match=r"frozen trunk of the model in .* comes out otherwise"):
        TrainedModel(frozen.folder)


def test_a_kept_trunk_needs_no_file_of_weights_any_more(
    shards: ShardFolder, tmp_path: Path
) -> None:
    weights = tmp_path / "pretrained.pt"
    torch.save(build_backbone(ModelConfig()).state_dict(), weights)
    model = ModelConfig(weights=str(weights), lstm_hidden=6)
    kept = trained(shards, tmp_path, model=model, trunk="frozen")
    weights.unlink()
    assert again(kept, shards) == kept.predicted
    (kept.folder / "trunk.safetensors").unlink()
    with pytest.raises(UsageError, match=r"model.weights \(.*pretrained.pt\)"):
        TrainedModel(kept.folder)


def test_files_are_json_and_safetensors_and_nothing_else(frozen: Kept) -> None:
    names = {path.name for path in frozen.folder.iterdir()}
    assert names == {"model.json", "weights.safetensors", "trunk.safetensors"}
    told = json.loads((frozen.folder / "model.json").read_text())
    assert told["classes"] == list(CLASSES)
    assert told["trained_on"] == {"train": list(CLIPS[:3]), "validation": [CLIPS[3]]}
    with safe_open(frozen.folder / "weights.safetensors", framework="pt") as file:
        assert {name.partition(".")[0] for name in file.keys()} == {"audio", "visual", "fusion"}  # noqa: SIM118
    for path in frozen.folder.iterdir():
        assert path.stat().st_mode & 0o044, f"{path} can't be read by others"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("no_folder", "holds no model: there is no model.json"),
        ("half_json", "can't be used"),
        ("later_form", "is of form 2, and this version reads form 1"),
        ("no_weights", "there is no weights.safetensors"),
        ("cut_weights", "was changed or cut short"),
        ("other_weights", "was changed or cut short"),
        ("other_trunk", "frozen trunk of the model in .* comes out otherwise"),
    ],
)
def test_a_damaged_model_is_refused_in_one_line(frozen: Kept, damage: str, said: str) -> None:
    folder = frozen.folder
    record, weights, trunk = (
        folder / name for name in ("model.json", "weights.safetensors", "trunk.safetensors")
    )
    if damage == "no_folder":
        shutil.rmtree(folder)
    elif damage == "half_json":
        record.write_text(record.read_text()[:500])
    elif damage == "later_form":
        record.write_text(record.read_text().replace('"form": 1', '"form": 2'))
    elif damage == "no_weights":
        weights.unlink()
    elif damage == "cut_weights":
        weights.write_bytes(weights.read_bytes()[:-10])
    else:
        path = trunk if damage == "other_trunk" else weights
        tensors = load_file(path)
        next(iter(tensors.values())).view(-1)[0] += 1
        save_file(tensors, path)
    with pytest.raises(UsageError, match=said) as raised:
        TrainedModel(folder)
    assert "\n" not in str(raised.value)


def test_weights_of_another_network_are_told(frozen: Kept) -> None:
    record = frozen.folder / "model.json"
    told = json.loads(record.read_text())
    told["settings"]["model"]["lstm_hidden"] = 7
    record.write_text(json.dumps(told))
    with pytest.raises(UsageError, match="do not fit the visual network"):
        TrainedModel(frozen.folder)


def test_networks_made_otherwise_for_weights_are_built_so_without_them() -> None:
    told = {"backbone": "resnet18", "weights": "/gone/resnet.pt", "weights_sha256": "0" * 64}
    names = set(build_backbone(to_be_filled(told)).state_dict())
    scratch = set(build_backbone(ModelConfig(backbone="resnet18")).state_dict())
    assert "network.bn1.running_mean" in names - scratch
