"""One clip -> its shards and its outcome (sections 3.1-3.3), whatever happens to it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.decode import DecodeError, MediaInfo
from pipelines.errors import UsageError, require
from pipelines.faces import FacesConfig, crop_face, fill_missing, follow, load_detector
from pipelines.mfcc import MfccConfig, at_rate, audio_images, segment_samples, segment_seconds
from pipelines.records import (
    CROP_SIZE,
    TRANSIENT_REASONS,
    Clip,
    ClipOutcome,
    Segment,
    from_row,
)
from pipelines.sandbox import Sandbox
from pipelines.segments import SegmentsConfig, frames_of_segment
from pipelines.shard_tables import ClipFrames
from pipelines.shards import ShardFolder
from pipelines.vad import VadConfig, VoiceRegion, detect_voice

CHUNK_BYTES = 64 * 2**20
"""Decoded frames held at once: a minute of 1080p would be 11 GB."""
CANDIDATES = 4
"""Faces of a frame that are cropped while it is in memory; which one is followed shows later."""


@dataclass
class PreprocessConfig:
    """How clips are worked through."""

    max_seconds: float = 60.0
    """Longer clips are refused before they are decoded."""
    time_limit_s: float = 120.0
    """Decoding of one clip is killed after this long."""
    clips_per_child: int = 50
    """The decoder's process is replaced after so many clips: decord never gives memory back."""
    workers: int | None = None
    """Clips at once; unset: one a CPU."""

    def __post_init__(self) -> None:
        require(
            self.max_seconds > 0, f"preprocess.max_seconds ({self.max_seconds}) must be above 0"
        )
        require(
            self.time_limit_s > 0, f"preprocess.time_limit_s ({self.time_limit_s}) must be above 0"
        )
        require(
            self.clips_per_child >= 1,
            f"preprocess.clips_per_child ({self.clips_per_child}) must be at least 1",
        )
        require(
            self.workers is None or self.workers >= 1,
            f"preprocess.workers ({self.workers}) must be at least 1",
        )


