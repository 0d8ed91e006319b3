"""Settings of face detection."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.errors import require, require_one_of

DETECTORS = ("haar", "yunet", "ssd_resnet")


@dataclass
class FacesConfig:
    """Which detector finds faces, and what counts as one."""

    detector: str = "haar"
    """`haar` (ships with OpenCV), `yunet`, or `ssd_resnet`, the paper's (section 3.3)."""
    model_dir: str = ""
    """Folder that holds the detector's files; empty: downloaded once into a cache folder."""
    detect_width: int = 320
    """Frames wider than this many pixels are shrunk for the detector (`ssd_resnet`: 300x300)."""
    min_confidence: float = 0.5
    """Score below which a detection is no face; for `haar` see `HaarDetector`."""
    min_face: float = 0.25
    """Smallest side of a face that `haar` looks for at once, as a part of the frame's height; where
    there is none, it looks for smaller ones down to a tenth, which takes longer. It never finds one
    of less than 20 pixels in the shrunk frame: raise `detect_width` for such."""
    max_missing: float = 0.5
    """Part of a clip's frames without a face above which the clip is dropped."""
    margin: float = 0.0
    """Widening of the crop on each side, as a part of the face's side."""

    def __post_init__(self) -> None:
        """Refuse values that make no sense, naming the key."""
        require_one_of("faces.detector", self.detector, DETECTORS)
        require(
            self.detect_width >= 64,
            f"faces.detect_width ({self.detect_width}) must be at least 64 pixels",
        )
        require(
            0 < self.min_confidence < 1,
            f"faces.min_confidence ({self.min_confidence}) must be between 0 and 1",
        )
        require(0 < self.min_face < 1, f"faces.min_face ({self.min_face}) must be between 0 and 1")
        require(
            0 <= self.max_missing <= 1,
            f"faces.max_missing ({self.max_missing}) must be from 0 to 1",
        )
        require(self.margin >= 0, f"faces.margin ({self.margin}) must be at least 0")
