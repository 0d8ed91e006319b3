"""Each detector on drawn people whose faces' places are known, in files, alone and in company."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from media_files import MODELS, needs_models
from performances import Take, record, take

from pipelines.corpora.synthetic import SyntheticConfig, clips, role_of
from pipelines.faces import FacesConfig, follow, load_detector
from pipelines.faces.config import DETECTORS
from pipelines.mfcc import MfccConfig
from pipelines.preprocess_config import PreprocessConfig
from pipelines.process import ClipProcessor, ClipResult
from pipelines.records import Clip
from pipelines.segments import SegmentsConfig
from pipelines.shards import ShardFolder
from pipelines.synthesis.performance import perform
from pipelines.vad import VadConfig

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

FRAMES = 20
"""At 30 a second: those of one segment."""
SAMPLES = 10_480
"""Of one segment."""
WIDTH, HEIGHT = 640, 360
PERSON_AT = (100, 72)
"""Where the picture of the person who is meant lies in the scene."""


def overlap(found: npt.NDArray[np.floating], true: Floats) -> Floats:
    """Intersection over union of boxes [n, 4], one by one."""
    low, high = np.maximum(found[:, :2], true[:, :2]), np.minimum(found[:, 2:], true[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (found, true)]
    return np.asarray(shared / (areas[0] + areas[1] - shared), np.float64)


@pytest.fixture(scope="module")
def crowd() -> list[tuple[Pixels, Floats]]:
    """Frames and true boxes of eighteen clips: eight people, six emotions, three difficulties."""
    shown = []
    for seed, difficulty in enumerate((0.0, 0.25, 0.5)):
        corpus = SyntheticConfig(root="-", subjects=8, takes=1, difficulty=difficulty, seed=seed)
        for clip in clips(corpus)[seed::8]:
            performance = perform(role_of(corpus, clip))
            drawn = performance.pictures(range(5, performance.timing.frames, 40))
            pictures, boxes = zip(*drawn, strict=True)
            shown.append((np.stack(pictures), np.array(boxes)))
    return shown


@needs_models
@pytest.mark.parametrize("detector", DETECTORS)
def test_the_face_is_found_in_all_but_two_in_a_hundred_frames_where_it_is(
    detector: str, crowd: list[tuple[Pixels, Floats]]
) -> None:
    finder = load_detector(FacesConfig(detector=detector, model_dir=str(MODELS)))
    hits, overlaps = [], []
    for pictures, true in crowd:
        boxes, found = follow(finder.detect(pictures))
        hits.append(found)
        overlaps.append(overlap(boxes, true)[found])
    assert len(hits) == 18
    assert np.concatenate(hits).mean() >= 0.98
    assert np.median(np.concatenate(overlaps)) >= 0.7
    assert np.concatenate(overlaps).min() > 0.5


@pytest.fixture(scope="module")
def person() -> Take:
    return take(1, first=30, count=40)


@pytest.fixture(scope="module")
def other() -> Take:
    return take(13, first=30, count=40)


def put(scene: Pixels, picture: Pixels, at: tuple[int, int], scale: float = 1.0) -> None:
    """Paste the middle of a picture, the head and some of the body, into a scene, in place."""
    shown = cv2.resize(picture[:, 80:280], None, fx=scale, fy=scale)
    (x, y), (height, width) = at, shown.shape[:2]
    left, right = max(x, 0), min(x + width, scene.shape[1])
    if left < right:
        part = shown[: scene.shape[0] - y, left - x : right - x]
        scene[y : y + height, left:right] = part


def scene_of(person: Take, other: Take, what: str) -> tuple[Pixels, Floats]:
    """A wider picture with somebody else in it, and the true boxes of the person who is meant."""
    frames = 40 if "crosses" in what else FRAMES
    scene = np.full((frames, HEIGHT, WIDTH, 3), 120, np.uint8)
    for index, canvas in enumerate(scene):
        put(canvas, person.pictures[index], PERSON_AT)
        companion = other.pictures[index]
        if what == "somebody larger comes in halfway" and index >= FRAMES // 2:
            put(canvas, companion, (330, 0), 1.25)
        elif what == "somebody larger crosses in front":
            put(canvas, companion, (540 - 36 * index, 60), 1.1)
        elif what == "somebody as large sits beside for a while" and index < FRAMES - 5:
            put(canvas, companion, (380, 72))
        elif what == "somebody smaller is in the background":
            put(canvas, companion, (400, 150), 0.6)
    x, y = PERSON_AT
    return scene, person.boxes[:frames] + np.array([x - 80, y, x - 80, y])


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClipProcessor]:
    with ClipProcessor(
        ShardFolder(tmp_path_factory.mktemp("shards")),
        vad=VadConfig(enabled=False),
        mfcc=MfccConfig(),
        faces=FacesConfig(),
        segments=SegmentsConfig(),
        preprocess=PreprocessConfig(),
    ) as processor:
        yield processor


def worked(processor: ClipProcessor, path: Path) -> ClipResult:
    return processor.compute(Clip(clip_id="c", path=str(path), subject="s1", emotion="fear"))


@needs_models
@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize(
    "what",
    [
        "somebody larger comes in halfway",
        "somebody larger crosses in front",
        "somebody as large sits beside for a while",
        "somebody smaller is in the background",
    ],
)
def test_the_same_person_is_followed_in_a_file_with_two_faces(
    what: str,
    detector: str,
    person: Take,
    other: Take,
    processor: ClipProcessor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = FacesConfig(detector=detector, model_dir=str(MODELS))
    monkeypatch.setattr(processor, "detector", load_detector(config))
    pictures, true = scene_of(person, other, what)
    path = record(tmp_path / "two.mp4", pictures, person.samples, audio="flac")
    frames = worked(processor, path).frames
    assert frames is not None
    of_frame = true[np.round(frames.times_s * 30).astype(int)]
    assert overlap(frames.boxes, of_frame)[frames.detected].min() > 0.5
    hidden = 0.35 if "crosses" in what else 0.0
    assert frames.detected.mean() >= 1 - hidden


@pytest.mark.parametrize(("without", "status"), [(9, "ok"), (12, "dropped")])
def test_a_face_that_is_away_for_some_frames_is_replaced_and_for_most_drops_the_clip(
    without: int, status: str, person: Take, processor: ClipProcessor, tmp_path: Path
) -> None:
    pictures = person.pictures[:FRAMES].copy()
    pictures[5 : 5 + without] = 110
    path = record(tmp_path / "a.mp4", pictures, person.samples[:SAMPLES], audio="flac")
    result = worked(processor, path)
    assert result.outcome.status == status
    if status == "dropped":
        assert result.outcome.reason == "too_few_faces"
        return
    assert result.frames is not None
    detected = [not 5 <= frame < 14 for frame in range(20)]
    assert result.frames.detected.tolist() == detected
    assert result.outcome.missing_face_ratio == pytest.approx(9 / 20)
    crops = result.frames.crops
    # Frame 9 is as near to frame 4 as to frame 14: the earlier one.
    for frame, source in [(5, 4), (9, 4), (10, 14), (13, 14)]:
        assert np.array_equal(crops[frame], crops[source])


def edited(kind: str, pictures: Pixels) -> Pixels:
    if kind == "grey":
        return np.repeat(pictures.mean(axis=-1, keepdims=True).astype(np.uint8), 3, axis=-1)
    if kind == "at the edge":
        return pictures[:, :, 110:]
    size = {"tiny": (64, 48), "large": (1200, 960), "odd": (354, 282)}[kind]
    return np.stack([cv2.resize(picture, size) for picture in pictures])


@pytest.mark.parametrize("kind", ["grey", "at the edge", "tiny", "large", "odd"])
def test_unusual_pictures_are_pictures(
    kind: str, person: Take, processor: ClipProcessor, tmp_path: Path
) -> None:
    pictures = edited(kind, person.pictures[:FRAMES])
    samples = person.samples[:SAMPLES]
    path = record(tmp_path / "a.mp4", pictures, samples, video="mpeg4", audio="flac")
    result = worked(processor, path)
    assert result.outcome.status == "ok", result.outcome
    assert result.outcome.missing_face_ratio <= 0.25


@needs_models
@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("shape", [(20, 2000), (2000, 20), (2, 2)])
def test_frames_without_room_for_a_face_have_none(detector: str, shape: tuple[int, int]) -> None:
    finder = load_detector(FacesConfig(detector=detector, model_dir=str(MODELS)))
    (found,) = finder.detect(np.zeros((1, *shape, 3), np.uint8))
    assert found.shape == (0, 5)
