"""The detectors' files: taken from a folder, or fetched once and checked."""

from __future__ import annotations

import hashlib
import http.client
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import UsageError
from pipelines.faces.config import FacesConfig
from pipelines.storage import cache_home

_GITHUB = "https://raw.githubusercontent.com/opencv"
_MEDIA = "https://media.githubusercontent.com/media/opencv"


@dataclass(frozen=True)
class WeightsFile:
    """A published file: its name, address and sha256."""

    name: str
    address: str
    sha256: str


FILES: dict[str, tuple[WeightsFile, ...]] = {
    "haar": (),
    "yunet": (
        WeightsFile(
            "face_detection_yunet_2023mar.onnx",
            # The repository keeps it in Git LFS: the raw address would give a pointer.
            f"{_MEDIA}/opencv_zoo/main/models/face_detection_yunet/"
            "face_detection_yunet_2023mar.onnx",
            "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        ),
    ),
    "ssd_resnet": (
        WeightsFile(
            "opencv_face_detector_uint8.pb",
            f"{_GITHUB}/opencv_3rdparty/dnn_samples_face_detector_20180220_uint8/"
            "opencv_face_detector_uint8.pb",
            "5c71d752ef2cbf2f457ac82fdd580fcb2522fd04c5efdaed18eb6d9e2843fbed",
        ),
        WeightsFile(
            "opencv_face_detector.pbtxt",
            f"{_GITHUB}/opencv/4.x/samples/dnn/face_detector/opencv_face_detector.pbtxt",
            "5397808362fc6fb7c4044484848e297b22449d913a267fa7f8bd9d86dce29144",
        ),
    ),
}


def model_paths(config: FacesConfig) -> list[Path]:
    """Paths of the detector's files, in the order of `FILES`, every one checked.

    Raises:
        UsageError: a file is missing and cannot be fetched, or its contents are not the published
            ones.
    """
    if config.detector == "haar":
        return [_cascade()]
    paths = []
    for wanted in FILES[config.detector]:
        if config.model_dir:
            path = Path(config.model_dir) / wanted.name
            if not path.is_file():
                raise UsageError(
                    f"faces.model_dir ({config.model_dir}) has no {wanted.name}: put the file from "
                    f"{wanted.address} there, or leave faces.model_dir empty to download it"
                )
        else:
            path = cache_home() / "faces" / wanted.name
            if not path.is_file():
                _fetch(wanted, path)
        _check(path, wanted)
        paths.append(path)
    return paths


def weights_present(config: FacesConfig) -> bool:
    """Whether the detector's files are on this host, so that nothing has to be fetched."""
    return bool(config.model_dir) or all(
        (cache_home() / "faces" / wanted.name).is_file() for wanted in FILES[config.detector]
    )


def weights_digest(config: FacesConfig) -> str:
    """sha256 over the contents of the detector's files, for keys of cached results.

    Raises:
        UsageError: as `model_paths`.
    """
    digest = hashlib.sha256()
    for path in model_paths(config):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _cascade() -> Path:
    """The cascade that OpenCV's package ships, the best of them on frontal faces."""
    import cv2.data

    return Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt.xml"


def _check(path: Path, wanted: WeightsFile) -> None:
    """Refuse a file whose contents are not the published ones."""
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as problem:
        raise UsageError(f"{path} can't be read: {problem.strerror}") from problem
    if found != wanted.sha256:
        raise UsageError(
            f"{path} is damaged or another version: its sha256 is {found}, "
            f"expected {wanted.sha256}; remove it and fetch {wanted.address}"
        )


def _fetch(wanted: WeightsFile, path: Path) -> None:
    """Download into `path`, checked before it takes its name: several processes may do so."""
    other_way = "or put the file into a folder and name it with faces.model_dir="
    try:
        with urllib.request.urlopen(wanted.address, timeout=60) as answer:
            contents = answer.read()
    except (OSError, http.client.HTTPException) as problem:
        raise UsageError(
            f"{wanted.name} could not be downloaded from {wanted.address} ({problem}): "
            f"allow the download, {other_way}"
        ) from problem
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            partial = Path(folder) / wanted.name
            partial.write_bytes(contents)
            _check(partial, wanted)
            partial.replace(path)
    except OSError as problem:
        raise UsageError(
            f"{wanted.name} can't be kept in {path.parent} ({problem.strerror}): let "
            f"XDG_CACHE_HOME name a folder that can be written to, {other_way}"
        ) from problem
