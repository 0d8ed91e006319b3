from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from media_files import GRID, LEVEL, needs_grid, write_clip

from pipelines.decode import ClipReader, DecodeError
from pipelines.decode.frames import OrderedFrames, RandomAccessError, RandomFrames
from pipelines.decode.sound import assemble
from pipelines.records import REASONS
from pipelines.storage import content_digest

H264: dict[str, Any] = {"video": "libx264", "audio": "aac"}
WITH_B_FRAMES: dict[str, Any] = {**H264, "options": {"bf": "3"}}
CLIPS: dict[str, dict[str, Any]] = {
    "plain.mp4": H264,
    "30 frames a second.mp4": {**WITH_B_FRAMES, "fps": 30},
    "late video.mp4": {**WITH_B_FRAMES, "video_start_s": 0.4},
    "late audio.mp4": {**WITH_B_FRAMES, "audio_start_s": 0.4},
    "both late.mp4": {**WITH_B_FRAMES, "video_start_s": 0.5, "audio_start_s": 0.7},
    "full hd.mp4": {**WITH_B_FRAMES, "width": 1920, "height": 1080, "seconds": 1.4},
    "apple.mov": WITH_B_FRAMES,
    "matroska.mkv": {**WITH_B_FRAMES, "video_start_s": 0.3, "audio_start_s": 0.2},
    "web.webm": {"video": "libvpx", "audio": "libopus", "audio_rate": 48000},
    "flash.flv": WITH_B_FRAMES,
    "rml.avi": {"video": "mpeg4", "audio": "pcm_s16le", "fps": 30, "audio_rate": 22050},
    "stereo.avi": {"video": "mpeg4", "audio": "pcm_s16le", "layout": "stereo"},
    "b-frames.avi": {"video": "mpeg4", "audio": "pcm_s16le", "options": {"bf": "2"}},
    "h264.avi": {"video": "libx264", "audio": "pcm_s16le", "options": {"bf": "0"}},
    "h264 b-frames.avi": {"video": "libx264", "audio": "pcm_s16le", "options": {"bf": "3"}},
    "held first frame.avi": {"video": "mpeg4", "audio": "pcm_s16le", "video_start_s": 0.4},
    "program stream.mpg": {"video": "mpeg1video", "audio": "mp2"},
    "transport stream.ts": WITH_B_FRAMES,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


def clip(folder: Path, name: str) -> Path:
    path = folder / name
    return path if path.exists() else write_clip(path, **CLIPS[name])


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    """All frames in order of presentation as PyAV gives them."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def reason_of(path: Path, max_seconds: float | None = None) -> str:
    with pytest.raises(DecodeError) as refusal:
        ClipReader(path, max_seconds)
    assert refusal.value.reason in REASONS
    return refusal.value.reason


@pytest.mark.parametrize("name", CLIPS)
def test_a_flash_and_a_beep_at_the_same_moment_coincide(folder: Path, name: str) -> None:
    reader = ClipReader(clip(folder, name))
    times = reader.info.frame_times_s
    right_half = reader.info.width * 3 // 4
    flashes = [
        time
        for index, time in enumerate(times)
        if reader.frames([index])[0, :, right_half].mean() > 128
    ]
    samples, rate = reader.audio(16000)
    beeps = reader.info.audio_start_s + np.flatnonzero(np.abs(samples) > 0.3 * LEVEL) / rate
    reader.close()
    assert rate == 16000
    assert flashes[0] - beeps[0] == pytest.approx(0.0, abs=0.004)
    assert beeps[-1] - beeps[0] == pytest.approx(0.2, abs=0.01)
    assert min(times[0], reader.info.audio_start_s) == 0


@pytest.mark.parametrize("name", CLIPS)
def test_every_frame_is_the_one_that_was_asked_for(folder: Path, name: str) -> None:
    path = clip(folder, name)
    expected = pixels(path)
    reader = ClipReader(path)
    assert len(reader.info.frame_times_s) == len(expected)
    assert (reader.info.height, reader.info.width) == expected.shape[1:3]
    asked = np.random.default_rng(0).permutation(len(expected))[:12]
    np.testing.assert_array_equal(reader.frames(asked), expected[asked])
    np.testing.assert_array_equal(reader.frames([9, 3, 9]), expected[[9, 3, 9]])
    np.testing.assert_array_equal(reader.frames(np.arange(10, 20)), expected[10:20])
    assert reader.frames([]).shape == (0, *expected.shape[1:])
    reader.close()


@pytest.mark.parametrize("name", ["late video.mp4", "both late.mp4", "matroska.mkv"])
def test_streams_keep_their_distance(folder: Path, name: str) -> None:
    options = CLIPS[name]
    reader = ClipReader(clip(folder, name))
    apart = options.get("video_start_s", 0) - options.get("audio_start_s", 0)
    measured = reader.info.frame_times_s[0] - reader.info.audio_start_s
    reader.close()
    # Within the 1024 samples with which the AAC encoder begins.
    assert measured == pytest.approx(apart, abs=0.025)


def test_time_stamps_are_the_containers(folder: Path) -> None:
    path = clip(folder, "30 frames a second.mp4")
    info = ClipReader(path).info
    np.testing.assert_allclose(info.frame_times_s, np.arange(60) / 30, atol=1e-9)
    assert info.frame_rate == 30
    assert info.duration_s == pytest.approx(2.0, abs=0.03)
    assert info.length_declared


def test_decord_reads_indexed_files_and_not_program_streams(folder: Path) -> None:
    kinds = {
        name: type(ClipReader(clip(folder, name))._frames)
        for name in ("plain.mp4", "rml.avi", "program stream.mpg", "b-frames.avi")
    }
    assert kinds == {
        "plain.mp4": RandomFrames,
        "rml.avi": RandomFrames,
        "program stream.mpg": OrderedFrames,
        "b-frames.avi": OrderedFrames,
    }


@needs_grid
def test_decord_is_half_a_second_late_in_real_program_streams_and_says_nothing() -> None:
    # Why they are decoded in order: where this fails, decord reads them and may be used.
    import decord

    for path in sorted(GRID.glob("*.mpg"))[::5]:
        video = decord.VideoReader(str(path))
        assert len(video) == 75
        np.testing.assert_allclose(video.get_frame_timestamp([0, 1])[:, 0], [0, 0.04], atol=1e-6)
        np.testing.assert_array_equal(video[0].asnumpy(), pixels(path)[12])


def test_pcm_audio_comes_out_as_it_was_recorded(folder: Path) -> None:
    path = clip(folder, "rml.avi")
    samples, rate = ClipReader(path).audio(None)
    assert rate == 22050
    time_s = np.arange(44100) / 22050
    beep = np.where((time_s >= 1) & (time_s < 1.2), LEVEL * np.sin(2000 * np.pi * time_s), 0)
    written = np.round(beep.astype(np.float32) * 32767).astype(np.int16)
    np.testing.assert_array_equal(samples, (written / 32768).astype(np.float32))


def test_stereo_becomes_the_mean_of_its_channels(folder: Path) -> None:
    path = folder / "two channels.avi"
    write_clip(path, video="mpeg4", audio="pcm_s16le", layout="stereo", seconds=1.5)
    data = bytearray(path.read_bytes())
    samples, _ = ClipReader(path).audio(None)
    assert np.abs(samples).max() == pytest.approx(LEVEL, abs=1e-3)
    # Silence the second channel in every audio chunk: the mean is half as loud.
    position = data.find(b"01wb", data.find(b"movi"))
    while 0 <= position < data.find(b"idx1"):
        (size,) = struct.unpack_from("<I", data, position + 4)
        for offset in range(position + 8 + 2, position + 8 + size, 4):
            data[offset : offset + 2] = b"\0\0"
        position = data.find(b"01wb", position + 8 + size)
    path.write_bytes(data)
    halved, _ = ClipReader(path).audio(None)
    np.testing.assert_allclose(halved, samples / 2, atol=1e-6)


def test_resampling_keeps_pitch_level_and_length(folder: Path) -> None:
    samples, rate = ClipReader(clip(folder, "rml.avi")).audio(16000)
    assert samples.dtype == np.float32
    assert samples.shape == (32000,)
    beep = samples[round(1.02 * rate) : round(1.18 * rate)]
    time_s = np.arange(round(1.02 * rate), round(1.18 * rate)) / rate
    np.testing.assert_allclose(beep, LEVEL * np.sin(2000 * np.pi * time_s), atol=2e-3)


def test_a_phone_that_was_held_upright_gives_upright_frames(folder: Path) -> None:
    path = folder / "portrait.mp4"
    data = bytearray(clip(folder, "plain.mp4").read_bytes())
    matrix = data.find(b"tkhd") + 44
    identity = (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    assert struct.unpack_from(">9i", data, matrix) == identity
    struct.pack_into(">9i", data, matrix, 0, 65536, 0, -65536, 0, 0, 120 << 16, 0, 1 << 30)
    path.write_bytes(data)
    lying = pixels(clip(folder, "plain.mp4"))[5]
    reader = ClipReader(path)
    assert (reader.info.width, reader.info.height) == (120, 160)
    np.testing.assert_array_equal(reader.frames([5])[0], np.rot90(lying, -1))
    ordered = OrderedFrames(path, reader._scan)
    np.testing.assert_array_equal(ordered.fetch([5])[0], np.rot90(lying, -1))


def test_decord_giving_up_halfway_is_made_good(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*_: object) -> None:
        raise RandomAccessError

    path = clip(folder, "plain.mp4")
    reader = ClipReader(path)
    monkeypatch.setattr(RandomFrames, "fetch", give_up)
    np.testing.assert_array_equal(reader.frames([7, 8]), pixels(path)[7:9])


def test_a_gap_in_the_audio_is_silence_and_an_overlap_is_cut() -> None:
    one, half, quarter = (np.full(1000, level, dtype=np.float32) for level in (1, 0.5, 0.25))
    start, line, rate, filled = assemble(
        [(0.5, 1000, one), (2.5, 1000, half), (3.25, 1000, quarter)]
    )
    assert (start, rate) == (0.5, 1000)
    expected = np.concatenate([one, 0 * one, half, quarter[:750]])
    assert filled == 1
    np.testing.assert_array_equal(line, expected)


def test_rounded_time_stamps_are_no_gaps() -> None:
    one = np.ones(1024, dtype=np.float32)
    _, line, *_ = assemble([(k * 1.024 + (k % 2) * 0.001, 1000, one) for k in range(5)])
    assert line.shape == (5120,)
    assert (line == 1).all()


def test_audio_with_absurd_time_stamps_is_refused() -> None:
    one = np.ones(1000, dtype=np.float32)
    with pytest.raises(DecodeError, match="jump"):
        assemble([(0.0, 1000, one), (1e6, 1000, one)])


def test_values_that_are_no_numbers_become_silence_and_full_scale() -> None:
    odd = np.array([np.nan, 3.0, -3.0, 0.5], dtype=np.float32)
    _, line, *_ = assemble([(0.0, 8000, odd)])
    assert line.tolist() == [0, 1, -1, 0.5]


def test_what_is_no_clip_is_refused_with_the_reason(folder: Path) -> None:
    assert reason_of(folder / "nowhere.avi") == "missing_file"
    assert reason_of(folder) == "missing_file"
    os.mkfifo(folder / "pipe.avi")
    assert reason_of(folder / "pipe.avi") == "missing_file"
    assert content_digest(folder / "pipe.avi") == "unreadable"
    (folder / "empty.avi").write_bytes(b"")
    assert reason_of(folder / "empty.avi") == "empty_file"
    (folder / "text.avi").write_text("These are the minutes of the meeting.\n" * 200)
    assert reason_of(folder / "text.avi") == "not_media"
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(20000))
    assert reason_of(folder / "noise.mp4") == "not_media"


def test_a_clip_needs_both_tracks(folder: Path) -> None:
    silent = write_clip(folder / "silent.mp4", audio=None)
    assert reason_of(silent) == "no_audio"
    blind = write_clip(folder / "blind.mp4", video=None)
    assert reason_of(blind) == "no_video"


@pytest.mark.parametrize("name", ["rml.avi", "matroska.mkv", "flash.flv", "plain.mp4"])
def test_half_a_file_is_noticed(folder: Path, name: str) -> None:
    data = clip(folder, name).read_bytes()
    half = folder / f"half {name}"
    half.write_bytes(data[: len(data) // 2])
    assert reason_of(half) == "truncated"


def test_half_of_an_mp4_with_its_index_in_front_is_noticed(folder: Path) -> None:
    whole = write_clip(folder / "streamed.mp4", container_options={"movflags": "faststart"}, **H264)
    assert len(ClipReader(whole).info.frame_times_s) == 50
    half = folder / "half streamed.mp4"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert reason_of(half) == "truncated"


@needs_grid
def test_half_a_program_stream_is_a_shorter_clip_whose_length_was_not_declared(
    folder: Path,
) -> None:
    whole = sorted(GRID.glob("*.mpg"))[0]
    half = folder / "half.mpg"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    reader = ClipReader(half)
    frames = len(reader.info.frame_times_s)
    assert not reader.info.length_declared
    assert reader.info.duration_s is None
    assert 20 < frames < 60
    np.testing.assert_array_equal(reader.frames(np.arange(frames - 1)), pixels(whole)[: frames - 1])


@pytest.mark.parametrize("name", ["plain.mp4", "program stream.mpg"])
def test_a_clip_beyond_the_longest_length_is_refused(folder: Path, name: str) -> None:
    path = clip(folder, name)
    assert reason_of(path, max_seconds=1.5) == "too_long"
    assert ClipReader(path, max_seconds=2.5).info.frame_rate == 25


def test_a_frame_that_does_not_exist_is_an_error(folder: Path) -> None:
    reader = ClipReader(clip(folder, "plain.mp4"))
    for index in (-1, 50):
        with pytest.raises(IndexError, match="0 to 49"):
            reader.frames([index])


def test_an_error_survives_the_way_to_another_process() -> None:
    copy = pickle.loads(pickle.dumps(DecodeError("truncated", "1 s is missing")))
    assert (copy.reason, copy.detail) == ("truncated", "1 s is missing")
    assert str(copy) == "truncated: 1 s is missing"


@needs_grid
def test_real_program_streams_give_every_frame_and_their_sound() -> None:
    for path in sorted(GRID.glob("*.mpg")):
        reader = ClipReader(path)
        info = reader.info
        assert (info.width, info.height, info.audio_rate) == (360, 288, 44100)
        np.testing.assert_allclose(info.frame_times_s, np.arange(75) / 25, atol=1e-6)
        assert not info.length_declared
        np.testing.assert_array_equal(reader.frames([40, 41]), pixels(path)[40:42])
        samples, _ = reader.audio(16000)
        assert samples.size / 16000 == pytest.approx(2.98, abs=0.02)
        # Resampling may overshoot full scale; what it gives is not cut off.
        assert 0.01 < np.abs(samples).max() < 1.1
        reader.close()
