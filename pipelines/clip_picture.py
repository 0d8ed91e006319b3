"""One clip as a picture: what was heard, where the voice is, and what the networks would be shown.

Waveform, audio images and frames share one time axis; below it stands one row for each segment
with the three channels of its audio image and its 20 face crops.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.mfcc import rescale
from pipelines.process import ClipResult, Sound
from pipelines.records import FRAMES_PER_SEGMENT, REASONS, Segment
from pipelines.shard_tables import ClipFrames

MOST_ROWS = 12
"""Segments whose crops are drawn."""
DPI = 100
WIDTH, LEFT, RIGHT = 15.0, 1.65, 0.2
"""Inches: of the picture, and of its margins."""
HEADER, WAVEFORM, LANE, FACES, ROW, GAP = 1.05, 1.4, 0.8, 0.22, 0.56, 0.12
AXIS = 0.55
LANES = 3
"""Neighbouring segments overlap: each third one has room beside the last."""
CHANNELS = ("static", "delta", "delta-delta")
CROP_PX = 56
VOICE, MISSING = "#2a9d4e", "#d1352b"
Pixels = npt.NDArray[np.uint8]


def draw_clip(
    result: ClipResult, *, rescaling: str, segment_s: float, unused: Pixels | None = None
) -> Figure:
    """Draw what is known of a clip.

    Args:
        result: the clip, worked through.
        rescaling: `row` or `channel`, of the audio images.
        segment_s: length of a segment.
        unused: frames [n, height, width, 3] RGB of a clip without segments.

    Returns:
        The figure, without any of matplotlib's global state.
    """
    segments = result.segments[:MOST_ROWS]
    rows = len(segments) or (1 if unused is not None else 0)
    timeline = WAVEFORM + GAP + FACES + (LANES * LANE + GAP if segments else 0)
    height = HEADER + timeline + AXIS + (rows * (ROW + 0.05) + 0.5 if rows else 0)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    page = Page(figure, height)
    _write_header(figure, result, height)
    page.skip(HEADER)
    end_s = end_of(result)
    waveform = page.axes(WAVEFORM)
    draw_waveform(waveform, result)
    page.skip(GAP)
    axes = [waveform]
    if segments:
        lanes = page.axes(LANES * LANE)
        _draw_lanes(lanes, result.segments, rescaling, segment_s)
        page.skip(GAP)
        axes.append(lanes)
    faces = page.axes(FACES)
    _draw_faces(faces, result.frames)
    axes.append(faces)
    for of_time in axes:
        of_time.set_xlim(0, end_s)
        of_time.tick_params(labelbottom=of_time is faces)
    faces.set_xlabel("time in the clip (s)")
    page.skip(AXIS)
    if segments and result.frames is not None:
        _draw_rows(page, segments, result.frames, rescaling, segment_s)
        left = len(result.segments) - len(segments)
        if left:
            last = result.segments[-1].start_s + segment_s
            page.say(f"and {left} more segments, up to {last:.2f} s: not drawn here")
    elif unused is not None:
        page.say("frames of the region of interest, none with a face that could be used")
        strip = page.axes(ROW, aspect_free=True)
        _show(strip, np.concatenate([thumbnail(frame) for frame in unused], axis=1))
    return figure


class Page:
    """Places axes below each other, in inches from the top."""

    def __init__(self, figure: Figure, height: float) -> None:
        self.figure, self.height, self.top = figure, height, 0.0

    def skip(self, inches: float) -> None:
        """Go down."""
        self.top += inches

    def axes(self, height: float, *, aspect_free: bool = False) -> Axes:
        """Axes over the whole width, and go on below them."""
        made = self.part(LEFT, WIDTH - LEFT - RIGHT, height)
        if aspect_free:
            made.set_axis_off()
        self.skip(height)
        return made

    def part(self, left: float, width: float, height: float) -> Axes:
        """Axes at the present height."""
        bottom = 1 - (self.top + height) / self.height
        box = (left / WIDTH, bottom, width / WIDTH, height / self.height)
        return self.figure.add_axes(box)

    def say(self, text: str, *, left: float = LEFT) -> None:
        """Write a line, and go on below it."""
        self.skip(0.2)
        self.figure.text(left / WIDTH, 1 - self.top / self.height, text, fontsize=9, color="0.3")
        self.skip(0.08)


def _write_header(figure: Figure, result: ClipResult, height: float) -> None:
    outcome = result.outcome
    who = ", ".join(part for part in (outcome.subject, outcome.emotion) if part)
    lines = [f"{outcome.clip_id}  ({who})" if who else outcome.clip_id]
    said = outcome.status
    if outcome.reason:
        said += f": {outcome.reason} ({REASONS[outcome.reason]})"
    lines.append(textwrap.shorten("; ".join(filter(None, (said, outcome.detail))), 190))
    lines.append(durations(result))
    for index, (text, size) in enumerate(zip(lines, (14, 10, 10), strict=True)):
        colour = MISSING if index == 1 and outcome.status != "ok" else "0.1"
        weight = "bold" if index == 0 else "normal"
        figure.text(
            0.3 / WIDTH, 1 - (0.32 + 0.25 * index) / height, text,
            fontsize=size, color=colour, weight=weight, parse_math=False,
        )  # fmt: skip


def durations(result: ClipResult) -> str:
    """Say how long everything in a clip is."""
    outcome, info, told = result.outcome, result.info, []
    if info is not None:
        told.append(f"{info.width}x{info.height}, {info.frame_rate:.4g} frames/s")
        told.append(f"{len(info.frame_times_s)} frames, {end_of(result):.2f} s")
    if result.sound is not None:
        sound = result.sound
        told.append(f"sound of {len(sound.samples) / sound.rate:.2f} s at {sound.rate} Hz")
        start, end = outcome.voice_start_s, outcome.voice_end_s
        what = "voice and its margins" if outcome.voice_found else "no voice found, used whole"
        told.append(f"{what}: {start:.2f}-{end:.2f} s ({end - start:.2f} s)")
    if outcome.segments:
        told.append(f"{outcome.segments} segments")
    if outcome.frames:
        missing = round(100 * outcome.missing_face_ratio)
        told.append(f"{outcome.frames} frames looked at, {missing} % without a face")
    return "  ·  ".join(told)


def end_of(result: ClipResult) -> float:
    """Return when the last of a clip's streams ends, in seconds."""
    ends = [0.1]
    if result.info is not None and result.info.frame_times_s.size:
        ends.append(float(result.info.frame_times_s[-1]) + 1 / max(result.info.frame_rate, 1.0))
    if result.sound is not None:
        ends.append(result.sound.start_s + len(result.sound.samples) / result.sound.rate)
    return max(ends)


