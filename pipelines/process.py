"""One clip -> its shards and its outcome (sections 3.1-3.3), whatever happens to it."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from pipelines.clip_files import ClipFiles, content_mark
from pipelines.decode import DecodeError, MediaInfo
from pipelines.errors import UsageError
from pipelines.faces import FacesConfig, crop_face, fill_missing, follow, load_detector
from pipelines.fingerprint import NO_WORDS, Words, fingerprint
from pipelines.mfcc import MfccConfig, at_rate, audio_images, segment_samples, segment_seconds
from pipelines.preprocess_config import PreprocessConfig
from pipelines.prosody import Prosody, prosody
from pipelines.recording import mended, without_voice
from pipelines.records import (
    CROP_SIZE,
    TRANSIENT_REASONS,
    Clip,
    ClipOutcome,
    Segment,
)
from pipelines.sandbox import Sandbox
from pipelines.segments import SegmentsConfig, frames_of_segment
from pipelines.shard_tables import ClipFrames
from pipelines.shards import ShardFolder
from pipelines.storage import cache_home
from pipelines.vad import VadConfig, VoiceRegion, detect_voice

CHUNK_BYTES = 64 * 2**20
"""Decoded frames held at once: a minute of 1080p would be 11 GB."""
CACHE_FAILS = "paths.cache"
"""What the detail of a `disk` outcome starts with where it is not the shards that fail."""
CANDIDATES = 4
"""Faces of a frame that are cropped while it is in memory; which one is followed shows later."""


@dataclass(frozen=True, eq=False)
class Sound:
    """What was heard of a clip."""

    samples: npt.NDArray[np.float32]
    rate: int
    start_s: float
    """Of the first sample on the container's clock."""

    @property
    def words(self) -> Words:
        """What it sounds like: copies of it in other files are found by this."""
        return fingerprint(self.samples, self.rate)


@dataclass
class _Report:
    """What is known of a clip so far: a failure keeps what came before it."""

    info: MediaInfo | None = None
    sound: Sound | None = None
    voice: VoiceRegion | None = None
    length_declared: bool = False
    frames: int = 0
    segments: int = 0
    missing_face_ratio: float = 0.0
    notes: list[str] = field(default_factory=list)
    """What a user should know of a clip that is fit for use."""


@dataclass(frozen=True, eq=False)
class ClipResult:
    """What came of one clip, before it is written."""

    outcome: ClipOutcome
    frames: ClipFrames | None = None
    segments: Sequence[Segment] = ()
    """Empty where the outcome is not `ok`."""
    info: MediaInfo | None = None
    sound: Sound | None = None


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
        segments: SegmentsConfig,
        preprocess: PreprocessConfig,
        cache: str = "",
    ) -> None:
        self.folder = folder
        self.files = ClipFiles(
            Path(cache) if cache else cache_home() / "clips", preprocess.cache_mb * 2**20
        )
        self.segments = segments
        self.vad, self.mfcc, self.faces, self.preprocess = vad, mfcc, faces, preprocess
        self.detector = load_detector(faces)
        # Ray gives a worker one thread, other processes have more: their sums differ in a last bit.
        threadpool_limits(1, user_api="blas")
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

    def process(self, clip: Clip, key: str, content: str | None = None) -> ClipOutcome:
        """Write the clip's shards under `key` and return its outcome; bad input never raises.

        Args:
            clip: what is to be worked on.
            key: names its files.
            content: mark of the content that the key was made from; a file that has another one by
                now is left to the next run. None trusts the file.
        """
        start = time.perf_counter()
        result = self.compute(clip)
        if content is not None and self._content_now(clip) != content:
            result = ClipResult(
                replace(
                    result.outcome,
                    status="failed",
                    reason="changed",
                    detail="its content is another one than when the run began",
                    transient=True,
                )
            )
        try:
            words = result.sound.words if result.sound else NO_WORDS
            self.folder.write_clip(key, result.outcome, result.frames, result.segments, words)
        except Exception as error:
            # Each kind of storage fails in its own ways. The next run tries again: nothing of this
            # clip is there but whole files.
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
            with self._local_file(clip) as path:
                reason, frames, segments = self._compute(clip, path, report)
        except _DroppedError as dropped:
            status, reason, detail = "dropped", dropped.reason, dropped.detail
        except DecodeError as error:
            status, reason, detail = "failed", error.reason, error.detail
            report.length_declared |= reason == "truncated"
        except UsageError:
            raise
        except Exception as error:
            words = " ".join(str(error).split())[:300]
            status, reason, detail = "failed", "internal", f"{type(error).__name__}: {words}"
        else:
            outcome = self._outcome(clip, report, "ok", reason, "; ".join(report.notes), start)
            return ClipResult(outcome, frames, segments, report.info, report.sound)
        told = "; ".join(filter(None, (detail, *report.notes)))
        outcome = self._outcome(clip, report, status, reason, told, start)
        return ClipResult(outcome, info=report.info, sound=report.sound)

    def _content_now(self, clip: Clip) -> str:
        try:
            return content_mark(clip.path)
        except Exception as error:  # each store's library has errors of its own
            return str(error)

    @contextmanager
    def _local_file(self, clip: Clip) -> Iterator[Path]:
        """Give the clip's file, fetched where it lies in an object store."""
        with ExitStack() as stack:
            try:
                path = stack.enter_context(self.files.local(clip.path))
            except FileNotFoundError as error:
                raise DecodeError("missing_file", str(error)) from error
            # Each store's library has errors of its own.
            except Exception as error:
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    words = f"{CACHE_FAILS} ({self.files.folder}) can't be written to: {error}"
                    raise DecodeError("disk", words) from error
                raise DecodeError("unreachable", f"{type(error).__name__}: {error}") from error
            yield path

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

    def _compute(
        self, clip: Clip, path: Path, report: _Report
    ) -> tuple[str, ClipFrames, list[Segment]]:
        info = self.sandbox.open(
            path, self.preprocess.max_seconds, self.preprocess.truncated == "keep"
        )
        report.info, report.length_declared = info, info.length_declared
        report.notes.extend(info.notes)
        reason, starts_s, images, voice = self._audio_segments(info, report)
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
                pitch_hz=voice.pitch_hz[index],
                energy_db=voice.energy_db[index],
            )
            for index, (start, image, indices) in enumerate(
                zip(starts_s, images, of_segment, strict=True)
            )
        ]
        report.frames, report.segments = len(wanted), len(segments)
        return reason, frames, segments

    def _audio_segments(
        self, info: MediaInfo, report: _Report
    ) -> tuple[str, npt.NDArray[np.float64], npt.NDArray[np.float16], Prosody]:
        """Voice region, then audio images, pitch and energy of its segments.

        Starts are on the container's clock, as the frames' are.
        """
        recorded, rate = self.sandbox.audio(self.mfcc.rate or None)
        samples, faults = mended(recorded)
        report.sound = Sound(samples, rate, info.audio_start_s)
        report.notes.extend(faults)
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
        reason = "padded" if padded else ""
        if self.vad.enabled and not voice.found:
            reason = "no_voice"
            report.notes.append(without_voice(samples))
            if padded:
                report.notes.append("shorter than one segment: padded to one")
        starts_s = starts_s + (first / rate + info.audio_start_s)
        return reason, starts_s, images, prosody(region, mfcc)

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
