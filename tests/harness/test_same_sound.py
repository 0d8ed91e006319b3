"""The same recording is found again behind another codec, container, rate, gain and beginning."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from media_files import GRID, needs_grid
from scipy.signal import resample_poly

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


@pytest.mark.parametrize("seconds", [0.7, 0.9, 1.5])
def test_a_piece_in_another_encoding_is_the_same_sound(
    seconds: float, voices: dict[str, Sound], tmp_path: Path
) -> None:
    taken = sorted(voices)[5]
    begin = len(voices[taken]) // 3
    piece = voices[taken][begin : begin + round(seconds * RATE)]
    copy = heard(encoded(piece, tmp_path / "a.mp4", "aac", 64000, 44100))
    prints = {clip_id: fingerprint(voice, RATE) for clip_id, voice in voices.items()}
    (pair,) = same_sound({**prints, "~copy": copy})
    assert (pair.clip_id, pair.other) == (taken, "~copy")
    assert pair.shift_s == pytest.approx(-begin / RATE, abs=0.06)


def test_a_short_clip_copied_whole_is_found(voices: dict[str, Sound], tmp_path: Path) -> None:
    middle = {
        clip_id: voice[len(voice) // 2 : len(voice) // 2 + round(0.7 * RATE)]
        for clip_id, voice in voices.items()
    }
    prints = {clip_id: fingerprint(voice, RATE) for clip_id, voice in middle.items()}
    taken = sorted(voices)[8]
    copy = heard(encoded(middle[taken], tmp_path / "a.mp3", "libmp3lame", 64000, 44100))
    (pair,) = same_sound({**prints, "~copy": copy})
    assert (pair.clip_id, pair.other) == (taken, "~copy")


@pytest.mark.parametrize(
    "changed",
    [
        lambda sound: resample_poly(sound, 100, 101),
        lambda sound: sound + np.random.default_rng(0).normal(0, 0.1 * sound.std(), len(sound)),
        lambda sound: -sound,
        lambda sound: sound + 0.1,
        lambda sound: np.clip(sound, -0.3 * np.abs(sound).max(), 0.3 * np.abs(sound).max()),
    ],
    ids=["1 % faster", "noise at 20 dB", "polarity", "offset", "clipped"],
)
def test_a_copy_that_was_changed_a_little_is_the_same_sound(
    changed: Callable[[Sound], Sound], voices: dict[str, Sound]
) -> None:
    prints = {clip_id: fingerprint(voice, RATE) for clip_id, voice in voices.items()}
    taken = sorted(voices)[11]
    copy = fingerprint(changed(voices[taken]).astype(np.float32), RATE)
    (pair,) = same_sound({**prints, "~copy": copy})
    assert (pair.clip_id, pair.other) == (taken, "~copy")


def test_of_many_copies_each_is_paired_with_the_next_one(voices: dict[str, Sound]) -> None:
    prints = {clip_id: fingerprint(voice, RATE) for clip_id, voice in voices.items()}
    taken = voices[sorted(voices)[2]]
    quieter = [taken * np.float32(0.99**number) for number in range(60)]
    copies = {f"~{number:02d}": fingerprint(sound, RATE) for number, sound in enumerate(quieter)}
    pairs = {(pair.clip_id, pair.other) for pair in same_sound({**prints, **copies})}
    names = [sorted(voices)[2], *copies]
    assert pairs >= set(pairwise(names))
    assert {name for pair in pairs for name in pair} == set(names)


@pytest.mark.parametrize(("signal", "difficulty"), [("both", 0.25), ("none", 0.25), ("none", 0.0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_takes_of_an_honest_corpus_are_other_sounds(
    signal: str, difficulty: float, seed: int
) -> None:
    # Without a signal all of a person's clips of one take say the same words in the same manner.
    corpus = SyntheticConfig(
        root="-", subjects=2, takes=2, signal=signal, difficulty=difficulty, seed=seed
    )
    prints = {
        clip.clip_id: fingerprint(perform(role_of(corpus, clip)).sound(), RATE)
        for clip in clips(corpus)
    }
    assert len(prints) == 24
    assert same_sound(prints) == []


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


def test_what_is_not_a_recording_of_anybody_is_nobodys() -> None:
    random = np.random.default_rng(0)
    time_s = np.arange(3 * RATE) / RATE
    noises = {f"noise-{i}": random.normal(0, 0.1, 3 * RATE) for i in range(4)}
    silences = {f"silence-{i}": np.zeros(3 * RATE) for i in range(2)}
    offsets = {f"offset-{i}": np.full(3 * RATE, 0.1) for i in range(2)}
    mains = {
        f"mains-{i}": 0.1 * np.sign(np.sin(2 * np.pi * 50 * time_s + i))
        + random.normal(0, 1e-3, 3 * RATE)
        for i in range(3)
    }
    tones = {f"tone-{i}": 0.1 * np.sin(2 * np.pi * 440 * time_s + i) for i in range(3)}
    sounds = {**noises, **silences, **offsets, **mains, **tones}
    prints = {name: fingerprint(s.astype(np.float32), RATE) for name, s in sounds.items()}
    for name in (*silences, *offsets):
        assert (prints[name] == SILENCE).all()
    assert same_sound(prints) == []
    assert len(fingerprint(np.zeros(100, np.float32), RATE)) == 0
    assert same_sound({}) == []


@needs_grid
def test_real_recordings_of_a_corpus_are_all_different() -> None:
    prints = {path.name: heard(path) for path in sorted(GRID.glob("*.mpg"))}
    assert len(prints) >= 10
    assert same_sound(prints) == []
