"""One clip through time as a picture: what was heard and seen, and what each segment was taken for.

Segments overlap: each is drawn around its middle, as wide as the step to the next one.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.recognition import Recognition, SegmentEmotion
from pipelines.clip_picture import (
    AXIS,
    DPI,
    GAP,
    HEADER,
    LEFT,
    MISSING,
    RIGHT,
    ROW,
    WAVEFORM,
    WIDTH,
    Page,
    draw_waveform,
    durations,
    end_of,
    thumbnail,
)
from pipelines.errors import UsageError
from pipelines.process import ClipResult
from pipelines.records import REASONS
from pipelines.shard_tables import ClipFrames

LINE = 0.3
"""Inches: height of an emotion's row."""
ROOM_FOR_NUMBERS = 0.34
"""Inches: narrower cells have their shade alone."""
DARK = 0.55
"""Numbers are white in cells of more than this."""


def save_timeline(recognition: Recognition, result: ClipResult, target: Path) -> None:
    """Write the picture of a recognised clip.

    Raises:
        UsageError: the file can't be written.
    """
    picture = BytesIO()
    draw_timeline(recognition, result).savefig(picture, format="png")
    try:
        target.write_bytes(picture.getvalue())
    except OSError as error:
        raise UsageError(
            f"--timeline ({target}) can't be written: {error.strerror or error}"
        ) from error


def draw_timeline(recognition: Recognition, result: ClipResult) -> Figure:
    """Draw a clip that has an emotion: waveform, faces, probabilities and attention of segments."""
    segments = recognition.segments
    labels = list(segments[0].probabilities)
    chosen_among = list(segments[0].attention)
    height = HEADER + WAVEFORM + ROW + len(labels) * LINE + AXIS + 2 * GAP
    height += GAP + 0.2 + len(chosen_among) * LINE if chosen_among else 0.0
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    page = Page(figure, height)
    _write_header(figure, recognition, result, height)
    page.skip(HEADER)
    axes = [page.axes(WAVEFORM)]
    draw_waveform(axes[0], result)
    page.skip(GAP)
    end_s = end_of(result)
    if result.frames is not None:
        _draw_faces(page, result.frames, end_s)
    page.skip(GAP)
    axes.append(page.axes(len(labels) * LINE))
    shown = [[segment.probabilities[label] for label in labels] for segment in segments]
    _draw_cells(axes[-1], segments, labels, np.array(shown), end_s, chosen=True)
    axes[-1].set_ylabel("probability\nof each segment")
    if chosen_among:
        page.skip(GAP)
        axes.append(page.axes(len(chosen_among) * LINE))
        _draw_attention(axes[-1], segments, chosen_among, end_s)
    for each in axes:
        each.set_xlim(0, end_s)
        each.tick_params(labelbottom=each is axes[-1])
    axes[-1].set_xlabel("time in the clip (s)")
    return figure


def _write_header(
    figure: Figure, recognition: Recognition, result: ClipResult, height: float
) -> None:
    chance = 100 * (recognition.probability or 0.0)
    notes = "; ".join(filter(None, (REASONS[recognition.reason], recognition.detail)))
    lines = [
        f"{Path(recognition.path).name}: {recognition.emotion}, {chance:.0f} %"
        f" ({recognition.vote})",
        durations(result),
        textwrap.shorten(notes, 190) if recognition.reason or recognition.detail else "",
    ]
    for index, (text, size) in enumerate(zip(lines, (14, 10, 10), strict=True)):
        figure.text(
            0.3 / WIDTH,
            1 - (0.32 + 0.25 * index) / height,
            text,
            fontsize=size,
            color="0.1",
            weight="bold" if index == 0 else "normal",
            parse_math=False,
        )


def _draw_faces(page: Page, frames: ClipFrames, end_s: float) -> None:
    """Draw as many faces as have room beside each other, each in the middle of its time."""
    per_second = (WIDTH - LEFT - RIGHT) / end_s
    drawn_to = LEFT
    for index, time_s in enumerate(frames.times_s.tolist()):
        left = min(LEFT + time_s * per_second - ROW / 2, WIDTH - RIGHT - ROW)
        if left < drawn_to:
            continue
        drawn_to = left + ROW + 0.03
        axes = page.part(left, ROW, ROW)
        axes.imshow(thumbnail(frames.crops[index]), interpolation="none")
        axes.set_xticks([])
        axes.set_yticks([])
        for edge in axes.spines.values():
            edge.set_color("0.3" if frames.detected[index] else MISSING)
    middle = 1 - (page.top + ROW / 2) / page.height
    page.figure.text(0.3 / WIDTH, middle, "face", fontsize=10, va="center")
    page.skip(ROW)


def _draw_attention(
    axes: Axes, segments: Sequence[SegmentEmotion], names: Sequence[str], end_s: float
) -> None:
    axes.set_ylabel("attention", rotation=0, ha="right", va="center")
    first = segments[0].attention[names[0]]
    if not isinstance(first, tuple):
        weights = [[segment.attention[name] for name in names] for segment in segments]
        _draw_cells(axes, segments, names, np.array(weights, np.float64), end_s)
        return
    # One weight a time step: each segment's steps side by side in its cell.
    for segment, (left, width) in zip(segments, _columns(segments), strict=True):
        steps = np.array(segment.attention[names[0]])[None, :]
        extent = (left, left + width, -0.5, 0.5)
        axes.imshow(steps, cmap="Greys", aspect="auto", extent=extent, vmin=0, vmax=steps.max())
        axes.add_patch(Rectangle((left, -0.5), width, 1, fill=False, edgecolor="0.6", lw=0.8))
    axes.set_yticks([0], ["20 frames"])
    axes.set_ylim(-0.5, 0.5)


def _draw_cells(
    axes: Axes,
    segments: Sequence[SegmentEmotion],
    labels: Sequence[str],
    shares: npt.NDArray[np.float64],
    end_s: float,
    *,
    chosen: bool = False,
) -> None:
    """Draw shares [segments, labels] as shades and numbers; with `chosen` frame the highest."""
    inches = (WIDTH - LEFT - RIGHT) / end_s
    for row, (left, width) in zip(shares, _columns(segments), strict=True):
        for line, share in enumerate(row.tolist()):
            top = chosen and line == row.argmax()
            axes.add_patch(
                Rectangle(
                    (left, line - 0.5),
                    width,
                    1,
                    facecolor=str(1 - 0.9 * share),
                    edgecolor="black" if top else "0.8",
                    lw=2.0 if top else 0.5,
                    zorder=2 if top else 1,
                )
            )
            if width * inches >= ROOM_FOR_NUMBERS:
                axes.text(
                    left + width / 2,
                    line,
                    f"{100 * share:.0f}",
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white" if share > DARK else "0.15",
                    weight="bold" if top else "normal",
                    zorder=3,
                )
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)


def _columns(segments: Sequence[SegmentEmotion]) -> list[tuple[float, float]]:
    """Return left edge and width of each segment's cell, in seconds."""
    starts = [segment.start_s for segment in segments]
    length = segments[0].end_s - segments[0].start_s
    step = min(np.diff(starts).tolist(), default=length)
    return [(start + (length - step) / 2, step) for start in starts]
