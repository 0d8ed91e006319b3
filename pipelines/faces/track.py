"""One person through a clip, and stand-ins for frames without a face (rule 1 of section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float32]

_REACH = 0.5
"""How far, in sides of the face, its centre may move from one frame to the next."""
_REACH_PER_MISSED_FRAME = 0.1
"""How much further for every frame in between without it."""
_LONGEST_REACH = 1.5
_RECENT = 5
"""Sightings that tell how fast somebody moves, and for how many frames on that is believed."""
_COST_OF_ABSENCE = 0.1
"""By how many sides a track without its face counts as further away, for every frame of it: who
comes in front of somebody is not taken for them."""
_LARGEST_RESIZE = 1.8
"""By which factor a face may grow or shrink between two sightings."""


@dataclass
class _Track:
    """Sightings of what is taken for one person."""

    frames: list[int] = field(default_factory=list)
    boxes: list[Boxes] = field(default_factory=list)

    @property
    def weight(self) -> float:
        """Sum of score times side: large, certain and present throughout wins.

        By area, somebody larger who passes through half the clip would win.
        """
        return sum(float(box[4]) * _side(box) for box in self.boxes)

    def expected(self, frame: int) -> npt.NDArray[np.float64]:
        """Where the centre [2] is to be looked for: it moves on as it did."""
        frames = self.frames[-_RECENT:]
        first, last = _centre(self.boxes[-len(frames)]), _centre(self.boxes[-1])
        pace = (last - first) / max(1, frames[-1] - frames[0])
        return last + pace * min(frame - frames[-1], _RECENT)

    def add(self, frame: int, box: Boxes) -> None:
        self.frames.append(frame)
        self.boxes.append(box)


def follow(detections: Sequence[Boxes]) -> tuple[Boxes, npt.NDArray[np.bool_]]:
    """Follow one person through a clip.

    Faces of neighbouring frames are linked where they are near each other and of about the same
    size; of the chains, the one with the largest, most certain and most lasting face is the
    person. Somebody else who comes into the picture, even for a large part of it, starts a chain
    of their own and never takes this one over.

    Args:
        detections: for each of n frames [k, 5] of x0, y0, x1, y1, score; k may be 0.

    Returns:
        Boxes float32 [n, 4], zeros where the person was not found, and found [n].
    """
    tracks: list[_Track] = []
    for number, faces in enumerate(detections):
        _link(tracks, number, faces)
    boxes = np.zeros((len(detections), 4), dtype=np.float32)
    found = np.zeros(len(detections), dtype=np.bool_)
    if tracks:
        person = max(tracks, key=lambda track: track.weight)
        boxes[person.frames] = np.stack(person.boxes)[:, :4]
        found[person.frames] = True
    return boxes, found


def fill_missing(
    times_s: npt.NDArray[np.float64], detected: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int32]:
    """Which frame stands in for each frame: itself, or the nearest in time with a face (rule 1).

    Args:
        times_s: time stamps [n], ascending.
        detected: whether the face was found [n].

    Returns:
        int32 [n], indices of frames with a face; of two as near, the earlier one.

    Raises:
        ValueError: no frame has a face.
    """
    with_face = np.flatnonzero(detected)
    if with_face.size == 0:
        raise ValueError("no frame has a face that could stand in for the others")
    behind = np.clip(np.searchsorted(with_face, np.arange(len(detected))), 0, with_face.size - 1)
    later, earlier = with_face[behind], with_face[np.maximum(behind - 1, 0)]
    # A nanosecond decides a tie, which float arithmetic would decide at random.
    nearer_before = np.abs(times_s - times_s[earlier]) <= np.abs(times_s[later] - times_s) + 1e-9
    return np.where(~detected & nearer_before, earlier, later).astype(np.int32)


def _link(tracks: list[_Track], frame: int, faces: Boxes) -> None:
    """Give each face of a frame to the nearest track, one each; the rest start tracks."""
    pairs = sorted(
        (cost, track_number, face_number)
        for track_number, track in enumerate(tracks)
        for face_number, face in enumerate(faces)
        if (cost := _cost(track, frame, face)) is not None
    )
    taken_tracks: set[int] = set()
    taken_faces: set[int] = set()
    for _, track_number, face_number in pairs:
        if track_number in taken_tracks or face_number in taken_faces:
            continue
        tracks[track_number].add(frame, faces[face_number])
        taken_tracks.add(track_number)
        taken_faces.add(face_number)
    for face_number, face in enumerate(faces):
        if face_number not in taken_faces:
            tracks.append(_Track([frame], [face]))


def _cost(track: _Track, frame: int, face: Boxes) -> float | None:
    """Distance in sides of the face from where the track leads, and more for a track that has
    been without its face; None if out of reach.
    """
    last = track.boxes[-1]
    side, last_side = _side(face), _side(last)
    if max(side, last_side) > _LARGEST_RESIZE * min(side, last_side):
        return None
    away = np.hypot(*(_centre(face) - track.expected(frame)))
    missed = frame - track.frames[-1] - 1
    reach = min(_LONGEST_REACH, _REACH + _REACH_PER_MISSED_FRAME * missed)
    distance = float(away) / max(side, last_side)
    return distance + _COST_OF_ABSENCE * missed if distance <= reach else None


def _centre(box: Boxes) -> npt.NDArray[np.float64]:
    """Middle [2] of a box in pixels."""
    return (box[:2] + box[2:4]).astype(np.float64) / 2


def _side(box: Boxes) -> float:
    """Longer side of a box in pixels."""
    return float(max(box[2] - box[0], box[3] - box[1]))
