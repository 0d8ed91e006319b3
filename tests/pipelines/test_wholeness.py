"""What a container declares against what it holds: too long, cut, longer, tracks apart."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_files import GRID, needs_grid, write_clip

from pipelines.decode import ClipReader, DecodeError
from pipelines.decode.sound import assemble

H264: dict[str, Any] = {"video": "libx264", "audio": "aac"}
PCM: dict[str, Any] = {"video": "mpeg4", "audio": "pcm_s16le"}


def refusal_of(path: Path, max_seconds: float | None = None) -> DecodeError:
    with pytest.raises(DecodeError) as refusal:
        ClipReader(path, max_seconds)
    assert str(path.parent) not in refusal.value.detail  # the same words wherever a file lies
    return refusal.value


def notes_of(path: Path, **options: Any) -> tuple[str, ...]:
    reader = ClipReader(path, **options)
    reader.close()
    return reader.info.notes


def redeclared(path: Path, mark: bytes, offset: int, form: str, factor: float) -> Path:
    """The file with the number behind every `mark` multiplied."""
    data = bytearray(path.read_bytes())
    at = data.find(mark)
    assert at > 0
    while at >= 0:
        (value,) = struct.unpack_from(form, data, at + offset)
        struct.pack_into(form, data, at + offset, type(value)(value * factor))
        at = data.find(mark, at + 1)
    changed = path.with_name(f"{factor:g} times {path.name}")
    changed.write_bytes(data)
    return changed


DURATIONS = {
    "a.avi": (PCM, (b"strh", 40, "<I")),
    "a.mp4": (H264, (b"mvhd", 20, ">I")),
    "a.mkv": (H264, (b"\x44\x89\x88", 3, ">d")),
    "a.flv": (H264, (b"\x00\x08duration\x00", 11, ">d")),
}


@pytest.mark.parametrize("name", DURATIONS)
def test_a_header_that_declares_too_much_is_a_cut_file_as_far_as_anybody_can_know(
    tmp_path: Path, name: str
) -> None:
    options, place = DURATIONS[name]
    longer = redeclared(write_clip(tmp_path / name, **options), *place, 40)
    refusal = refusal_of(longer, 60)
    assert refusal.reason == "truncated"
    # What was found, or what is missing of 40 times 2.0 or 2.08 s.
    assert any(words in refusal.detail for words in ("ends at 2.", "ends 78.", "ends 81."))
    assert notes_of(longer, max_seconds=60, keep_truncated=True)[0] in refusal.detail


@pytest.mark.parametrize("name", DURATIONS)
def test_a_header_that_declares_too_little_is_told_of(tmp_path: Path, name: str) -> None:
    options, place = DURATIONS[name]
    shorter = redeclared(write_clip(tmp_path / name, **options), *place, 0.25)
    notes = notes_of(shorter)
    assert any("0.5" in note and "declared" in note for note in notes)
    # It is too long all the same.
    assert refusal_of(shorter, 1).reason == "too_long"


def test_a_long_file_without_a_length_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    # Ten minutes of 48 kHz sound are 115 MB as it is recorded, and 230 MB as it would be decoded.
    path = write_clip(
        tmp_path / "long.mkv", video="mpeg4", audio="pcm_s16le", fps=1, width=32, height=32,
        seconds=600, audio_rate=48000, layout="stereo", container_options={"live": "1"},
    )  # fmt: skip
    program = (
        "import resource, sys, av, decord, soxr\n"
        "from pipelines.decode import ClipReader\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak()\n"
        "try: ClipReader(sys.argv[1], 60)\n"
        "except Exception as refusal: print(refusal.reason, peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    reason, megabytes = done.stdout.split()
    assert reason == "too_long"
    assert float(megabytes) < 40  # a minute of the recorded sound is 11.5 MB


@pytest.mark.parametrize("name", ["a.avi", "a.mov"])
@pytest.mark.parametrize("track", ["sound", "picture"])
def test_each_track_is_compared_with_its_own_length(tmp_path: Path, name: str, track: str) -> None:
    # Three seconds are declared for the one, and two for the other, which is whole.
    options = PCM if name == "a.avi" else H264
    path = write_clip(tmp_path / name, **options, container_options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    if name == "a.avi":
        kind = {"sound": b"auds", "picture": b"vids"}[track]
        at = data.find(kind, data.find(b"strh")) + 32
        (length,) = struct.unpack_from("<I", data, at)
        struct.pack_into("<I", data, at, length * 3 // 2)
    else:
        # The last box of sample sizes is the sound's; sound lies behind the picture in this file.
        data = data[: len(data) - (600 if track == "sound" else len(data) // 2)]
    path.write_bytes(data)
    refusal = refusal_of(path)
    assert refusal.reason == "truncated"
    assert f"the {track} ends" in refusal.detail


def test_what_is_kept_of_a_cut_file_is_told_and_can_be_used(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "a.flv", **H264)
    cut = tmp_path / "cut.flv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 8 // 10])
    assert refusal_of(cut).reason == "truncated"
    reader = ClipReader(cut, keep_truncated=True)
    assert reader.info.length_declared
    assert any("declared" in note for note in reader.info.notes)
    count = len(reader.info.frame_times_s)
    assert 20 < count < 50
    assert reader.frames(np.arange(count)).shape == (count, 120, 160, 3)
    reader.close()


def test_a_cut_fragmented_file_is_a_shorter_clip_whose_last_whole_frame_can_be_shown(
    tmp_path: Path,
) -> None:
    whole = write_clip(
        tmp_path / "a.mp4", **H264, options={"g": "10"},
        container_options={"movflags": "frag_keyframe+empty_moov"},
    ).read_bytes()  # fmt: skip
    shorter = tmp_path / "shorter.mp4"
    usable = 0
    for part in range(30, 100, 5):
        shorter.write_bytes(whole[: len(whole) * part // 100])
        try:
            reader = ClipReader(shorter)
        except DecodeError:
            continue  # cut within the description of a fragment
        assert not reader.info.length_declared
        count = len(reader.info.frame_times_s)
        assert reader.frames(np.arange(count)).shape[0] == count
        reader.close()
        usable += 1
    assert usable > 5


@needs_grid
def test_a_cut_program_stream_says_how_far_sound_and_picture_end_apart(tmp_path: Path) -> None:
    whole = sorted(GRID.glob("*.mpg"))[0]
    assert notes_of(whole) == ()
    path = write_clip(tmp_path / "a.mpg", video="mpeg1video", audio="mp2")
    cut = tmp_path / "cut.mpg"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 8 // 10])
    reader = ClipReader(cut)
    (note,) = reader.info.notes
    apart = (
        reader.info.frame_times_s[-1] + 0.04
        - reader.info.audio_start_s - reader.audio(16000)[0].size / 16000
    )  # fmt: skip
    reader.close()
    assert note == f"sound ends {apart:.2f} s before the picture"
    assert apart > 0.25


def test_sound_that_starts_late_and_so_ends_late_is_told(tmp_path: Path) -> None:
    late = write_clip(tmp_path / "late.mkv", **PCM, audio_start_s=0.5)
    assert notes_of(late) == (
        "sound starts 0.50 s after the picture",
        "sound ends 0.50 s after the picture",
    )


def test_one_frame_is_a_clip_and_the_rest_of_its_sound_is_told(tmp_path: Path) -> None:
    import av

    still = write_clip(tmp_path / "still.avi", **PCM, seconds=0.04)
    assert len(ClipReader(still).info.frame_times_s) == 1
    talking = tmp_path / "talking.mkv"
    with (
        av.open(str(write_clip(tmp_path / "a.mkv", **PCM))) as source,
        av.open(str(talking), "w") as target,
    ):
        streams = [target.add_stream_from_template(s) for s in source.streams]
        shown = 0
        for packet in source.demux():
            shown += packet.stream.type == "video"
            if packet.dts is not None and (packet.stream.type == "audio" or shown == 1):
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    assert notes_of(talking) == ("sound ends 1.96 s after the picture",)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def riff(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def write_bomb(path: Path, side: int, told: int) -> None:
    """An AVI of 25 black pictures of `side` squared, one bit a pixel, that tells of `told`."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" * (1 + side // 8)) * side)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    picture = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)
    times = struct.pack("<7I", 1, 25, 0, 25, 0, 2**32 - 1, 0) + bytes(8)
    form = struct.pack("<IiiHH4s5I", 40, told, told, 1, 24, b"MPNG", 0, 0, 0, 0, 0)
    video = riff(b"strh", b"vidsMPNG" + bytes(12) + times) + riff(b"strf", form)
    times = struct.pack("<7I", 1, 8000, 0, 8000, 0, 2**32 - 1, 2) + bytes(8)
    form = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    audio = riff(b"strh", b"auds" + bytes(16) + times) + riff(b"strf", form)
    main = riff(b"avih", struct.pack("<14I", 40000, 0, 0, 0, 25, 0, 2, 0, told, told, 0, 0, 0, 0))
    streams = riff(b"LIST", b"strl" + video) + riff(b"LIST", b"strl" + audio)
    body = (riff(b"00dc", picture) + riff(b"01wb", bytes(640))) * 25
    path.write_bytes(
        riff(
            b"RIFF",
            b"AVI " + riff(b"LIST", b"hdrl" + main + streams) + riff(b"LIST", b"movi" + body),
        )
    )


@pytest.mark.parametrize("told", [12000, 160])
def test_frames_that_take_a_gigabyte_are_refused_before_they_are_decoded(
    tmp_path: Path, told: int
) -> None:
    write_bomb(tmp_path / "small.avi", 160, 160)
    assert len(ClipReader(tmp_path / "small.avi").info.frame_times_s) == 25
    write_bomb(tmp_path / "bomb.avi", 12000, told)
    refusal = refusal_of(tmp_path / "bomb.avi")
    assert refusal.reason == "too_large"
    assert "12000 x 12000" in refusal.detail


def test_frames_beyond_the_decoders_own_limit_are_refused(tmp_path: Path) -> None:
    write_bomb(tmp_path / "bomb.avi", 20000, 20000)
    assert refusal_of(tmp_path / "bomb.avi").reason == "decode_error"


def test_a_list_of_other_files_is_no_clip(tmp_path: Path) -> None:
    write_clip(tmp_path / "other.avi", **PCM)
    for name, text in {
        "list.avi": "ffconcat version 1.0\nfile other.avi\n",
        "list.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nother.avi\n#EXT-X-ENDLIST\n",
    }.items():
        (tmp_path / name).write_text(text)
        assert refusal_of(tmp_path / name).reason == "not_media"


@pytest.mark.parametrize("rate", [1, 4_000_000_000])
def test_sound_at_an_absurd_rate_is_refused(rate: int) -> None:
    silence = np.zeros(10, np.float32)
    with pytest.raises(DecodeError, match="no recording"):
        assemble([(0.0, rate, silence)])


@pytest.mark.parametrize("tenths", range(1, 10))
@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "a.mkv"])
def test_a_file_cut_at_any_tenth_is_cut_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, name: str, tenths: int
) -> None:
    whole = tmp_path_factory.getbasetemp() / f"whole {name}"
    if not whole.exists():
        write_clip(whole, **DURATIONS[name][0])
    data = whole.read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * tenths // 10])
    assert refusal_of(tmp_path / name, 60).reason == "truncated"