def draw_waveform(axes: Axes, result: ClipResult) -> None:
    """Draw what was heard, and where the voice is."""
    outcome = result.outcome
    axes.set_ylabel("waveform\n(full scale 1)")
    if result.sound is None or not len(result.sound.samples):
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no sound", ha="center", va="center", transform=axes.transAxes)
        return
    times, low, high = _envelope(result.sound)
    axes.fill_between(times, low, high, color="0.25", linewidth=0.4, edgecolor="0.25")
    reach = 1.1 * max(float(np.abs([low, high]).max()), 1e-4)
    axes.set_ylim(-reach, reach)
    if outcome.voice_found:
        axes.axvspan(outcome.voice_start_s, outcome.voice_end_s, color=VOICE, alpha=0.18, lw=0)
        for edge in (outcome.voice_start_s, outcome.voice_end_s):
            axes.axvline(edge, color=VOICE, lw=1)


def _envelope(sound: Sound, columns: int = 3000) -> tuple[npt.NDArray[np.float64], ...]:
    """Times, least and greatest sample of each column."""
    size = max(1, len(sound.samples) // columns)
    starts = np.arange(0, len(sound.samples), size)
    low = np.minimum.reduceat(sound.samples, starts).astype(np.float64)
    high = np.maximum.reduceat(sound.samples, starts).astype(np.float64)
    return sound.start_s + starts / sound.rate, low, high


def _draw_lanes(axes: Axes, segments: Sequence[Segment], rescaling: str, segment_s: float) -> None:
    """Draw the static channel of each segment where it is in time."""
    axes.set_ylabel(f"audio images\n(static, 0-255\nby {rescaling})")
    axes.set_yticks([])
    every = max(1, len(segments) // 40)
    for index, segment in enumerate(segments):
        bottom = LANES - 1 - index % LANES
        extent = (segment.start_s, segment.start_s + segment_s, bottom + 0.03, bottom + 0.97)
        image = rescale(segment.mfcc, rescaling)[..., 0]
        axes.imshow(
            image, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=0, vmax=255
        )
        if index % every == 0:
            axes.text(
                segment.start_s + 0.01 * segment_s, bottom + 0.88, f" {index} ",
                fontsize=8, va="top", color="white", backgroundcolor="#000000a0", clip_on=True,
            )  # fmt: skip
    axes.set_ylim(0, LANES)


def _draw_faces(axes: Axes, frames: ClipFrames | None) -> None:
    axes.set_yticks([])
    axes.set_ylim(0, 1)
    axes.set_ylabel("frames", rotation=0, ha="right", va="center")
    if frames is not None:
        for wanted, colour in ((True, "0.4"), (False, MISSING)):
            times = frames.times_s[frames.detected == wanted]
            axes.vlines(times, 0.15, 0.85, color=colour, lw=0.8)


def _draw_rows(
    page: Page,
    segments: Sequence[Segment],
    frames: ClipFrames,
    rescaling: str,
    segment_s: float,
) -> None:
    """Draw the channels and the crops of each segment."""
    crops_left = LEFT + len(CHANNELS) * (ROW + 0.05) + 0.15
    page.skip(0.12)
    for number, name in enumerate((*CHANNELS, "")):
        left = LEFT + number * (ROW + 0.05) if name else crops_left
        text = name or (
            f"{FRAMES_PER_SEGMENT} face crops in order of time; pale: repeated; "
            "red edge: no face found, the nearest one shown"
        )
        page.figure.text(left / WIDTH, 1 - page.top / page.height, text, fontsize=7, color="0.3")
    page.skip(0.06)
    for segment in segments:
        middle = 1 - (page.top + ROW / 2) / page.height
        start = segment.start_s
        page.figure.text(
            0.3 / WIDTH, middle, f"segment {segment.segment_index}\n"
            f"{start:.2f}-{start + segment_s:.2f} s", fontsize=9, va="center",
        )  # fmt: skip
        image = rescale(segment.mfcc, rescaling)
        for channel in range(len(CHANNELS)):
            box = page.part(LEFT + channel * (ROW + 0.05), ROW, ROW)
            box.imshow(
                image[..., channel], origin="lower", aspect="auto", cmap="gray", vmin=0, vmax=255
            )
            box.set_axis_off()
        strip = page.part(crops_left, WIDTH - RIGHT - crops_left, ROW)
        _show(strip, _crops(segment, frames))
        page.skip(ROW + 0.05)


def _crops(segment: Segment, frames: ClipFrames) -> Pixels:
    """The crops of a segment side by side [CROP_PX, 20 * CROP_PX, 3]."""
    pictures, before = [], -1
    for index in segment.frame_indices.tolist():
        picture = thumbnail(frames.crops[index])
        if index == before:
            picture = np.asarray(picture // 3 + 170, np.uint8)
        if not frames.detected[index]:
            red = tuple(int(MISSING[at : at + 2], 16) for at in (1, 3, 5))
            cv2.rectangle(picture, (1, 1), (CROP_PX - 2, CROP_PX - 2), red, 2)
        pictures.append(picture)
        before = index
    return np.concatenate(pictures, axis=1)


def thumbnail(picture: Pixels) -> Pixels:
    """A picture [height, width, 3] as high as a row."""
    width = round(picture.shape[1] * CROP_PX / picture.shape[0])
    return np.asarray(cv2.resize(picture, (width, CROP_PX), interpolation=cv2.INTER_AREA), np.uint8)


def _show(axes: Axes, picture: Pixels) -> None:
    axes.imshow(picture, interpolation="none")
    axes.set_anchor("W")
    axes.set_axis_off()