@dataclass
class _Report:
    """What is known of a clip so far: a failure keeps what came before it."""

    voice: VoiceRegion | None = None
    length_declared: bool = False
    frames: int = 0
    segments: int = 0
    missing_face_ratio: float = 0.0
    notes: list[str] = field(default_factory=list)
    """What a user should know of a clip that is fit for use."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipResult:
    """What came of one clip, before it is written."""

    outcome: ClipOutcome
    frames: ClipFrames | None = None
    segments: Sequence[Segment] = ()
    """Empty where the outcome is not `ok`."""


class _DroppedError(Exception):
    """A rule leaves the clip out."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class ClipProcessor:
    """Works through clips one after another with one decoder child and one face detector."""

    def __init__(
        self,
        folder: ShardFolder,
        *,
        vad: VadConfig,
        mfcc: MfccConfig,
        faces: FacesConfig,
        preprocess: PreprocessConfig,
        segments: SegmentsConfig | None = None,
    ) -> None:
        self.folder = folder
        self.segments = segments or SegmentsConfig()
        self.vad, self.mfcc, self.faces, self.preprocess = vad, mfcc, faces, preprocess
        self.detector = load_detector(faces)
        self.sandbox = Sandbox(preprocess.time_limit_s, preprocess.clips_per_child)

    def __enter__(self) -> ClipProcessor:
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
        self.sandbox.close()

    def process(self, clip: Clip, key: str) -> ClipOutcome:
        """Write the clip's shards under `key` and return its outcome; bad input never raises."""
        start = time.perf_counter()
        result = self.compute(clip)
        try:
            self.folder.write_clip(key, result.outcome, result.frames, result.segments)
        except (OSError, pa.ArrowException) as error:
            # The next run tries again: nothing of this clip is on the disk but whole files.
            return replace(
                result.outcome,
                status="failed",
                reason="disk",
                detail=str(error),
                transient=True,
                seconds=time.perf_counter() - start,
            )
        return result.outcome

    def compute(self, clip: Clip) -> ClipResult:
        """Work through one clip and write nothing; bad input is an outcome, not an error."""
        start = time.perf_counter()
        report = _Report()
        try:
            reason, frames, segments = self._compute(clip, report)
        except _DroppedError as dropped:
            status, reason, detail = "dropped", dropped.reason, dropped.detail
        except DecodeError as error:
            status, reason, detail = "failed", error.reason, error.detail
        except UsageError:
            raise
        except Exception as error:
            words = " ".join(str(error).split())[:300]
            status, reason, detail = "failed", "internal", f"{type(error).__name__}: {words}"
        else:
            outcome = self._outcome(clip, report, "ok", reason, "; ".join(report.notes), start)
            return ClipResult(outcome=outcome, frames=frames, segments=segments)
        return ClipResult(outcome=self._outcome(clip, report, status, reason, detail, start))

    def _outcome(
        self, clip: Clip, report: _Report, status: str, reason: str, detail: str, start: float
    ) -> ClipOutcome:
        voice = report.voice or VoiceRegion(0.0, 0.0, False)
        return ClipOutcome(
            clip_id=clip.clip_id,
            subject=clip.subject,
            emotion=clip.emotion,
            status=status,
            reason=reason,
            detail=detail,
            transient=reason in TRANSIENT_REASONS,
            voice_start_s=voice.start_s,
            voice_end_s=voice.end_s,
            voice_found=voice.found,
            length_declared=report.length_declared,
            frames=report.frames,
            segments=report.segments,
            missing_face_ratio=report.missing_face_ratio,
            seconds=time.perf_counter() - start,
        )

    def _compute(self, clip: Clip, report: _Report) -> tuple[str, ClipFrames, list[Segment]]:
        info = self.sandbox.open(clip.path, self.preprocess.max_seconds)
        report.length_declared = info.length_declared
        report.notes.extend(info.notes)
        reason, starts_s, images = self._audio_segments(info, report)
        times_s = info.frame_times_s
        duration_s = segment_seconds(self.mfcc)
        of_segment = [
            frames_of_segment(times_s, start, duration_s, even=self.segments.even)
            for start in starts_s
        ]
        # Only the frames that a segment shows are ever decoded.
        wanted = np.unique(np.concatenate(of_segment))
        frames = self._face_frames(info, wanted, report)
        segments = [
            Segment(
                clip_id=clip.clip_id,
                segment_index=index,
                start_s=float(start),
                mfcc=image,
                frame_indices=np.searchsorted(wanted, indices).astype(np.int32),
            )
            for index, (start, image, indices) in enumerate(
                zip(starts_s, images, of_segment, strict=True)
            )
        ]
        report.frames, report.segments = len(wanted), len(segments)
        return reason, frames, segments

    def _audio_segments(
        self, info: MediaInfo, report: _Report
    ) -> tuple[str, npt.NDArray[np.float64], npt.NDArray[np.float16]]:
        """Voice region, then audio images; starts are on the container's clock, as the frames'."""
        samples, rate = self.sandbox.audio(self.mfcc.rate or None)
        mfcc = at_rate(self.mfcc, rate)
        voice = detect_voice(samples, rate, self.vad)
        report.voice = VoiceRegion(
            voice.start_s + info.audio_start_s, voice.end_s + info.audio_start_s, voice.found
        )
        first = round(voice.start_s * rate)
        region = samples[first : round(voice.end_s * rate)]
        padded = len(region) < segment_samples(mfcc)
        if padded and self.segments.short == "drop":
            raise _DroppedError(
                "too_short",
                f"{len(region) / rate:.3f} s, a segment has {segment_seconds(mfcc):g} s; "
                "segments.short is drop",
            )
        starts_s, images = audio_images(region, mfcc)
        reason = "" if voice.found or not self.vad.enabled else "no_voice"
        if padded:
            reason = "padded"
        return reason, starts_s + (first / rate + info.audio_start_s), images

    def _face_frames(
        self, info: MediaInfo, wanted: npt.NDArray[np.int32], report: _Report
    ) -> ClipFrames:
        """Detect, crop every candidate while its frame is in memory, then follow one person."""
        frame_bytes = info.width * info.height * 3
        chunk = max(1, CHUNK_BYTES // frame_bytes)
        detections: list[npt.NDArray[np.float32]] = []
        crops: list[npt.NDArray[np.uint8]] = []
        for begin in range(0, len(wanted), chunk):
            frames = self.sandbox.frames(wanted[begin : begin + chunk])
            for frame, found in zip(frames, self.detector.detect(frames), strict=True):
                best = found[np.argsort(-found[:, 4], kind="stable")[:CANDIDATES]]
                detections.append(best)
                crops.append(
                    np.stack([crop_face(frame, box[:4], self.faces.margin) for box in best])
                    if len(best)
                    else np.empty((0, CROP_SIZE, CROP_SIZE, 3), np.uint8)
                )
        boxes, detected = follow(detections)
        report.frames = len(wanted)
        report.missing_face_ratio = float(1.0 - detected.mean())
        if not detected.any():
            raise _DroppedError("no_face", f"no face in {len(wanted)} frames")
        if report.missing_face_ratio > self.faces.max_missing:
            raise _DroppedError(
                "too_few_faces",
                f"a face in {int(detected.sum())} of {len(wanted)} frames; faces.max_missing is "
                f"{self.faces.max_missing}",
            )
        times_s = info.frame_times_s[wanted]
        source = fill_missing(times_s, detected)
        chosen = np.stack(
            [crops[i][np.abs(detections[i][:, :4] - boxes[i]).sum(axis=1).argmin()] for i in source]
        )
        return ClipFrames(times_s=times_s, crops=chosen, boxes=boxes[source], detected=detected)


class ClipWorker:
    """A `ClipProcessor` for Ray Data: the row of a clip in, its outcome's status out."""

    def __init__(self, root: str, **settings: Any) -> None:
        self.processor = ClipProcessor(ShardFolder(Path(root)), **settings)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        outcome = self.processor.process(from_row(row), row["key"])
        return {"clip_id": outcome.clip_id, "status": outcome.status}
