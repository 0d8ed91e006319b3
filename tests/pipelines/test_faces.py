from __future__ import annotations

import hashlib
import shutil
import urllib.error
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from conftest import run_module
from media_files import GRID, MODELS, needs_grid, needs_models

from pipelines.decode import ClipReader
from pipelines.errors import UsageError
from pipelines.faces import (
    FacesConfig,
    crop_face,
    fill_missing,
    follow,
    load_detector,
    weights_digest,
)
from pipelines.faces.config import DETECTORS
from pipelines.faces.weights import FILES

Boxes = npt.NDArray[np.float32]
NOBODY: Boxes = np.zeros((0, 5), dtype=np.float32)


def face(x: float, y: float, side: float, score: float = 0.9) -> list[float]:
    return [x, y, x + side, y + side, score]


def faces(*rows: list[float]) -> Boxes:
    return np.array(rows, dtype=np.float32).reshape(-1, 5)


def config_for(detector: str) -> FacesConfig:
    return FacesConfig(detector=detector, model_dir=str(MODELS))


def grid_frames(path: Path, step: int = 5) -> npt.NDArray[np.uint8]:
    reader = ClipReader(path)
    frames = reader.frames(np.arange(0, len(reader.info.frame_times_s), step))
    reader.close()
    return frames


@needs_grid
@needs_models
@pytest.mark.parametrize("detector", DETECTORS)
def test_the_one_face_of_every_real_clip_is_found_where_it_is(detector: str) -> None:
    finder = load_detector(config_for(detector))
    step = 25 if detector == "ssd_resnet" else 5
    found = 0
    frames = 0
    for path in sorted(GRID.glob("*.mpg")):
        pictures = grid_frames(path, step)
        boxes, detected = follow(finder.detect(pictures))
        frames += len(pictures)
        found += int(detected.sum())
        # GRID speakers sit in the middle of 360x288 pixels and fill a good part of it.
        x0, y0, x1, y1 = boxes[detected].mean(axis=0)
        assert 100 < (x0 + x1) / 2 < 260, path.name
        assert 90 < (y0 + y1) / 2 < 240, path.name
        assert 80 < x1 - x0 < 200, path.name
    assert found >= 0.99 * frames


@needs_grid
@needs_models
@pytest.mark.parametrize("detector", DETECTORS)
def test_boxes_are_in_pixels_of_the_frame_whatever_the_detector_sees(detector: str) -> None:
    small = grid_frames(sorted(GRID.glob("*.mpg"))[0], 75)
    large = np.stack([cv2.resize(small[0], (1080, 864), interpolation=cv2.INTER_CUBIC)])
    finder = load_detector(config_for(detector))
    (of_small,), (of_large,) = finder.detect(small), finder.detect(large)
    assert of_small.shape == of_large.shape == (1, 5)
    np.testing.assert_allclose(of_large[0, :4] / 3, of_small[0, :4], atol=8)


@needs_grid
@needs_models
@pytest.mark.parametrize("detector", ["yunet", "ssd_resnet"])
def test_detectors_that_see_colour_get_it_in_the_right_order(detector: str) -> None:
    pictures = grid_frames(sorted(GRID.glob("*.mpg"))[0], 75)
    (as_documented,) = load_detector(config_for(detector)).detect(pictures)
    if detector == "yunet":
        net = cv2.FaceDetectorYN.create(
            str(MODELS / "face_detection_yunet_2023mar.onnx"), "", (320, 256), 0.5
        )
        shrunk = cv2.resize(pictures[0], (320, 256), interpolation=cv2.INTER_AREA)
        score = net.detect(cv2.cvtColor(shrunk, cv2.COLOR_RGB2BGR))[1][0, 14]
    else:
        network = cv2.dnn.readNetFromTensorflow(
            str(MODELS / "opencv_face_detector_uint8.pb"),
            str(MODELS / "opencv_face_detector.pbtxt"),
        )
        shrunk = cv2.resize(pictures[0], (300, 300), interpolation=cv2.INTER_AREA)
        blue_first = shrunk[:, :, ::-1].astype(np.float32) - (104, 177, 123)
        network.setInput(blue_first.transpose(2, 0, 1)[None].astype(np.float32))
        score = network.forward()[0, 0, :, 2].max()
    assert as_documented[0, 4] == pytest.approx(score, abs=1e-4)


