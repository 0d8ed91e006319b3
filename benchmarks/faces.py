"""The face detectors on drawn people: how many faces they find, how exactly, how fast."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.corpora.synthetic import SyntheticConfig, clips, role_of
from pipelines.faces import FaceDetector, FacesConfig, follow, load_detector
from pipelines.faces.config import DETECTORS
from pipelines.synthesis.performance import perform

Pixels = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float64]

DIFFICULTIES = (0.0, 0.25, 0.5)
SUBJECTS, CLIPS_EVERY, FRAMES_EVERY = 8, 2, 8
SIZES = ((360, 288), (720, 576), (1920, 1080))
"""Width and height in pixels."""
TIMED_FRAMES, REPEATS = 20, 7
MODELS = Path(__file__).parents[1] / ".." / "shared" / "models"
LEAST_IOU, LEAST_FOUND = 0.7, 0.98


def run() -> dict[str, Any]:
    """Compare boxes with the truth of the synthetic corpus, then time each frame size."""
    folder = str(MODELS) if MODELS.is_dir() else ""
    finders = {
        name: load_detector(FacesConfig(detector=name, model_dir=folder)) for name in DETECTORS
    }
    found: dict[str, list[npt.NDArray[np.bool_]]] = {name: [] for name in DETECTORS}
    overlaps: dict[str, list[Boxes]] = {name: [] for name in DETECTORS}
    timed: list[Pixels] = []
    for pictures, true in _shown():
        timed.append(pictures[0])
        for name, finder in finders.items():
            boxes, detected = follow(finder.detect(pictures))
            found[name].append(detected)
            overlaps[name].append(overlap(boxes[detected], true[detected]))
    milliseconds = _timings(finders, np.stack(timed[:TIMED_FRAMES]))
    detectors: dict[str, dict[str, Any]] = {
        name: {
            "found": round(float(np.concatenate(found[name]).mean()), 4),
            "iou_median": round(float(np.median(np.concatenate(overlaps[name]))), 3),
            "iou_5_percent": round(float(np.percentile(np.concatenate(overlaps[name]), 5)), 3),
            "cpu_ms_per_frame": milliseconds[name],
        }
        for name in DETECTORS
    }
    return {
        "work": f"{sum(map(len, found['haar']))} frames of {len(timed)} synthetic clips, "
        f"{SUBJECTS} subjects, difficulties {', '.join(map(str, DIFFICULTIES))}; one thread",
        "repeats": REPEATS,
        "detectors": detectors,
        "within_limits": all(
            figures["iou_median"] >= LEAST_IOU and figures["found"] >= LEAST_FOUND
            for figures in detectors.values()
        ),
    }


def overlap(found: npt.NDArray[np.floating[Any]], true: Boxes) -> Boxes:
    """Intersection over union of boxes [n, 4], one by one."""
    low, high = np.maximum(found[:, :2], true[:, :2]), np.minimum(found[:, 2:], true[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (found, true)]
    return np.asarray(shared / (areas[0] + areas[1] - shared), np.float64)


def _shown() -> list[tuple[Pixels, Boxes]]:
    """Frames and true boxes of clips of all subjects and emotions."""
    shown = []
    for seed, difficulty in enumerate(DIFFICULTIES):
        corpus = SyntheticConfig(
            root="-", subjects=SUBJECTS, takes=1, difficulty=difficulty, seed=seed
        )
        for clip in islice(clips(corpus), seed % CLIPS_EVERY, None, CLIPS_EVERY):
            performance = perform(role_of(corpus, clip))
            drawn = performance.pictures(range(0, performance.timing.frames, FRAMES_EVERY))
            pictures, boxes = zip(*drawn, strict=True)
            shown.append((np.stack(pictures), np.array(boxes)))
    return shown


def _timings(finders: dict[str, FaceDetector], frames: Pixels) -> dict[str, dict[str, float]]:
    """CPU milliseconds a frame, the median over rounds in which the detectors take turns.

    On one thread that is the time on a machine with nothing else to do.
    """
    taken: dict[str, dict[str, list[float]]] = {name: {} for name in finders}
    for width, height in SIZES:
        scaled = np.stack([cv2.resize(frame, (width, height)) for frame in frames])
        for _ in range(REPEATS + 1):
            for name, finder in finders.items():
                start = time.process_time()
                finder.detect(scaled)
                each = (time.process_time() - start) / len(scaled) * 1000
                taken[name].setdefault(f"{width}x{height}", []).append(each)
    # The first round warms up.
    return {
        name: {size: round(float(np.median(each[1:])), 1) for size, each in sizes.items()}
        for name, sizes in taken.items()
    }
