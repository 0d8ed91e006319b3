"""What rivals learn from, each row with its label and the clip that it is of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
UNKNOWN = -1
"""Stands for the label of a test clip, which no trial is given."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """What a classifier is given: one row a segment, or one a clip."""

    values: Matrix
    """[n, d]."""
    labels: Labels
    """[n] indices into the classes."""
    clip_ids: tuple[str, ...]
    """Of each row."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def clips(self) -> list[str]:
        """Ids of the clips that the rows are of, each once."""
        return sorted(set(self.clip_ids))


@dataclass(frozen=True, kw_only=True, eq=False)
class Segments:
    """What stage 1 makes of the segments of some clips."""

    audio: Matrix
    """[n, audio_size]."""
    visual: Matrix
    """[n, visual_size]."""
    labels: Labels
    """[n] indices into the classes; those of test clips are `UNKNOWN`."""
    clip_ids: tuple[str, ...]
    """Of each segment; those of a clip stand together."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def both(self) -> Matrix:
        """The two vectors of each segment as one, [n, audio_size + visual_size]."""
        return np.concatenate([self.audio, self.visual], axis=1)

    def take(self, rows: npt.NDArray[np.intp]) -> Segments:
        """Return some of the segments."""
        return Segments(
            audio=self.audio[rows],
            visual=self.visual[rows],
            labels=self.labels[rows],
            clip_ids=tuple(self.clip_ids[row] for row in rows),
        )

    def rows(self, values: Matrix) -> Rows:
        """Return what was made of each segment, [n, d], with its label and clip."""
        return Rows(values=values, labels=self.labels, clip_ids=self.clip_ids)


def mean_by_clip(segments: Segments) -> Rows:
    """Return the mean of both vectors over the segments of each clip, one row a clip."""
    clip_ids, first, counts = np.unique(segments.clip_ids, return_index=True, return_counts=True)
    order = np.argsort(first)
    starts = first[order]
    sums = np.add.reduceat(segments.both, starts, axis=0)
    return Rows(
        values=sums / counts[order][:, None],
        labels=segments.labels[starts],
        clip_ids=tuple(str(clip_id) for clip_id in clip_ids[order]),
    )
