"""What preprocessing costs: region of interest, Ray Data, each step of the work, memory."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.alternation import alternate
from pipelines.clip_files import content_digests
from pipelines.clip_pool import PoolSize, map_clips
from pipelines.clip_worker import ClipWorker
from pipelines.decode import MediaInfo
from pipelines.faces import FacesConfig, crop_face
from pipelines.mfcc import MfccConfig, audio_images
from pipelines.preprocess_config import PreprocessConfig
from pipelines.process import ClipProcessor, ClipResult
from pipelines.progress import Reporter
from pipelines.records import Clip, to_row
from pipelines.segments import SegmentsConfig
from pipelines.session import ClusterConfig, ray_session
from pipelines.shard_tables import ClipFrames
from pipelines.shards import ShardFolder
from pipelines.synthesis.emotions import EMOTIONS
from pipelines.synthesis.performance import Role, perform
from pipelines.synthesis.speech import FRAME_RATE, Timing
from pipelines.vad import VadConfig, detect_voice

WIDTH, HEIGHT = 720, 480
"""Of RML's clips."""
SECONDS, SPEECH_SECONDS = 5.0, 2.5
REGION_CLIPS = 4
RAY_CLIPS = 28
MEMORY_CLIPS, MEMORY_FIRST, MEMORY_SECONDS = 1000, 100, 2.0


def region_of_interest() -> dict[str, Any]:
    """Decode and detect in the region of interest, against the whole clip; the same shards."""
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(Path(folder), REGION_CLIPS)
        rows = {name: _compare_regions(clips, name) for name in ("haar", *_detectors_with_files())}
    return {
        "a": "audio first, then only the frames of the region of interest",
        "b": "every frame of the clip, then those of the region are kept",
        "work": f"{len(clips)} clips of {SECONDS} s with {SPEECH_SECONDS} s of speech, "
        f"{WIDTH}x{HEIGHT}, {FRAME_RATE} frames/s, one process; most that can be had: "
        f"{SECONDS / (SPEECH_SECONDS + 0.4):.2f}, and 1.81 as frames at the end of the region that "
        "no segment shows are not decoded either",
        "detectors": rows,
        **rows["haar"],
    }


class WholeClipProcessor(ClipProcessor):
    """Looks for faces in every frame, as one does that knows nothing of the voice."""

    def _face_frames(
        self, info: MediaInfo, wanted: npt.NDArray[np.int32], report: Any
    ) -> ClipFrames:
        every = np.arange(info.frame_times_s.size, dtype=np.int32)
        whole = super()._face_frames(info, every, report)
        return ClipFrames(
            times_s=whole.times_s[wanted],
            crops=whole.crops[wanted],
            boxes=whole.boxes[wanted],
            detected=whole.detected[wanted],
        )


def _compare_regions(clips: Sequence[Clip], detector: str) -> dict[str, Any]:
    settings = _settings(detector)
    folder = ShardFolder(tempfile.gettempdir())
    with ClipProcessor(folder, **settings) as ours, WholeClipProcessor(folder, **settings) as whole:
        return alternate(
            lambda: [_fingerprint(ours.compute(clip)) for clip in clips],
            lambda: [_fingerprint(whole.compute(clip)) for clip in clips],
        )


def ray_data() -> dict[str, Any]:
    """Ray Data against a pool of spawned processes that call the same function."""
    workers = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        clips = make_clips(Path(name), RAY_CLIPS)
        contents = content_digests(clips, name)
        rows = [
            {**to_row(clip), "key": f"{index:04d}", "content": contents[clip.clip_id]}
            for index, clip in enumerate(clips)
        ]

        def run(map_rows: Callable[[dict[str, Any]], Iterator[dict[str, Any]]]) -> str:
            with tempfile.TemporaryDirectory(dir=name) as shards:
                answers = list(map_rows({"root": shards, **_settings("haar")}))
                assert len(answers) == len(rows)
                return _tables_digest(Path(shards))

        with ray_session(ClusterConfig(), Reporter(quiet=True)):
            size = PoolSize(workers, grows=False)
            figures = alternate(
                lambda: run(lambda settings: _by_pool(settings, rows, workers)),
                lambda: run(lambda settings: map_clips(ClipWorker, settings, rows, size)),
            )
    return {
        "a": f"multiprocessing: {workers} spawned processes, a clip at a time",
        "b": f"Ray Data: {workers} actors, a clip a block, in a Ray that runs",
        "work": f"{RAY_CLIPS} clips of {SECONDS} s, {WIDTH}x{HEIGHT}, to shards on a disk; the "
        "start of processes and actors included",
        **figures,
    }


