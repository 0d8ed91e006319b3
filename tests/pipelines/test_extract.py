"""Features of a frozen trunk: what they are, where they are kept, and who may share them."""

from __future__ import annotations

import errno
import json
import re
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.config import PipelineConfig, compose_config
from pipelines.errors import UsageError
from pipelines.extract import FeaturePlan, FeatureWorker
from pipelines.feature_store import AUDIO, FRAMES, FeatureFolder
from pipelines.inputs import to_tensors
from pipelines.networks.backbone import build_backbone
from pipelines.networks.weights import load_weights
from pipelines.records import ClipOutcome, Segment
from pipelines.shard_tables import ClipFrames
from pipelines.shards import ShardFolder

FRAME_COUNT, SEGMENTS = 21, 3
TINY = ["model.backbone=tiny_network:TinyBackbone", "training.precision=float32"]


def configured(tmp_path: Path, *overrides: str) -> PipelineConfig:
    chosen = [*TINY, "training.trunk=frozen", f"paths.data={tmp_path}", *overrides]
    return compose_config("pipeline", PipelineConfig, chosen)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardFolder:
    """Two clips of noise, `a` and `b`, whose keys are `key-a` and `key-b`."""
    folder = ShardFolder(tmp_path_factory.mktemp("shards"))
    for clip_id in ("a", "b"):
        random = np.random.default_rng(ord(clip_id))
        crops = random.integers(0, 256, (FRAME_COUNT, 227, 227, 3), dtype=np.uint8)
        segments = [
            Segment(
                clip_id=clip_id,
                segment_index=index,
                start_s=0.3 * index,
                mfcc=random.normal(size=(64, 64, 3)).astype(np.float16),
                frame_indices=np.arange(20, dtype=np.int32),
                pitch_hz=np.zeros(64, np.float16),
                energy_db=np.zeros(64, np.float16),
            )
            for index in range(SEGMENTS)
        ]
        frames = ClipFrames(
            times_s=np.arange(FRAME_COUNT) / 25,
            crops=crops,
            boxes=np.zeros((FRAME_COUNT, 4), np.float32),
            detected=np.ones(FRAME_COUNT, bool),
        )
        outcome = ClipOutcome(clip_id=clip_id, subject="s", emotion="anger", status="ok")
        folder.write_clip(f"key-{clip_id}", outcome, frames, segments)
    return folder


def worker(plan: FeaturePlan, shards: ShardFolder, **changes: Any) -> FeatureWorker:
    arguments: dict[str, Any] = {
        "recipe": plan.recipe,
        "digest": plan.digest,
        "shards": str(shards.root),
        "folders": {kind: str(folder.root) for kind, folder in plan.folders.items()},
        "dtype": plan.dtype,
        "rescaling": plan.rescaling,
        "face_size": plan.face_size,
    }
    return FeatureWorker(**{**arguments, **changes})


ROWS = [{"clip_id": c, "key": f"key-{c}", "kinds": f"{AUDIO},{FRAMES}"} for c in ("a", "b")]


@pytest.mark.parametrize("trunk", ["frozen", "fc"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0), ("float16", 1e-3)])
def test_features_are_what_the_trunk_makes_of_each_unique_image(
    trunk: str, dtype: str, tolerance: float, shards: ShardFolder, tmp_path: Path
) -> None:
    config = configured(tmp_path, f"training.trunk={trunk}", f"features.dtype={dtype}")
    plan = FeaturePlan(config)
    work = worker(plan, shards)
    assert [(told["refused"], told["stopped"]) for told in map(work, ROWS)] == [("", "")] * 2
    trunk_itself, _ = plan.recipe.backbone()
    trunk_itself.eval()
    for clip_id in ("a", "b"):
        clip = to_tensors(shards.read(f"key-{clip_id}", clip_id), face_size=24, rescaling="row")
        for kind, images in ((AUDIO, clip.audio), (FRAMES, clip.frames)):
            stored = plan.folders[kind].read(f"key-{clip_id}")
            assert str(stored.dtype) == f"torch.{dtype}"
            with torch.no_grad():
                whole = trunk_itself(images) if trunk == "frozen" else None
                truth = trunk_itself.convolutional(images) if whole is None else whole
            # Chunks of another size are other matrix products: their last bits may differ.
            torch.testing.assert_close(stored.float(), truth, rtol=tolerance, atol=1e-5)
            assert float(stored.float().std()) > 0


def test_a_clips_features_do_not_depend_on_the_clips_before_it(
    shards: ShardFolder, tmp_path: Path
) -> None:
    bytes_of = []
    for number, rows in enumerate((ROWS, ROWS[::-1])):
        plan = FeaturePlan(configured(tmp_path / str(number)))
        work = worker(plan, shards)
        for row in rows:
            work(row)
        bytes_of.append(
            [
                folder.path(row["key"]).read_bytes()
                for folder in plan.folders.values()
                for row in ROWS
            ]
        )
    assert bytes_of[0] == bytes_of[1]


def test_bfloat16_features_are_close_to_exact_ones(shards: ShardFolder, tmp_path: Path) -> None:
    def features(precision: str, dtype: str) -> torch.Tensor:
        overrides = [f"training.precision={precision}", f"features.dtype={dtype}"]
        plan = FeaturePlan(configured(tmp_path, *overrides))
        work = worker(plan, shards)
        assert work(ROWS[0]) == {"clip_id": "a", "refused": "", "stopped": ""}
        return plan.folders[FRAMES].read("key-a").double()

    exact = features("float32", "float32")
    rough = features("bfloat16", "bfloat16")
    assert 0 < float((rough - exact).abs().max()) < 0.02 * float(exact.abs().max())


