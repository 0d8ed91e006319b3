"""An ablation in MLflow: its rows as studies in a view of their own, and its tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ForkedCommands
from made_study import write_study
from mlflow import MlflowClient

from harness.ablating.config import WHOLE, RowConfig
from harness.ablating.results import told_rows
from harness.ablating.row_result import DONE_ROW, NOT_RUN, RowResult
from harness.ablating.rows import Row
from harness.ablating.sending import ABLATION, ablation_note
from harness.mlflow_pages import NOTE, studies_address


@pytest.fixture
def ablation(tmp_path: Path) -> Path:
    """Two rows of 42 subjects, right in half of the clips and in all of them, and one not run."""
    folder = tmp_path / "runs" / "ours"
    results = []
    for name, right in ((WHOLE, False), ("concat", True)):
        row = write_study(folder, name, always_right=right)
        study = json.loads((row / "study.json").read_text())
        study["tags"] |= {"ablation": folder.name, "row": name}
        (row / "study.json").write_text(json.dumps(study))
        told = Row(name=name, told=RowConfig(title=f"the {name}"), config=None)
        summary = json.loads((row / "summary.json").read_text())
        results.append(RowResult(row=told, status=DONE_ROW, folder=row, summary=summary))
    lost = Row(name="no_vad", told=RowConfig(title="without VAD"), config=None)
    results.append(RowResult(row=lost, status=NOT_RUN, reason="no sound"))
    result = {
        "name": folder.name,
        "digests": {"config_digest": "c0", "data_digest": "d0"},
        "git_commit": "abc",
        "complete": True,
        "warnings": ["drawn people"],
        "rows": told_rows(results, ["concat", "no_vad"], 0),
    }
    (folder / ABLATION).write_text(json.dumps(result))
    return folder


def test_an_ablation_is_sent_with_its_rows_once_however_often(
    ablation: Path, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    for _ in range(2):
        told = forked_commands.run("harness.track", str(ablation), cwd=tmp_path)
        assert (told.status, told.stderr) == (0, "")
    uri = told.stdout.split()[-1]
    assert uri.endswith("/runs/mlflow.db")
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("emotion")
    assert experiment is not None

    def found(query: str) -> list[Any]:
        return list(client.search_runs([experiment.experiment_id], query, max_results=1000))

    parents = [run for run in found("") if "mlflow.parentRunId" not in run.data.tags]
    assert sorted(run.info.run_name for run in parents) == ["concat", "ours", WHOLE]
    assert len(found("")) == 3 + 2 * 42
    view = json.loads(experiment.tags["mlflow.sharedViewState.ours"])
    rows = found(view["searchFilter"])
    assert {run.data.tags["row"]: run.data.metrics["clip_accuracy"] for run in rows} == {
        WHOLE: 0.5,
        "concat": 1.0,
    }
    (tables,) = [run for run in parents if run.info.run_name == "ours"]
    assert tables.data.metrics["concat/difference"] == 0.5
    assert tables.data.metrics["concat/p_holm"] < 0.001
    history = client.get_metric_history(tables.info.run_id, "concat/difference")
    assert len(history) == 1
    assert tables.data.tags[NOTE].startswith("**Ablation**: LOSO on made")


def test_the_note_has_each_row_and_what_was_not_run(ablation: Path) -> None:
    note = ablation_note(json.loads((ablation / ABLATION).read_text()))
    assert "- drawn people" in note
    assert "| the concat | 100.0 % | +50.0" in note
    assert "| without VAD | not run | |  |" in note


def test_the_address_of_the_rows_is_that_of_their_view() -> None:
    assert studies_address("http://x/", "1", "a b") == (
        "http://x/#/experiments/1/runs?viewStateShareKey=a%20b"
    )
