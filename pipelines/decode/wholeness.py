"""Whether a file holds what its container declares, and whether its tracks belong together."""

from __future__ import annotations

from pipelines.decode.declared import Declared
from pipelines.decode.facts import DecodeError
from pipelines.decode.packets import TrackPackets

_MISSING_S = 0.1
"""A stream that lacks more than this of its declared length is cut."""
_MISSING_OF_ALL_S = 0.2
"""The same where one length is declared for all streams: it is rounded more freely."""
_APART_S = 0.25
"""Sound and picture that start or end further apart than this, and lengths that are further from
what is declared, are told of."""


def compare_with_declared(
    declared: Declared,
    picture: TrackPackets,
    sound: TrackPackets,
    last_end_s: float,
    keep_truncated: bool,
) -> list[str]:
    """Compare the streams' ends with what the container declares.

    Args:
        declared: its lengths.
        picture: the packets of the picture.
        sound: the packets of the sound.
        last_end_s: when the last packet of any track ends.
        keep_truncated: note a shorter stream, rather than refuse it.

    Returns:
        What a user should know: what is lost, or how much more there is than declared.

    Raises:
        DecodeError: truncated.
    """
    lost: list[str] = []
    more: list[str] = []
    for kind, track in (("picture", picture), ("sound", sound)):
        end_s = declared.ends_s.get(track.stream.index)
        if end_s is None:
            continue
        if not track.count:
            lost.append(f"nothing is left of {end_s:.2f} s of {kind}")
        elif end_s - track.end_s > _MISSING_S:
            lost.append(
                f"the {kind} ends {end_s - track.end_s:.2f} s before its declared {end_s:.2f} s"
            )
        elif track.end_s - end_s > _APART_S:
            more.append(f"the {kind} is {track.end_s:.2f} s long, {end_s:.2f} s are declared")
    whole_s = declared.whole_s
    of_another = declared.of_another({picture.stream.index, sound.stream.index})
    if whole_s is not None and not (lost or more or of_another):
        if whole_s - last_end_s > _MISSING_OF_ALL_S:
            lost.append(f"all ends at {max(0, last_end_s):.2f} s, {whole_s:.2f} s are declared")
        elif last_end_s - min(picture.start_s, sound.start_s) - whole_s > _APART_S:
            more.append(f"{last_end_s:.2f} s long, {whole_s:.2f} s are declared")
    if lost and not (keep_truncated and picture.count and sound.count):
        raise DecodeError("truncated", "; ".join(lost))
    return lost + more


def compare_tracks(picture_s: tuple[float, float], sound_s: tuple[float, float]) -> list[str]:
    """Say how far sound and picture start or end apart, from start and end of each in seconds."""
    notes = []
    for verb, picture, sound in zip(("starts", "ends"), picture_s, sound_s, strict=True):
        if abs(picture - sound) > _APART_S:
            side = "before" if sound < picture else "after"
            notes.append(f"sound {verb} {abs(picture - sound):.2f} s {side} the picture")
    return notes
