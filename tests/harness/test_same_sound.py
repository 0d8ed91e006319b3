"""The same recording is found again behind another codec, container, rate, gain and beginning."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from media_files import GRID, needs_grid

from harness.same_sound import same_sound
from pipelines.corpora.synthetic import SyntheticConfig, clips, role_of
from pipelines.fingerprint import SILENCE, Words, fingerprint
from pipelines.synthesis.performance import perform

RATE = 16000
CORPUS = SyntheticConfig(root="unused", subjects=2, takes=2)
Sound = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def voices() -> dict[str, Sound]:
    """Two people, each emotion twice: takes of one person differ in little."""
    return {
        clip.clip_id: perform(role_of(CORPUS, clip)).voice().astype(np.float32)
        for clip in clips(CORPUS)
    }


def encoded(sound: Sound, path: Path, codec: str, bit_rate: int, rate: int) -> Path:
    """Write a sound with a codec."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono", bit_rate=bit_rate)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), "fltp", "mono")
        frame.rate = RATE
        resampler = av.AudioResampler(stream.format, "mono", rate, stream.frame_size or 1024)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


def heard(path: Path) -> Words:
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        resampler = av.AudioResampler("fltp", "mono", rate)
        frames = [
            piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)
        ]
    sound = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return fingerprint(sound, rate)


@pytest.mark.parametrize(
    ("name", "codec", "bit_rate", "rate"),
    [
        ("a.mp4", "aac", 64000, 44100),
        ("a.mp3", "libmp3lame", 48000, 22050),
        ("a.mkv", "libopus", 32000, 48000),
        ("a.avi", "pcm_s16le", 0, 8000),
    ],
)
def test_a_take_in_another_encoding_is_the_same_sound(
    name: str, codec: str, bit_rate: int, rate: int, voices: dict[str, Sound], tmp_path: Path
) -> None:
    prints = {clip_id: fingerprint(voice, RATE) for clip_id, voice in voices.items()}
    taken = sorted(voices)[3]
    copy = heard(encoded(0.3 * voices[taken], tmp_path / name, codec, bit_rate, rate))
    (pair,) = same_sound({**prints, "~copy": copy})
    assert (pair.clip_id, pair.other) == (taken, "~copy")


def test_other_takes_of_the_same_person_are_other_sounds(voices: dict[str, Sound]) -> None:
    assert len(voices) == 24
    assert same_sound({clip_id: fingerprint(v, RATE) for clip_id, v in voices.items()}) == []


def test_a_piece_of_a_recording_is_found_at_its_place(voices: dict[str, Sound]) -> None:
    clip_id, voice = sorted(voices.items())[0]
    begin = round(0.5 * RATE)
    prints = {clip_id: fingerprint(voice, RATE), "~piece": fingerprint(voice[begin:], RATE)}
    (pair,) = same_sound(prints)
    assert pair.shift_s == pytest.approx(-0.5, abs=0.02)
    assert pair.bits_differ < 0.1


def test_silence_and_noise_are_nobodys_recording() -> None:
    random = np.random.default_rng(0)
    noises = {f"noise-{i}": random.normal(0, 0.1, 3 * RATE).astype(np.float32) for i in range(4)}
    silences = {f"silence-{i}": np.zeros(3 * RATE, np.float32) for i in range(2)}
    prints = {name: fingerprint(sound, RATE) for name, sound in {**noises, **silences}.items()}
    assert (prints["silence-0"] == SILENCE).all()
    assert same_sound(prints) == []
    assert len(fingerprint(np.zeros(100, np.float32), RATE)) == 0


@needs_grid
def test_real_recordings_of_a_corpus_are_all_different() -> None:
    prints = {path.name: heard(path) for path in sorted(GRID.glob("*.mpg"))}
    assert len(prints) >= 10
    assert same_sound(prints) == []