@needs_models
@pytest.mark.parametrize("detector", DETECTORS)
def test_there_is_no_face_where_there_is_none(detector: str) -> None:
    stripes = np.zeros((2, 240, 320, 3), dtype=np.uint8)
    stripes[:, :, ::16] = 200
    found = load_detector(config_for(detector)).detect(stripes)
    assert [boxes.shape for boxes in found] == [(0, 5), (0, 5)]
    assert all(boxes.dtype == np.float32 for boxes in found)


@needs_grid
@needs_models
@pytest.mark.parametrize("detector", ["haar", "yunet"])  # SSD squeezes so wide a frame to a square
@pytest.mark.parametrize("grey", [0, 64, 128, 192, 255])
def test_a_plain_backdrop_of_any_brightness_hides_no_face(detector: str, grey: int) -> None:
    finder = load_detector(config_for(detector))
    for path in sorted(GRID.glob("*.mpg"))[::2]:
        pictures = grid_frames(path, 40)
        wide = np.full((len(pictures), 288, 720, 3), grey, dtype=np.uint8)
        wide[:, :, :360] = pictures
        assert all(len(boxes) == 1 for boxes in finder.detect(wide)), path.name


@needs_grid
@pytest.mark.parametrize(("gain", "offset"), [(0.2, 0), (0.15, 100), (0.15, 210)])
def test_haar_finds_faces_in_dark_and_flat_pictures(gain: float, offset: int) -> None:
    finder = load_detector(FacesConfig())
    for path in sorted(GRID.glob("*.mpg"))[::2]:
        pictures = (grid_frames(path, 40) * gain + offset).astype(np.uint8)
        assert all(len(boxes) == 1 for boxes in finder.detect(pictures)), path.name


@needs_grid
def test_haar_asks_for_more_hits_where_more_confidence_is_asked_for() -> None:
    pictures = grid_frames(sorted(GRID.glob("*.mpg"))[0], 10)
    easy = load_detector(FacesConfig(min_confidence=0.25)).detect(pictures)
    strict = load_detector(FacesConfig(min_confidence=0.98)).detect(pictures)
    assert sum(map(len, strict)) == 0 < sum(map(len, easy))
    assert all(0.25 <= score < 1 for boxes in easy for score in boxes[:, 4])


def test_a_person_is_followed_while_moving() -> None:
    detections = [faces(face(100 + 10 * frame, 80, 90)) for frame in range(20)]
    boxes, found = follow(detections)
    assert found.all()
    np.testing.assert_allclose(boxes[:, 0], 100 + 10 * np.arange(20))


def test_somebody_else_who_comes_in_does_not_take_over() -> None:
    person = [face(100, 80, 90, 0.8)] * 30
    passer_by = [face(220, 60, 110, 0.99)] * 10
    detections = [faces(person[frame]) for frame in range(10)]
    detections += [faces(passer_by[frame], person[frame]) for frame in range(10)]
    detections += [faces(person[frame]) for frame in range(10)]
    boxes, found = follow(detections)
    assert found.all()
    np.testing.assert_allclose(boxes[:, 0], 100)


def test_while_the_person_is_missed_nobody_else_stands_in() -> None:
    person, other = face(100, 80, 90), face(300, 60, 60)
    detections = [faces(person, other) for _ in range(10)]
    detections += [faces(other) for _ in range(5)]
    detections += [faces(person, other) for _ in range(10)]
    boxes, found = follow(detections)
    assert found.tolist() == [True] * 10 + [False] * 5 + [True] * 10
    np.testing.assert_allclose(boxes[found][:, 0], 100)
    assert (boxes[~found] == 0).all()


def test_two_people_who_pass_near_each_other_are_kept_apart() -> None:
    detections = [faces(face(100, 80, 90), face(300 - 10 * frame, 80, 60)) for frame in range(12)]
    boxes, _ = follow(detections)
    np.testing.assert_allclose(boxes[:, 0], 100)


def test_who_passes_in_front_of_the_person_is_not_taken_for_them() -> None:
    person = face(100, 80, 90)
    detections = [faces(person)] * 30
    for frame in range(40):
        passer_by = face(400 - 15 * frame, 80, 95)
        # The detector sees only who is in front where the two faces overlap.
        hidden = abs(passer_by[0] - person[0]) < 60
        detections.append(faces(passer_by) if hidden else faces(person, passer_by))
    boxes, found = follow(detections)
    np.testing.assert_allclose(boxes[found][:, 0], 100)
    assert found.sum() == 70 - 7


