"""The drawn face shows what its actions say, and detectors take it for a face."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from media_files import MODELS

from pipelines.corpora.synthetic import SyntheticConfig, clips, role_of
from pipelines.synthesis.acting import act, draw_ramp
from pipelines.synthesis.emotions import FACE_ACTION_NAMES
from pipelines.synthesis.face import Box
from pipelines.synthesis.performance import perform
from pipelines.synthesis.seeds import stream
from pipelines.synthesis.speech import Timing

FRAMES_PER_CLIP = 3

Detector = Callable[[npt.NDArray[np.uint8]], Box | None]


def haar() -> Detector:
    folder = Path(cv2.__file__).parent / "data"
    cascade = cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_alt.xml"))

    def detect(frame: npt.NDArray[np.uint8]) -> Box | None:
        found = cascade.detectMultiScale(
            cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), scaleFactor=1.1, minNeighbors=3
        )
        if len(found) == 0:
            return None
        x, y, wide, high = (float(v) for v in max(found, key=lambda box: box[2]))
        return x, y, x + wide, y + high

    return detect


def model_file(name: str) -> str:
    path = MODELS / name
    if not path.exists():
        pytest.skip(f"the detector's file is not there: {name}")
    return str(path)


def yunet() -> Detector:
    path = model_file("face_detection_yunet_2023mar.onnx")
    network = cv2.FaceDetectorYN.create(path, "", (360, 288), 0.6)

    def detect(frame: npt.NDArray[np.uint8]) -> Box | None:
        # OpenCV's stubs leave out that nothing found is None.
        found: Any = network.detect(frame)[1]
        if found is None:
            return None
        x, y, wide, high = (float(v) for v in max(found, key=lambda row: row[-1])[:4])
        return x, y, x + wide, y + high

    return detect


def ssd() -> Detector:
    network = cv2.dnn.readNetFromTensorflow(
        model_file("opencv_face_detector_uint8.pb"), model_file("opencv_face_detector.pbtxt")
    )

    def detect(frame: npt.NDArray[np.uint8]) -> Box | None:
        network.setInput(cv2.dnn.blobFromImage(frame, 1.0, (300, 300), (104, 177, 123)))
        rows = np.asarray(network.forward())[0, 0]
        best = rows[rows[:, 2].argmax()]
        if best[2] < 0.5:
            return None
        x0, y0, x1, y1 = (best[3:7] * np.array([360, 288, 360, 288])).tolist()
        return x0, y0, x1, y1

    return detect


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared)


@pytest.fixture(scope="module")
def pictures() -> list[tuple[npt.NDArray[np.uint8], Box]]:
    """Frames (BGR) at rest, at the apex and after it, of 8 subjects and 6 emotions."""
    config = SyntheticConfig(subjects=8, takes=1, difficulty=0.5)
    sampled = []
    for clip in clips(config):
        performance = perform(role_of(config, clip))
        total = performance.timing.frames
        wanted = np.linspace(0.1, 0.9, FRAMES_PER_CLIP) * total
        for frame, box in performance.pictures(wanted.astype(int).tolist()):
            sampled.append((np.ascontiguousarray(frame[..., ::-1]), box))
    return sampled


@pytest.mark.parametrize("make", [haar, yunet, ssd])
def test_every_detector_finds_the_faces_where_they_are(
    make: Callable[[], Detector], pictures: list[tuple[npt.NDArray[np.uint8], Box]]
) -> None:
    detect = make()
    overlaps = []
    for frame, box in pictures:
        found = detect(frame)
        overlaps.append(0.0 if found is None else overlap(found, box))
    assert np.mean(np.array(overlaps) > 0.3) > 0.95
    assert np.median(overlaps) >= 0.7


def test_one_frame_alone_is_the_same_as_in_the_film() -> None:
    config = SyntheticConfig(takes=1)
    performance = perform(role_of(config, clips(config)[0]))
    *_, (frame, box) = islice(performance.pictures(), 5)
    ((alone, alone_box),) = performance.pictures([4])
    assert np.array_equal(frame, alone)
    assert box == alone_box


def test_face_goes_from_rest_to_the_apex_and_back() -> None:
    timing = Timing(frames=99, voice_start_s=0.6, voice_end_s=2.6)
    rest = np.zeros(len(FACE_ACTION_NAMES))
    apex = np.eye(len(FACE_ACTION_NAMES))[FACE_ACTION_NAMES.index("mouth_corner")]
    silent = np.zeros(660)
    ramp = draw_ramp(timing, stream(0, "ramp"))
    acting = act(timing, ramp, rest, apex, silent, 0.0, stream(0, "acting"))
    smile = acting.actions[:, FACE_ACTION_NAMES.index("mouth_corner")]
    times = np.arange(99) / 30
    assert np.all(smile[times < 0.15] == 0.0)
    assert np.all(smile[(times > 0.7) & (times < 2.4)] > 0.8)
    assert np.all(smile[times > 3.1] == 0.0)


def test_lips_follow_the_voice() -> None:
    config = SyntheticConfig(takes=1)
    performance = perform(role_of(config, clips(config)[0]))
    mouth = performance.acting().actions[:, FACE_ACTION_NAMES.index("mouth_open")]
    frames = np.arange(performance.timing.frames) / 30 / 0.005
    lips = np.interp(frames, np.arange(len(performance.lips)), performance.lips)
    assert np.corrcoef(mouth, lips)[0, 1] > 0.5


def test_subjects_differ_more_than_takes_of_one() -> None:
    config = SyntheticConfig(subjects=3, takes=2, signal="none", difficulty=0.0)
    faces = {}
    for clip in clips(config):
        if clip.emotion != "anger":
            continue
        ((frame, box),) = perform(role_of(config, clip)).pictures([0])
        x0, y0, x1, y1 = (round(edge) for edge in box)
        face = cv2.resize(frame[y0:y1, x0:x1], (40, 50), interpolation=cv2.INTER_AREA)
        faces[clip.subject, clip.take] = np.asarray(face, np.float64)
    within = np.mean([np.abs(faces[s, "1"] - faces[s, "2"]).mean() for s in ("s01", "s02", "s03")])
    between = np.abs(faces["s01", "1"] - faces["s02", "1"]).mean()
    assert between > within
