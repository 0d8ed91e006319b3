"""A trained model in MLflow: logged as code and files, fetched, and answering where it is served.

The logged model holds the folder that harness.fit wrote and a copy of this project's code, so it
predicts wherever its pip requirements are installed.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.models import ModelSignature, set_model
from mlflow.pyfunc.model import PythonModel
from mlflow.types.schema import ColSpec, Schema, TensorSpec

from harness.mlflow_study import METRICS_PER_CALL, MlflowStudy, StudyRecord, curve_points
from harness.recogniser import Recogniser
from harness.recognition import Recognition
from harness.sqlite_address import file_of
from harness.tracking import TrackingConfig, tracking_uri
from pipelines.credentials import without_credentials
from pipelines.errors import UsageError, require
from pipelines.model_files import is_model, read_record
from pipelines.split_task import slices

CODE = Path(__file__).parents[1]
REQUIREMENTS = (
    "mlflow",
    "torch",
    "torchvision",
    "numpy",
    "pandas",
    "librosa",
    "soxr",
    "decord",
    "av",
    "opencv-python-headless",
    "pyarrow",
    "fsspec",
    "universal-pathlib",
    "safetensors",
    "threadpoolctl",
)
"""Packages that a prediction imports."""
NAME = "model"
"""Of the model in its run: runs:/RUN/model."""
LOGGED = "model_uri"
"""Tag of a run whose model is there."""
UPLOAD_SECONDS = 600


class ClipModel(PythonModel):
    """Paths of clips in, what they show out; one clip after another."""

    def load_context(self, context: Any) -> None:
        """Load the networks; called by MLflow."""
        # Requests may come at once, and there is one decoder and one set of threads.
        self._alone = threading.Lock()
        self._recogniser = Recogniser(Path(context.artifacts[NAME]))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return a row for each row of the column `path`; see `row_of`."""
        with self._alone:
            found = [self._recogniser.recognise(str(path)) for path in model_input["path"]]
        return pd.DataFrame([row_of(one, self._recogniser.classes) for one in found], dtype=object)


def row_of(one: Recognition, classes: Sequence[str]) -> dict[str, Any]:
    """Return what is known of a clip in the columns of the model's output; None where nothing is.

    Columns: path, status (ok, dropped, failed), reason, detail, emotion, probability, votes,
    segments, tie, and p_<emotion> for each emotion.
    """
    probabilities = one.probabilities or dict.fromkeys(classes)
    return {
        "path": one.path,
        "status": one.status,
        "reason": one.reason,
        "detail": one.detail,
        "emotion": one.emotion,
        "probability": one.probability,
        "votes": one.votes,
        "segments": len(one.segments),
        "tie": one.tie,
        **{f"p_{label}": probabilities[label] for label in classes},
    }


def signature(classes: Sequence[str]) -> ModelSignature:
    """Return the columns that the model takes and gives."""
    kinds = {
        **dict.fromkeys(("path", "status", "reason", "detail"), "string"),
        "emotion": "string",
        "probability": "double",
        "votes": "long",
        "segments": "long",
        "tie": "boolean",
        **{f"p_{label}": "double" for label in classes},
    }
    missing = ("emotion", "probability", *(f"p_{label}" for label in classes))
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(kind, name, required=name not in missing) for name, kind in kinds.items()
    ]
    return ModelSignature(inputs=Schema([ColSpec("string", "path")]), outputs=Schema(outputs))


def offer_to_mlflow() -> None:
    """Tell MLflow, which is running harness/served_model.py, what the model is."""
    set_model(ClipModel())


def log_model(
    config: TrackingConfig,
    runs: Path,
    record: StudyRecord,
    folder: Path,
    *,
    curves: Sequence[Mapping[str, Any]],
    seconds: Mapping[str, float],
    warnings: Sequence[str],
) -> tuple[str, str]:
    """Log the model in a folder, unless its run has it already.

    Args:
        config: where to.
        runs: paths.runs.
        record: names the run and marks it, so that it is found again.
        folder: of the model.
        curves: losses and accuracies of each epoch.
        seconds: of each stage.
        warnings: of the training.

    Returns:
        The run's id, and the model's address in MLflow.
    """
    _quiet()
    uri = tracking_uri(config, runs)
    study = MlflowStudy(uri, config.experiment, runs, record)
    study.start()
    # A server that answered is given time to take the weights.
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(UPLOAD_SECONDS)
    client = MlflowClient(uri)
    address = client.get_run(study.parent).data.tags.get(LOGGED)
    if address is None:
        _log_curves(client, study.parent, curves)
        address = _log(uri, study.parent, folder)
        client.set_tag(study.parent, LOGGED, address)
    study.finish({"seconds": seconds, "complete": True, "warnings": warnings}, [])
    return study.parent, address


@contextmanager
def fetched_model(address: str, uri: str) -> Iterator[Path]:
    """Give the folder of a model in MLflow, for the block.

    Args:
        address: runs:/RUN/model, models:/NAME/VERSION or what else MLflow takes.
        uri: of the tracking server or store.

    Raises:
        UsageError: there is no such model, or it is none of ours.
    """
    store = file_of(uri)
    # MLflow would make a store where there is none.
    require(
        store is None or store.exists(),
        f"--model ({address}) is an address in MLflow, and there is no store {store}: set "
        "tracking.uri, or paths.runs to the folder that holds mlflow.db",
    )
    _quiet()
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with tempfile.TemporaryDirectory(prefix="model-") as scratch:
        try:
            mlflow.set_tracking_uri(uri)
            fetched = mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=scratch)
        except Exception as error:  # each kind of store has errors of its own
            words = " ".join(without_credentials(str(error)).split())[:200]
            raise UsageError(
                f"--model ({address}) can't be fetched from MLflow at {without_credentials(uri)}: "
                f"{words}"
            ) from error
        found = [path.parent for path in Path(fetched).rglob("model.json") if is_model(path.parent)]
        require(
            len(found) == 1,
            f"--model ({address}) is a model that harness.fit has not logged: it can't be used",
        )
        yield found[0]


def _quiet() -> None:
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def _log(uri: str, run_id: str, folder: Path) -> str:
    mlflow.set_tracking_uri(uri)
    record = read_record(folder)
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.pyfunc.log_model(
            name=NAME,
            python_model=str(CODE / "harness" / "served_model.py"),
            artifacts={NAME: str(folder)},
            code_paths=[str(CODE / "pipelines"), str(CODE / "harness")],
            signature=signature(record.classes),
            input_example=pd.DataFrame({"path": ["/data/clips/tom.mp4"]}),
            # Those given, MLflow need not load the model to find out.
            pip_requirements=[f"{name}=={_public(name)}" for name in REQUIREMENTS],
        )
    return str(logged.model_uri)


def _log_curves(client: Any, run_id: str, curves: Sequence[Mapping[str, Any]]) -> None:
    now = int(time.time() * 1000)
    metrics = [Metric(key, value, now, step) for key, value, step in curve_points(curves)]
    for some in slices(metrics, METRICS_PER_CALL):
        client.log_batch(run_id, metrics=list(some))


def _public(package: str) -> str:
    """Return the version without what marks a build (+cpu): that is on no package index."""
    return version(package).partition("+")[0]
