"""Faces of one person through a clip: found, followed, cropped (section 3.3).

`weights` brings the model files, `detectors` finds faces in frames, `track` picks the person and
stands in for missing faces, `crop` cuts the square that the networks see.
"""

from pipelines.faces.config import FacesConfig
from pipelines.faces.crop import crop_face
from pipelines.faces.detectors import FaceDetector, load_detector
from pipelines.faces.track import fill_missing, follow
from pipelines.faces.weights import weights_digest, weights_present

__all__ = [
    "FaceDetector",
    "FacesConfig",
    "crop_face",
    "fill_missing",
    "follow",
    "load_detector",
    "weights_digest",
    "weights_present",
]
