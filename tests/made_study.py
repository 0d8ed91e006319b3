"""A study that nobody trained, and what MLflow must have of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.aggregate import aggregate
from harness.ledger import Ledger
from harness.mlflow_study import StudyRecord
from harness.plan import Plan, Split
from harness.plan_file import write_plan
from pipelines.records import Clip
from pipelines.split_task import Row, SegmentPrediction, SplitResult, SplitTask
from pipelines.storage import write_json

CLASSES = ("anger", "fear")
EPOCHS = 3


def record(name: str = "made") -> StudyRecord:
    return StudyRecord(
        name=name,
        tags={"config_digest": "c0", "data_digest": "d0", "protocol": "LOSO"},
        parameters={"model.lstm_hidden": 8},
        datasets=[{"name": "made", "digest": "d0", "source": "/data/made"}],
    )


def curves() -> list[Row]:
    return [
        {"network": network, "epoch": epoch, "train_loss": 1.0 / epoch, "validation_loss": 0.5}
        for network in ("audio", "visual", "fusion")
        for epoch in range(1, EPOCHS + 1)
    ]


def split_of(number: int) -> Split:
    return Split(
        split_id=f"loso-s{number:02d}",
        held_out=f"s{number:02d}",
        repeat=0,
        seed=number,
        train=(f"s{(number + 1) % 42:02d}/a",),
        validation=(),
        test=(f"s{number:02d}/a", f"s{number:02d}/b"),
    )


def write_study(runs: Path, name: str = "made", *, always_right: bool = False) -> Path:
    """Write a finished study of 42 subjects that nothing was ever trained for.

    It says anger of each clip, and is right half of the time, or of everything what is true.
    """
    folder = runs / name
    splits = tuple(split_of(number) for number in range(42))
    ledger = Ledger(folder / "splits")
    for split in splits:
        task = SplitTask(
            split_id=split.split_id,
            repeat=0,
            seed=split.seed,
            classes=CLASSES,
            train=(),
            validation=(),
            test=split.test,
        )
        rows = [
            SegmentPrediction(
                clip_id=clip_id,
                segment_index=0,
                probabilities=(0.3, 0.7) if always_right and clip_id.endswith("b") else (0.7, 0.3),
                attention={},
            )
            for clip_id in split.test
        ]
        result = SplitResult(
            segments=rows, curves=curves(), chosen_epochs={}, reads={}, parameters={}
        )
        ledger.record(task, result, study_digest="", device="cpu", threads=1)
    clips = {
        clip_id: Clip(
            clip_id=clip_id,
            path="",
            subject=split.held_out,
            emotion="anger" if clip_id.endswith("a") else "fear",
        )
        for split in splits
        for clip_id in split.test
    }
    plan = Plan(unit="clip", splits=splits)
    write_plan(folder / "plan.json", plan)
    write_json(folder / "study.json", asdict(record(name)))
    aggregate(
        folder,
        plan=plan,
        protocol="LOSO",
        corpus="made",
        clips=clips,
        classes=CLASSES,
        predicts="segment",
        digests={},
        seconds={"train": 2.5},
        warnings=[],
    )
    return folder


def runs_in(uri: str) -> tuple[Any, dict[str, Any], Any]:
    """Return the parent, its children by split, and the client."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("emotion")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.data.tags["split_id"]: run for run in runs if run is not parent}
    assert all(r.data.tags["mlflow.parentRunId"] == parent.info.run_id for r in children.values())
    return parent, children, client


def check_sent(uri: str) -> None:
    """See that everything of the study is there, once."""
    parent, children, client = runs_in(uri)
    assert len(children) == 42
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["clip_accuracy"] == 0.5
    assert parent.data.metrics["splits_done"] == 42
    assert parent.data.metrics["splits_expected"] == 42
    assert parent.data.metrics["seconds/train"] == 2.5
    assert parent.data.tags["complete"] == "true"
    assert [told.dataset.digest for told in parent.inputs.dataset_inputs] == ["d0"]
    for name in ("clip_accuracy", "seconds/train"):
        assert len(client.get_metric_history(parent.info.run_id, name)) == 1
    told = parent.data.tags["mlflow.note.content"]
    assert told.startswith("**50.0 %** of a person's clips recognised, mean over subjects")
    assert "LOSO on made: 42 of 42 splits done, 84 of 84 clips used, 42 subjects" in told
    assert "| s41 | 2 | 50.0 % | 50.0 % |" in told
    held = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert held >= {"plan.json", "predictions.parquet", "summary.json"}
    for child in list(children.values())[::20]:
        assert child.info.status == "FINISHED"
        assert child.data.metrics["test/clip_accuracy"] == 0.5
        assert child.data.params["model.lstm_hidden"] == "8"
        history = client.get_metric_history(child.info.run_id, "fusion/train_loss")
        assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