def test_somebody_larger_for_half_of_the_clip_does_not_take_over() -> None:
    person, guest = face(100, 80, 90), face(300, 40, 150)
    boxes, found = follow([faces(person)] * 15 + [faces(guest, person)] * 15)
    assert found.all()
    np.testing.assert_allclose(boxes[:, 0], 100)


def test_a_false_alarm_in_the_background_is_no_person() -> None:
    detections = [faces(face(100, 80, 90)) for _ in range(10)]
    detections[0] = faces(face(10, 10, 30), face(100, 80, 90))
    detections[4] = faces(face(10, 10, 30))
    boxes, found = follow(detections)
    assert found.tolist() == [True] * 4 + [False] + [True] * 5
    np.testing.assert_allclose(boxes[found][:, 0], 100)


def test_the_larger_person_is_followed_whichever_comes_first_in_the_list() -> None:
    near, far = face(50, 50, 120), face(250, 60, 50)
    for order in ((near, far), (far, near)):
        boxes, _ = follow([faces(*order)] * 5)
        np.testing.assert_allclose(boxes[:, 0], 50)


def test_nobody_anywhere_is_nobody_found() -> None:
    boxes, found = follow([NOBODY] * 3)
    assert boxes.shape == (3, 4)
    assert not found.any()


def test_a_frame_without_a_face_is_replaced_by_the_nearest_with_one() -> None:
    times = np.arange(8, dtype=np.float64) * 0.04
    detected = np.array([False, False, True, False, False, False, True, False])
    # Frame 4 lies between 2 and 6: the earlier one.
    assert fill_missing(times, detected).tolist() == [2, 2, 2, 2, 2, 6, 6, 6]


def test_nearest_means_in_time_not_in_number() -> None:
    times = np.array([0.0, 0.5, 0.6, 0.7])
    detected = np.array([True, False, False, True])
    assert fill_missing(times, detected).tolist() == [0, 3, 3, 3]


def test_a_frame_with_a_face_stays_itself() -> None:
    times = np.arange(5, dtype=np.float64) / 30
    source = fill_missing(times, np.ones(5, dtype=np.bool_))
    assert source.tolist() == [0, 1, 2, 3, 4]
    assert source.dtype == np.int32


def test_without_any_face_nothing_can_stand_in() -> None:
    with pytest.raises(ValueError, match="no frame has a face"):
        fill_missing(np.arange(3.0), np.zeros(3, dtype=np.bool_))