@pytest.mark.parametrize(
    ("overrides", "kinds"),
    [
        (["training.trunk=fc"], {AUDIO, FRAMES}),
        (["features.dtype=bfloat16"], {AUDIO, FRAMES}),
        (["seed=1"], {AUDIO, FRAMES}),  # other weights, as they are drawn
        (["model.backbone=tiny_network:CountingBackbone"], {AUDIO, FRAMES}),
        (["training.precision=bfloat16"], {AUDIO, FRAMES}),
        (["cluster.extract_cpus=2"], {AUDIO, FRAMES}),
        (["training.rescaling=channel"], {AUDIO}),
        (["model.audio_size=96"], {AUDIO}),
        (["model.lstm_hidden=99"], set()),
        (["fusion.attention_size=7"], set()),
        (["training.head_rate=0.5"], set()),
        (["cluster.cpus=1"], set()),
    ],
)
def test_a_feature_is_kept_apart_by_what_changes_it_and_shared_by_all_else(
    overrides: list[str], kinds: set[str], tmp_path: Path
) -> None:
    one = FeaturePlan(configured(tmp_path))
    other = FeaturePlan(configured(tmp_path, *overrides))
    apart = {k for k in (AUDIO, FRAMES) if one.folders[k].root != other.folders[k].root}
    assert apart == kinds


def test_a_feature_is_kept_apart_by_device_library_and_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = FeaturePlan(configured(tmp_path)).recipe
    held = [recipe.settings("w"), replace(recipe, on_gpu=True).settings("w")]
    monkeypatch.setattr("pipelines.trunk_recipe.version", lambda package: "0.0")
    held.append(recipe.settings("w"))
    monkeypatch.setattr("pipelines.trunk_recipe.source_digest", lambda backbone: "changed")
    held.append(recipe.settings("w"))
    assert len({json.dumps(settings) for settings in held}) == len(held)


def test_a_trunk_that_does_not_fit_on_the_device_is_no_feature_and_says_what_to_set(
    shards: ShardFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = FeaturePlan(configured(tmp_path))
    work = worker(plan, shards)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("planted")

    monkeypatch.setattr(work._frozen()._trunk, "forward", full)
    problem = work(ROWS[0])["stopped"]
    assert re.search(r"16 images of 64x64 .* do not fit on cpu.*cluster\.trial_gpus", problem)
    assert plan.folders[AUDIO].held() == set()


def test_a_modality_that_is_not_used_costs_nothing(tmp_path: Path) -> None:
    assert set(FeaturePlan(configured(tmp_path, "model.modalities=audio")).folders) == {AUDIO}
    assert set(FeaturePlan(configured(tmp_path, "model.modalities=visual")).folders) == {FRAMES}


def test_what_a_split_standardises_by_its_own_clips_is_in_no_store(tmp_path: Path) -> None:
    plan = FeaturePlan(configured(tmp_path, "training.rescaling=standardised"))
    assert set(plan.folders) == {FRAMES}


def test_a_trunk_without_connected_layers_cannot_be_fine_tuned_there(tmp_path: Path) -> None:
    config = configured(tmp_path, "model.backbone=resnet18", "training.trunk=fc")
    with pytest.raises(UsageError, match=r"training\.trunk \(fc\).*resnet18\) has none"):
        FeaturePlan(config)


def test_other_weights_on_another_host_are_refused(shards: ShardFolder, tmp_path: Path) -> None:
    plan = FeaturePlan(configured(tmp_path))
    work = worker(plan, shards, recipe=replace(plan.recipe, seed=99))
    assert "is another file on this host" in work(ROWS[0])["refused"]
    assert plan.folders[FRAMES].held() == set()


def test_features_that_are_not_finite_are_refused_by_the_clips_name(
    shards: ShardFolder, tmp_path: Path
) -> None:
    weights = tmp_path / "broken.pt"
    config = configured(tmp_path)
    state = build_backbone(config.model).state_dict()
    state["classifier.0.bias"][3] = float("nan")
    torch.save(state, weights)
    plan = FeaturePlan(config)
    work = worker(plan, shards)
    trunk = work._frozen()
    load_weights(trunk._trunk, str(weights))
    assert "features of a are not finite" in work(ROWS[0])["refused"]
    assert plan.folders[AUDIO].held() == set()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/k"), "No space left on device"),
        (MemoryError(), "ran out of memory"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_what_stops_the_work_is_no_wrong_request_and_no_finished_clip(
    fault: Exception,
    told: str,
    shards: ShardFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise fault

    plan = FeaturePlan(configured(tmp_path))
    monkeypatch.setattr(FeatureFolder, "write", fail)
    answer = worker(plan, shards)(ROWS[0])
    assert answer["refused"] == ""
    assert told in answer["stopped"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_feature_file_gives_back_its_bits_and_is_mapped_into_memory(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    folder = FeatureFolder(tmp_path / "features")
    written = torch.randn(50, 40).to(dtype)
    folder.write("k", written)
    read = folder.read("k")
    assert torch.equal(read, written)
    assert read.dtype == dtype
    assert folder.held() == {"k"}
    assert str(folder.path("k")) in Path("/proc/self/maps").read_text()
    # Others of the group may read it, as any file that is written here.
    (tmp_path / "any").write_text("")
    file = Path(str(folder.path("k")))
    assert file.stat().st_mode == (tmp_path / "any").stat().st_mode


def test_half_a_file_is_no_feature(tmp_path: Path) -> None:
    folder = FeatureFolder(tmp_path / "features")
    content = torch.zeros(64, 64)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (content.nbytes // 2, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            folder.write("k", content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert folder.held() == set()
    assert list((tmp_path / "features").iterdir()) == []
