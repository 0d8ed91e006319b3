"""The synthetic corpus is made of whole, true and repeatable media files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from pipelines.corpora.synthetic import SyntheticConfig, clips, make_clip, missing
from pipelines.errors import UsageError
from pipelines.records import Clip
from pipelines.synthesis.emotions import EMOTIONS
from pipelines.synthesis.write import truth_path
from pipelines.vad import VadConfig, detect_voice


def truth_of(clip: Clip) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(truth_path(Path(clip.path)).read_text())
    return content


def decoded(clip: Clip) -> tuple[list[npt.NDArray[np.uint8]], npt.NDArray[np.float64]]:
    """The frames and the samples [n], full scale 1, by PyAV."""
    frames: list[npt.NDArray[np.uint8]] = []
    sound: list[npt.NDArray[np.int16]] = []
    with av.open(clip.path) as container:
        for packet in container.demux():
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    frames.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                elif isinstance(frame, av.AudioFrame):
                    sound.append(np.asarray(frame.to_ndarray()[0], np.int16))
    return frames, np.concatenate(sound) / 32768


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> SyntheticConfig:
    """A corpus of which the first subject's six first takes are made."""
    config = SyntheticConfig(root=str(tmp_path_factory.mktemp("synthetic")), subjects=2)
    for clip in clips(config)[:12:2]:
        make_clip(config, clip)
    return config


@pytest.fixture(scope="module")
def made(config: SyntheticConfig) -> list[Clip]:
    return clips(config)[:12:2]


def test_default_corpus_is_balanced() -> None:
    listed = clips(SyntheticConfig(root="somewhere"))
    assert len(listed) == 6 * 6 * 2
    assert len({clip.clip_id for clip in listed}) == len(listed)
    assert len({clip.path for clip in listed}) == len(listed)
    assert set(Counter((clip.subject, clip.emotion) for clip in listed).values()) == {2}
    assert set(Counter((clip.sentence, clip.emotion) for clip in listed).values()) == {6}
    assert {clip.emotion for clip in listed} == set(EMOTIONS)
    assert Counter(clip.attributes["sex"] for clip in listed) == {"female": 36, "male": 36}
    assert listed[0].clip_id == "s01/anger_1"
    assert Path(listed[0].path) == Path("somewhere/s01/anger_1.avi")


def test_containers_hold_what_they_declare(made: list[Clip]) -> None:
    for clip in made:
        truth = truth_of(clip)
        with av.open(clip.path) as container:
            assert container.format.name == "avi"
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert video.codec_context.name == "mpeg4"
            assert (video.width, video.height) == (360, 288)
            assert float(video.average_rate or 0) == 30.0
            assert video.frames == truth["frames"]
            assert audio.codec_context.name == "pcm_s16le"
            assert (audio.rate, audio.channels) == (16_000, 1)
        frames, sound = decoded(clip)
        assert len(frames) == truth["frames"] == len(truth["face_boxes"])
        assert len(sound) == truth["frames"] * 16_000 // 30


def test_decord_reads_the_same_frames_and_samples(made: list[Clip]) -> None:
    decord = pytest.importorskip("decord")
    clip = made[0]
    frames, sound = decoded(clip)
    reader = decord.VideoReader(clip.path)
    assert len(reader) == len(frames)
    assert reader.get_avg_fps() == pytest.approx(30.0)
    for index in (0, 17, len(frames) - 1):
        difference = reader[index].asnumpy().astype(int) - frames[index].astype(int)
        assert np.abs(difference).mean() < 2.0
    samples = decord.AudioReader(clip.path, mono=True)[:].asnumpy()[0]
    assert samples.shape == sound.shape
    np.testing.assert_allclose(samples, sound, atol=1e-4)


