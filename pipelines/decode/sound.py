"""Decode the packets of an audio track to one line of samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipelines.decode.facts import DecodeError

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.packet import Packet

Samples = npt.NDArray[np.float32]

LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000
"""Samples per second; what is outside is a damaged header, not a recording."""
_JITTER_S = 0.003
"""Some containers round audio time stamps to milliseconds: smaller steps are no gaps."""
_TOLD_S = 0.1
"""Gaps that are longer together are told of."""
_LONGEST_GAP_S = 10.0
"""A longer gap is a broken time stamp, not silence to be filled in."""
_DAMAGED_PART = 0.1
"""Audio with more than this part of its packets undecodable is refused."""


def decode_sound(packets: Sequence[Packet[AudioStream]]) -> tuple[float, Samples, int, list[str]]:
    """Decode all packets of an audio track.

    Returns:
        As `assemble`, and what a user should know of it.

    Raises:
        DecodeError: no_audio or decode_error.
    """
    import av

    pieces: list[tuple[float | None, int, Samples]] = []
    damaged = 0
    for packet in packets:
        try:
            pieces.extend((frame.time, frame.sample_rate, mono(frame)) for frame in packet.decode())
        except av.FFmpegError:
            damaged += 1
    # One may be lost where a cut file ends, or as a codec's start.
    if damaged > 1 and damaged > _DAMAGED_PART * len(packets):
        raise DecodeError("decode_error", f"{damaged} of {len(packets)} audio packets are damaged")
    notes = [f"{damaged} of {len(packets)} audio packets are damaged"] if damaged > 1 else []
    start_s, samples, rate, filled_s = assemble(pieces)
    if filled_s > _TOLD_S:
        notes.append(f"{filled_s:.2f} s missing within the sound are silent")
    return start_s, samples, rate, notes


def assemble(
    pieces: Sequence[tuple[float | None, int, Samples]],
) -> tuple[float, Samples, int, float]:
    """Lay decoded pieces of audio on one time line.

    Args:
        pieces: time in seconds (None: follows the piece before), samples per second, samples.

    Returns:
        Time of the first sample, samples (gaps as zeros, overlaps cut), samples per second, and
        the seconds of all gaps.

    Raises:
        DecodeError: no_audio or decode_error.
    """
    pieces = [piece for piece in pieces if piece[2].size]
    if not pieces:
        raise DecodeError("no_audio", "the audio track holds no samples that can be decoded")
    start_s, rate = pieces[0][0] or 0.0, pieces[0][1]
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise DecodeError("decode_error", f"sound of {rate} samples per second is no recording")
    line: list[Samples] = []
    position = filled = 0
    for time_s, piece_rate, samples in pieces:
        if piece_rate != rate:
            raise DecodeError("decode_error", f"audio changes from {rate} to {piece_rate} Hz")
        gap = 0 if time_s is None else round((time_s - start_s) * rate) - position
        if abs(gap) > _LONGEST_GAP_S * rate:
            raise DecodeError("decode_error", f"audio time stamps jump by {gap / rate:.0f} s")
        if gap > _JITTER_S * rate:
            line.append(np.zeros(gap, dtype=np.float32))
            position += gap
            filled += gap
        elif gap < -_JITTER_S * rate:
            samples = samples[-gap:]
        line.append(samples)
        position += samples.size
    whole = np.clip(np.nan_to_num(np.concatenate(line)), -1, 1)
    return start_s, whole.astype(np.float32), rate, filled / rate


def mono(frame: AudioFrame) -> Samples:
    """The mean of a decoded frame's channels, full scale at 1."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, len(frame.layout.channels)).T
    middle = 128.0 if values.dtype == np.uint8 else 0.0
    full = {1: 128.0, 2: 2.0**15, 4: 2.0**31}[values.itemsize] if values.dtype.kind in "iu" else 1.0
    mean: Samples = ((values.astype(np.float64) - middle) / full).mean(axis=0).astype(np.float32)
    return mean
