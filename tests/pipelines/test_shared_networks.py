"""What takes another study's networks of stage 1 comes to the bits that it would come to alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_training import FUSION, MODEL, SHORT, SpyWall, make_task

from pipelines.networks.backbone import ModelConfig
from pipelines.networks.fusion import FusionConfig
from pipelines.rivals.config import RivalConfig
from pipelines.rivals.feature_training import FeatureRivalTraining
from pipelines.shared_networks import SharedNetworks
from pipelines.split_task import Row, SplitResult
from pipelines.training import SplitTraining

pytestmark = pytest.mark.usefixtures("one_thread")

CONCAT = FusionConfig(attend_over="concat", dropout=0.1)


def run(
    folder: Path | None,
    *,
    key: str = "k",
    model: ModelConfig = MODEL,
    fusion: FusionConfig = FUSION,
    rival: str = "",
) -> tuple[SplitResult, list[Row]]:
    """Train a split; return what came of it and the epochs that were really trained."""
    task, epochs = make_task(), list[Row]()
    wall = SpyWall(task)
    folders = {} if folder is None else {n: str(folder / n) for n in ("audio", "visual")}
    settings = {
        "model": model,
        "fusion": fusion,
        "training": SHORT,
        "device": torch.device("cpu"),
        "shared": SharedNetworks(folders, task.split_id, key),
        "on_epoch": epochs.append,
    }
    training = (
        FeatureRivalTraining(task, wall, rival=RivalConfig(kind=rival), **settings)
        if rival
        else SplitTraining(task, wall, **settings)  # type: ignore[arg-type]
    )
    return training.run(), epochs


def told(result: SplitResult) -> list[object]:
    return [result.segments, result.curves, result.chosen_epochs, result.reads, result.parameters]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SplitResult]:
    """A folder in which the first study has left its networks, and what came of that study."""
    folder = tmp_path_factory.mktemp("stage1")
    result, epochs = run(folder)
    assert result.taken == []
    assert {row["network"] for row in epochs} == {"audio", "visual", "fusion"}
    return folder, result


def test_leaving_networks_for_others_changes_nothing(left: tuple[Path, SplitResult]) -> None:
    assert told(left[1]) == told(run(None)[0])


def test_another_fusion_takes_both_networks_and_comes_to_the_same_bits(
    left: tuple[Path, SplitResult],
) -> None:
    alone, _ = run(None, fusion=CONCAT)
    result, epochs = run(left[0], fusion=CONCAT)
    assert result.taken == ["audio", "visual"]
    assert {row["network"] for row in epochs} == {"fusion"}
    assert told(result) == told(alone)
    # Its seconds are those of the whole training, not of the reading of a file.
    for name in ("audio", "visual"):
        assert result.seconds[name] == left[1].seconds[name]


def test_one_modality_alone_takes_its_network(left: tuple[Path, SplitResult]) -> None:
    model = ModelConfig(backbone="small", lstm_hidden=8, dropout=0.1, modalities="audio")
    result, epochs = run(left[0], model=model)
    assert (result.taken, epochs) == (["audio"], [])
    assert told(result) == told(run(None, model=model)[0])


def test_a_rival_in_the_place_of_stage_2_takes_both_networks(
    left: tuple[Path, SplitResult],
) -> None:
    result, epochs = run(left[0], rival="cfa")
    assert (result.taken, epochs) == (["audio", "visual"], [])
    assert told(result) == told(run(None, rival="cfa")[0])


def test_what_was_learned_from_other_clips_is_never_taken(left: tuple[Path, SplitResult]) -> None:
    result, epochs = run(left[0] / "copy", key="other")
    assert result.taken == []
    again, _ = run(left[0] / "copy", key="k")
    assert again.taken == []
    assert told(again) == told(result)
    assert {row["network"] for row in epochs} >= {"audio", "visual"}


def test_half_a_file_is_trained_again_and_a_full_disk_is_told(
    left: tuple[Path, SplitResult], tmp_path: Path
) -> None:
    for name in ("audio", "visual"):
        (tmp_path / name).mkdir()
        whole = next((left[0] / name).glob("*.pt"))
        (tmp_path / name / whole.name).write_bytes(whole.read_bytes()[:-1000])
    result, _ = run(tmp_path)
    assert result.taken == []
    assert told(result) == told(left[1])
    # A file where the folder should be is what a disk that takes nothing looks like.
    (tmp_path / "file").write_text("")
    refused, _ = run(tmp_path / "file")
    assert told(refused) == told(left[1])
    assert refused.warnings[-1].startswith("other rows train the visual network again: no ")
