"""From the file of a clip to its emotion: preprocessing, trained networks, vote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from harness.recognition import Recognition, SegmentEmotion
from harness.voting import majority_vote
from pipelines.errors import UsageError, require
from pipelines.faces import FacesConfig, weights_digest
from pipelines.mfcc import segment_seconds
from pipelines.process import ClipProcessor, ClipResult
from pipelines.records import Clip, ClipArrays
from pipelines.shards import ShardFolder
from pipelines.split_task import SegmentPrediction
from pipelines.storage import is_address
from pipelines.trained_model import TrainedModel


class Recogniser:
    """A saved model with all that it needs to look at clips; one clip after another."""

    def __init__(self, model: Path, *, model_dir: str = "", cache: str = "") -> None:
        """Load it.

        Args:
            model: folder of the saved model.
            model_dir: folder with the face detector's files; empty: the one that the model was
                trained with if it is there, else they are downloaded once.
            cache: folder for copies of clips from object storage; empty: the user's cache folder.

        Raises:
            UsageError: the folder holds no model, or what it needs can't be had.
        """
        self.model = TrainedModel(model)
        settings = self.model.record.settings
        self.classes = self.model.record.classes
        self.segment_s = segment_seconds(settings.mfcc)
        faces = _faces(settings.faces, model_dir)
        require(
            weights_digest(faces) == settings.detector,
            f"the files of the face detector {faces.detector} are others than those that the model "
            "was trained with: give the folder that holds those as faces.model_dir",
        )
        self.processor = ClipProcessor(
            ShardFolder(model),  # where nothing is written: clips are computed and forgotten
            vad=settings.vad,
            mfcc=settings.mfcc,
            faces=faces,
            segments=settings.segments,
            preprocess=settings.preprocess,
            cache=cache,
        )

    def __enter__(self) -> Recogniser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the decoder's process."""
        self.processor.close()

    def recognise(self, path: str) -> Recognition:
        """Return what a clip shows; a bad file is an answer, not an error."""
        recognition, _ = self.look_at(path)
        return recognition

    def look_at(self, path: str) -> tuple[Recognition, ClipResult]:
        """Return what a clip shows, and what preprocessing made of it."""
        place = path if is_address(path) else str(Path(path).absolute())
        result = self.processor.compute(
            Clip(clip_id=Path(path).name, path=place, subject="", emotion="")
        )
        outcome = result.outcome
        told = Recognition(
            path=path, status=outcome.status, reason=outcome.reason, detail=outcome.detail
        )
        if result.frames is None:
            return told, result
        try:
            predictions = self.model.predict(_arrays(result))
        except (FloatingPointError, MemoryError) as error:
            failed = replace(told, status="failed", reason="internal", detail=str(error))
            return failed, result
        return self._voted(told, result, predictions), result

    def _voted(
        self, told: Recognition, result: ClipResult, predictions: Sequence[SegmentPrediction]
    ) -> Recognition:
        settings = self.model.record.settings
        probabilities = np.array([row.probabilities for row in predictions])
        vote = majority_vote(probabilities)
        mean = [float(value) for value in vote.mean_probabilities]
        return replace(
            told,
            emotion=self.classes[vote.winner],
            probability=mean[vote.winner],
            votes=int((probabilities.argmax(axis=1) == vote.winner).sum()),
            tie=vote.tie,
            per_clip=settings.model.fuses and settings.fusion.predicts == "clip",
            probabilities=dict(zip(self.classes, mean, strict=True)),
            segments=tuple(
                SegmentEmotion(
                    segment_index=row.segment_index,
                    start_s=segment.start_s,
                    end_s=segment.start_s + self.segment_s,
                    probabilities=dict(zip(self.classes, row.probabilities, strict=True)),
                    attention=row.attention,
                )
                for segment, row in zip(result.segments, predictions, strict=True)
            ),
        )


class RecogniserWorker:
    """A `Recogniser` for a pool of processes: the row of a clip in, what it shows as JSON out.

    A user's mistake comes back as a row with a `problem`: an actor that can't be made would hide it
    in a trace of Ray's.
    """

    def __init__(self, model: str, model_dir: str, cache: str) -> None:
        self.problem = ""
        try:
            self.recogniser = Recogniser(Path(model), model_dir=model_dir, cache=cache)
        except UsageError as error:
            self.problem = str(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        if self.problem:
            return {"clip_id": row["clip_id"], "problem": self.problem}
        recognition = self.recogniser.recognise(row["clip_id"])
        return {"clip_id": row["clip_id"], "recognition": json.dumps(asdict(recognition))}


def _arrays(result: ClipResult) -> ClipArrays:
    assert result.frames is not None
    return ClipArrays(
        clip_id=result.outcome.clip_id,
        crops=result.frames.crops,
        mfcc=np.stack([segment.mfcc for segment in result.segments]),
        frame_indices=np.stack([segment.frame_indices for segment in result.segments]),
    )


def _faces(told: FacesConfig, model_dir: str) -> FacesConfig:
    known = told.model_dir if Path(told.model_dir).is_dir() else ""
    return replace(told, model_dir=model_dir or known)