def test_sound_is_loud_where_the_voice_is_and_quiet_elsewhere(made: list[Clip]) -> None:
    for clip in made:
        truth = truth_of(clip)
        _, sound = decoded(clip)
        start, end = (round(truth[f"voice_{edge}_s"] * 16_000) for edge in ("start", "end"))
        outside = np.concatenate([sound[: start - 320], sound[end + 320 :]])
        ratio_db = 10 * np.log10(np.mean(sound[start:end] ** 2) / np.mean(outside**2))
        assert 12 < ratio_db < 30
        for first, last in truth["pauses"]:
            pause = sound[round(first * 16_000) + 320 : round(last * 16_000) - 320]
            assert np.mean(pause**2) < 0.2 * np.mean(sound[start:end] ** 2)
        assert np.abs(sound).max() < 0.99


def test_voice_activity_detection_finds_the_true_span(made: list[Clip]) -> None:
    settings = VadConfig(before_s=0.0, after_s=0.0)
    for clip in made:
        truth = truth_of(clip)
        _, sound = decoded(clip)
        region = detect_voice(sound.astype(np.float32), 16_000, settings)
        assert region.found
        assert region.start_s == pytest.approx(truth["voice_start_s"], abs=0.2)
        assert region.end_s == pytest.approx(truth["voice_end_s"], abs=0.2)


def test_face_boxes_lie_in_the_picture_and_hold_a_face_of_useful_size(made: list[Clip]) -> None:
    for clip in made:
        boxes = np.array(truth_of(clip)["face_boxes"])
        assert boxes[:, :2].min() >= 0
        assert boxes[:, 2].max() <= 360
        assert boxes[:, 3].max() <= 288
        heights = boxes[:, 3] - boxes[:, 1]
        assert heights.min() > 100
        assert heights.max() < 165


def test_two_makings_are_the_same_bytes(
    config: SyntheticConfig, made: list[Clip], tmp_path: Path
) -> None:
    again = SyntheticConfig(root=str(tmp_path), subjects=2)
    clip = clips(again)[10]
    make_clip(again, clip)
    first = Path(made[5].path)
    assert Path(clip.path).read_bytes() == first.read_bytes()
    assert truth_path(Path(clip.path)).read_bytes() == truth_path(first).read_bytes()


def test_other_seed_makes_another_clip(made: list[Clip], tmp_path: Path) -> None:
    other = SyntheticConfig(root=str(tmp_path), subjects=2, seed=1)
    clip = clips(other)[0]
    make_clip(other, clip)
    assert Path(clip.path).read_bytes() != Path(made[0].path).read_bytes()


def test_missing_lists_what_is_not_whole(config: SyntheticConfig, made: list[Clip]) -> None:
    left = {clip.clip_id for clip in missing(config)}
    assert left == {clip.clip_id for clip in clips(config)} - {clip.clip_id for clip in made}
    truth = truth_path(Path(made[0].path))
    content = truth.read_bytes()
    truth.unlink()
    assert made[0].clip_id in {clip.clip_id for clip in missing(config)}
    truth.write_bytes(content)


def test_making_leaves_nothing_unfinished(config: SyntheticConfig) -> None:
    files = {path.name for path in Path(config.root).rglob("*") if path.is_file()}
    assert files == {"corpus.json"} | {
        f"{emotion}_1{suffix}" for emotion in EMOTIONS for suffix in (".avi", ".truth.json")
    }


def test_root_made_with_other_settings_is_refused(config: SyntheticConfig) -> None:
    other = SyntheticConfig(root=config.root, subjects=2, difficulty=0.7)
    with pytest.raises(UsageError, match=r"difficulty 0\.25 \(wanted: 0\.7\)"):
        missing(other)
    with pytest.raises(UsageError, match="name another folder"):
        make_clip(other, clips(other)[0])


def test_root_must_be_named() -> None:
    with pytest.raises(UsageError, match=r"corpus\.root"):
        missing(SyntheticConfig())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"subjects": 1}, r"corpus\.subjects \(1\) must be at least 2"),
        ({"takes": 0}, r"corpus\.takes \(0\) must be at least 1"),
        ({"signal": "smell"}, r"corpus\.signal \(smell\) must be one of: both, audio, visual"),
        ({"difficulty": 1.5}, r"corpus\.difficulty \(1\.5\) must be from 0"),
        ({"seed": -1}, r"corpus\.seed \(-1\) must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SyntheticConfig(**settings)