_worker: ClipWorker


def _start_worker(settings: dict[str, Any]) -> None:
    global _worker
    _worker = ClipWorker(**settings)


def _work(row: dict[str, Any]) -> dict[str, Any]:
    return _worker(row)


def _by_pool(
    settings: dict[str, Any], rows: Sequence[dict[str, Any]], workers: int
) -> Iterator[dict[str, Any]]:
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(workers, _start_worker, (settings,)) as pool:
        yield from pool.imap_unordered(_work, rows)


def steps() -> dict[str, Any]:
    """Clips and frames per second of one process, and the share of each step."""
    with tempfile.TemporaryDirectory() as name:
        clips = make_clips(Path(name), 12)
        rows = {
            detector: _time_steps(clips, Path(name) / detector, detector)
            for detector in ("haar", *_detectors_with_files())
        }
    return {
        "work": f"{len(clips)} clips of {SECONDS} s with {SPEECH_SECONDS} s of speech, "
        f"{WIDTH}x{HEIGHT}, {FRAME_RATE} frames/s, one process of one thread and its decoder",
        "detectors": rows,
    }


def _time_steps(clips: Sequence[Clip], shards: Path, detector: str) -> dict[str, Any]:
    spent: dict[str, float] = defaultdict(float)

    def timed(step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                spent[step] += time.perf_counter() - begun

        return call

    with ClipProcessor(ShardFolder(shards), **_settings(detector)) as processor:
        processor.compute(clips[0])
        sandbox, folder = processor.sandbox, processor.folder
        with (
            patch.object(sandbox, "open", timed("read through", sandbox.open)),
            patch.object(sandbox, "audio", timed("sound", sandbox.audio)),
            patch.object(sandbox, "frames", timed("decode frames", sandbox.frames)),
            patch.object(processor.detector, "detect", timed("detect", processor.detector.detect)),
            patch("pipelines.process.crop_face", timed("crop and resize", crop_face)),
            patch("pipelines.process.detect_voice", timed("voice activity", detect_voice)),
            patch("pipelines.process.audio_images", timed("MFCC", audio_images)),
            patch.object(folder, "write_clip", timed("write", folder.write_clip)),
        ):
            begun = time.perf_counter()
            outcomes = [processor.process(clip, f"{index:04d}") for index, clip in enumerate(clips)]
            total = time.perf_counter() - begun
    shares = {step: round(seconds / total, 3) for step, seconds in sorted(spent.items())}
    return {
        "clips_per_second": round(len(clips) / total, 2),
        "frames_per_second": round(sum(outcome.frames for outcome in outcomes) / total, 1),
        "share_of_time": {**shares, "everything else": round(1 - sum(shares.values()), 3)},
    }


def memory() -> dict[str, Any]:
    """Resident memory of a worker and its decoder over 1,000 clips."""
    with tempfile.TemporaryDirectory() as name:
        clips = make_clips(Path(name), 20, MEMORY_SECONDS)
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        worker = spawn.Process(target=_watch_memory, args=(theirs, [asdict(c) for c in clips]))
        worker.start()
        theirs.close()
        samples: list[tuple[int, int]] = ours.recv()
        worker.join()
    mebibytes = [(own / 2**20, child / 2**20) for own, child in samples]
    early = statistics.median(own for own, _ in mebibytes[MEMORY_FIRST - 10 : MEMORY_FIRST])
    late = statistics.median(own for own, _ in mebibytes[-10:])
    return {
        "work": f"{MEMORY_CLIPS} times one of 20 clips of {MEMORY_SECONDS} s, {WIDTH}x{HEIGHT}, by "
        "one worker's process with the haar detector, and its decoder",
        "worker_mib_after_100": round(early, 1),
        "worker_mib_at_the_end": round(late, 1),
        "growth": round(late / early - 1, 4),
        "within_20_percent": late <= 1.2 * early,
        "worker_mib_most": round(max(own for own, _ in mebibytes), 1),
        "decoder_mib_most": round(max(child for _, child in mebibytes), 1),
    }


def _watch_memory(connection: Any, rows: Sequence[dict[str, Any]]) -> None:
    clips = [Clip(**row) for row in rows]
    samples = []
    with (
        tempfile.TemporaryDirectory() as shards,
        ClipProcessor(ShardFolder(shards), **_settings("haar")) as processor,
    ):
        for index in range(MEMORY_CLIPS):
            processor.process(clips[index % len(clips)], f"{index % 50:04d}")
            samples.append((_resident(os.getpid()), _resident(processor.sandbox.child_pid or 0)))
    connection.send(samples)


def _resident(process: int) -> int:
    """Return the resident memory of a process in bytes; 0 where it has just ended."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    except FileNotFoundError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def make_clips(folder: Path, count: int, seconds: float = SECONDS) -> list[Clip]:
    """Write clips of which half is speech in the form of RML's: AVI, MPEG-4, PCM."""
    timing = Timing(
        frames=round(seconds * FRAME_RATE),
        voice_start_s=seconds / 4,
        voice_end_s=seconds * 3 / 4,
    )
    clips = []
    for index in range(count):
        subject = index % 6
        clip = Clip(
            clip_id=f"s{subject + 1:02d}/{index}",
            path=str(folder / f"{index}.avi"),
            subject=f"s{subject + 1:02d}",
            emotion=EMOTIONS[index % len(EMOTIONS)],
        )
        with _timed_as(timing):
            _write(clip, subject)
        clips.append(clip)
    return clips


@contextmanager
def _timed_as(timing: Timing) -> Iterator[None]:
    with patch("pipelines.synthesis.performance.draw_timing", lambda random: timing):
        yield


def _write(clip: Clip, subject: int) -> None:
    performance = perform(
        Role(
            seed=1,
            clip_id=clip.clip_id,
            subject=clip.subject,
            subject_index=subject,
            sex="female" if subject % 2 else "male",
            emotion=clip.emotion,
            sentence="1",
            signal="both",
            difficulty=0.25,
        )
    )
    sound = np.round(performance.sound() * 32767).astype(np.int16)
    with av.open(clip.path, "w", format="avi") as container:
        video = container.add_stream("mpeg4", rate=FRAME_RATE, options={"qmin": "4", "qmax": "4"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.gop_size = 12
        audio = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        for index, (picture, _) in enumerate(performance.pictures()):
            large = cv2.resize(picture, (WIDTH, HEIGHT)).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(large, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = 16000, 0, Fraction(1, 16000)
        container.mux(audio.encode(samples))
        container.mux(audio.encode(None))


def _settings(detector: str) -> dict[str, Any]:
    return {
        "vad": VadConfig(),
        "mfcc": MfccConfig(),
        "faces": FacesConfig(detector=detector, model_dir=os.environ.get("FACE_MODELS", "")),
        "segments": SegmentsConfig(),
        "preprocess": PreprocessConfig(),
    }


def _detectors_with_files() -> tuple[str, ...]:
    """Return the detectors whose files are in the folder $FACE_MODELS."""
    return ("yunet", "ssd_resnet") if os.environ.get("FACE_MODELS") else ()


def _fingerprint(result: ClipResult) -> str:
    """Return a digest of a clip's frames and segments."""
    digest = hashlib.sha256()
    if result.frames is not None:
        for array in (result.frames.crops, result.frames.boxes, result.frames.times_s):
            digest.update(np.ascontiguousarray(array).tobytes())
    for segment in result.segments:
        digest.update(segment.mfcc.tobytes() + segment.frame_indices.tobytes())
        digest.update(segment.pitch_hz.tobytes() + segment.energy_db.tobytes())
    return digest.hexdigest() if result.segments else result.outcome.reason


def _tables_digest(shards: Path) -> str:
    """Return a digest of all frames and segments of a shard folder."""
    digest = hashlib.sha256()
    for path in sorted(shards.glob("[fs]*/*.parquet")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
