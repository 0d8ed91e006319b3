"""Three face detectors behind one protocol, all of OpenCV's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipelines.faces.config import FacesConfig
from pipelines.faces.weights import model_paths

Frames = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float32]

_SMALLEST_FACE = 0.1
"""Part of the frame's height below which `haar` looks for no face at all."""
_SSD_SIDE = 300
_SSD_MEAN = (104.0, 177.0, 123.0)


class FaceDetector(Protocol):
    """Finds faces in frames."""

    def detect(self, frames: Frames) -> list[Boxes]:
        """Faces of each frame.

        Args:
            frames: uint8 RGB [n, height, width, 3].

        Returns:
            n arrays float32 [k, 5]: x0, y0, x1, y1 in pixels of the given frames, and a score in
            0..1; k may be 0. A box may reach beyond the frame.
        """
        ...


def load_detector(config: FacesConfig) -> FaceDetector:
    """The detector that the configuration names, on one thread.

    Raises:
        UsageError: its files are missing or damaged.
    """
    import cv2

    # Many clips are worked on at once, each in its own process: more threads would only compete.
    cv2.setNumThreads(1)
    paths = model_paths(config)
    if config.detector == "haar":
        return HaarDetector(paths[0], config)
    if config.detector == "yunet":
        return YuNetDetector(paths[0], config)
    return SsdDetector(paths[0], paths[1], config)


class HaarDetector:
    """Viola and Jones' cascade: quick, for frontal faces.

    It has no probability. Its score is n / (n + 3) for n overlapping hits, so that the usual
    least number of 3 hits is `min_confidence` 0.5.
    """

    def __init__(self, cascade: Path, config: FacesConfig) -> None:
        import cv2

        self._cascade = cv2.CascadeClassifier(str(cascade))
        self._contrast = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8))
        self._width = config.detect_width
        self._min_face = config.min_face
        self._hits = math.ceil(3 * config.min_confidence / (1 - config.min_confidence) - 1e-9)

    def detect(self, frames: Frames) -> list[Boxes]:
        """See `FaceDetector.detect`."""
        import cv2

        found: list[Boxes] = []
        for frame in frames:
            small, scale = _shrink(frame, self._width)
            # Contrast is raised place by place: a plain backdrop would take all of it.
            grey = self._contrast.apply(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)).astype(np.uint8)
            # Small windows take most of the time: they are looked at where no large face is.
            boxes = self._search(grey, self._min_face, 1.0)
            if len(boxes) == 0:
                boxes = self._search(grey, _SMALLEST_FACE, self._min_face)
            found.append(_plausible(boxes * [scale, scale, scale, scale, 1.0], frame))
        return found

    def _search(self, grey: Frames, smallest: float, largest: float) -> Boxes:
        """Boxes and scores [k, 5] of faces with a side between two parts of the frame's height."""
        low, high = (max(20, round(part * grey.shape[0])) for part in (smallest, largest))
        places, hits = self._cascade.detectMultiScale2(
            grey,
            scaleFactor=1.1,
            minNeighbors=self._hits,
            minSize=(low, low),
            maxSize=(high, high),
        )
        counts = np.asarray(hits, dtype=np.float32).reshape(-1)
        corners = np.asarray(places, dtype=np.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        return np.column_stack([corners, counts / (counts + 3)])


class YuNetDetector:
    """YuNet (opencv_zoo), also for faces that are turned away."""

    def __init__(self, model: Path, config: FacesConfig) -> None:
        import cv2

        self._net = cv2.FaceDetectorYN.create(
            str(model), "", (320, 320), config.min_confidence, 0.3, 50
        )
        self._width = config.detect_width

    def detect(self, frames: Frames) -> list[Boxes]:
        """See `FaceDetector.detect`."""
        import cv2

        found = []
        for frame in frames:
            small, scale = _shrink(frame, self._width)
            self._net.setInputSize((small.shape[1], small.shape[0]))
            _, faces = self._net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
            rows = np.zeros((0, 15)) if faces is None else np.asarray(faces, np.float64)
            # On frames of a few columns it gives infinite boxes.
            rows = rows[np.isfinite(rows).all(axis=1)]
            corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1) * scale
            found.append(_plausible(np.column_stack([corners, rows[:, 14]]), frame))
        return found


class SsdDetector:
    """OpenCV's single-shot detector with a ResNet-10 backend, the kind that section 3.3 names."""

    def __init__(self, model: Path, graph: Path, config: FacesConfig) -> None:
        import cv2

        self._net: Any = cv2.dnn.readNetFromTensorflow(str(model), str(graph))
        self._min_confidence = config.min_confidence

    def detect(self, frames: Frames) -> list[Boxes]:
        """See `FaceDetector.detect`.

        One frame at a time: OpenCV 4.14 takes the graph's offsets of shape (1, channels) to span
        the batch too, and refuses two images.
        """
        import cv2

        height, width = frames.shape[1:3]
        size = np.array([width, height, width, height], dtype=np.float32)
        found = []
        for frame in frames:
            square = _resize(frame, (_SSD_SIDE, _SSD_SIDE))
            # RGB in, BGR as the network was trained.
            self._net.setInput(cv2.dnn.blobFromImage(square, mean=_SSD_MEAN, swapRB=True))
            # Rows of image, class, score, x0, y0, x1, y1, the corners as parts of the frame.
            rows = self._net.forward().reshape(-1, 7)
            rows = rows[rows[:, 2] >= self._min_confidence]
            found.append(_plausible(np.column_stack([rows[:, 3:7] * size, rows[:, 2]]), frame))
        return found


def _plausible(boxes: npt.NDArray[np.floating], frame: Frames) -> Boxes:
    """Boxes float32 [k, 5] that can be a face: centred in the frame, and not much larger."""
    height, width = frame.shape[:2]
    middles, sides = (boxes[:, :2] + boxes[:, 2:4]) / 2, boxes[:, 2:4] - boxes[:, :2]
    inside = np.all((middles >= 0) & (middles <= [width, height]), axis=1)
    sized = np.all((sides > 0) & (sides <= 2 * max(width, height)), axis=1)
    return np.asarray(boxes[inside & sized], dtype=np.float32)


def _shrink(frame: Frames, width: int) -> tuple[Frames, float]:
    """The frame at most `width` pixels wide, and the factor that leads back to its own pixels."""
    if frame.shape[1] <= width:
        return frame, 1.0
    scale = frame.shape[1] / width
    return _resize(frame, (width, max(1, round(frame.shape[0] / scale)))), scale


def _resize(frame: Frames, size: tuple[int, int]) -> Frames:
    """The frame at (width, height) pixels."""
    import cv2

    shrinking = size[0] < frame.shape[1]
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, size, interpolation=method), dtype=np.uint8)