def gradient(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Red tells the column, green the row, blue is constant."""
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    frame[..., 0] = np.arange(width) % 256
    frame[..., 1] = (np.arange(height) % 256)[:, None]
    frame[..., 2] = 77
    return frame


def test_a_square_of_227_pixels_is_cut_out_as_it_is() -> None:
    frame = gradient(250, 256)
    crop = crop_face(frame, np.array([10, 5, 237, 232], np.float32))
    np.testing.assert_array_equal(crop, frame[5:232, 10:237])


def test_a_box_is_made_square_on_its_longer_side_around_its_centre() -> None:
    frame = gradient(250, 256)
    tall = crop_face(frame, np.array([60, 10, 160, 237], np.float32))
    # 227 high: the same centre, x from 110 - 113.5 to 110 + 113.5; round gives -4 (to even).
    assert tall.shape == (227, 227, 3)
    np.testing.assert_array_equal(tall[:, 113, 0], 109)
    assert tall[0, 0, 1] == 10
    assert tall[226, 0, 1] == 236


def test_outside_the_frame_its_edge_is_repeated() -> None:
    frame = gradient(240, 240)
    crop = crop_face(frame, np.array([-50, -50, 177, 177], np.float32))
    assert (crop[:50, :, 1] == 0).all()
    assert (crop[:, :50, 0] == 0).all()
    np.testing.assert_array_equal(crop[50:, 50:], frame[:177, :177])
    beyond = crop_face(frame, np.array([100, 100, 327, 327], np.float32))
    assert (beyond[140:, :, 1] == 239).all()
    assert (beyond[:, 140:, 0] == 239).all()


def test_a_margin_widens_every_side() -> None:
    frame = gradient(256, 256)
    crop = crop_face(frame, np.array([100, 100, 150, 150], np.float32), margin=0.5)
    # 50 pixels wide, half of it on each side: 75 to 175.
    assert crop[113, 0, 0] == 75
    assert crop[113, 226, 0] == 174
    assert crop[226, 113, 1] == 174


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    fine = np.zeros((454, 454, 3), dtype=np.uint8)
    fine[:, ::2] = 200
    crop = crop_face(fine, np.array([0, 0, 454, 454], np.float32))
    assert (crop == 100).all()


@pytest.mark.parametrize("box", [[5.2, 5.2, 5.3, 5.3], [-500, -500, -400, -400], [0, 0, 900, 20]])
def test_any_box_gives_a_crop(box: list[float]) -> None:
    assert crop_face(gradient(120, 160), np.array(box, np.float32)).shape == (227, 227, 3)


@needs_models
def test_the_digest_tells_the_detectors_files_apart() -> None:
    digests = {detector: weights_digest(config_for(detector)) for detector in DETECTORS}
    assert len(set(digests.values())) == 3
    contents = (MODELS / "face_detection_yunet_2023mar.onnx").read_bytes()
    assert digests["yunet"] == hashlib.sha256(hashlib.sha256(contents).digest()).hexdigest()
    shrunk = replace(config_for("yunet"), detect_width=200)
    assert weights_digest(shrunk) == digests["yunet"]


def test_a_folder_without_the_file_is_refused_with_its_address(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"faces\.model_dir .* has no .*onnx.*https://"):
        load_detector(FacesConfig(detector="yunet", model_dir=str(tmp_path)))


@needs_models
def test_a_damaged_file_is_refused_with_both_hashes(tmp_path: Path) -> None:
    path = tmp_path / "face_detection_yunet_2023mar.onnx"
    path.write_bytes((MODELS / path.name).read_bytes()[:-1])
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(UsageError, match=rf"{found}.*{FILES['yunet'][0].sha256}"):
        load_detector(FacesConfig(detector="yunet", model_dir=str(tmp_path)))


def test_without_a_network_both_ways_out_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> NoReturn:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(UsageError, match=r"allow the download.*faces\.model_dir="):
        load_detector(FacesConfig(detector="yunet"))


@needs_models
def test_a_cache_that_cannot_be_written_to_is_refused_with_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    published = MODELS / "face_detection_yunet_2023mar.onnx"
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: published.open("rb"))
    with pytest.raises(UsageError, match=r"XDG_CACHE_HOME.*faces\.model_dir="):
        load_detector(FacesConfig(detector="yunet"))


def test_the_command_says_in_one_line_that_the_detector_cannot_be_downloaded(
    tmp_path: Path,
) -> None:
    # A proxy where nobody listens: the same as no network, on every machine.
    result = run_module(
        "pipelines.preprocess",
        "faces=yunet",
        cwd=tmp_path,
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        https_proxy="http://127.0.0.1:9",
    )
    assert result.status == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "allow the download" in result.stderr
    assert "faces.model_dir=" in result.stderr
    assert not (tmp_path / "data").exists()


@needs_models
def test_a_file_is_fetched_once_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def published(address: str, timeout: float) -> object:
        asked.append(address)
        return (MODELS / address.rsplit("/", 1)[1]).open("rb")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", published)
    config = FacesConfig(detector="ssd_resnet")
    assert weights_digest(config) == weights_digest(config_for("ssd_resnet"))
    assert asked == [file.address for file in FILES["ssd_resnet"]]
    weights_digest(config)
    assert len(asked) == 2


@needs_models
def test_a_damaged_download_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "elsewhere"
    shutil.copy(MODELS / "README.md", broken)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: broken.open("rb"))
    with pytest.raises(UsageError, match="expected"):
        load_detector(FacesConfig(detector="yunet"))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("detector", "mtcnn"),
        ("detect_width", 10),
        ("min_confidence", 0.0),
        ("min_face", 1.0),
        ("max_missing", 1.5),
        ("margin", -0.1),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"faces\.{key} \({value}\) must be"):
        replace(FacesConfig(), **{key: value})  # type: ignore[arg-type]
