"""Clips as the networks read them, the memory that they take, and the wall before test clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.errors import UsageError
from pipelines.inputs import ClipCache, ClipTensors, Wall, WallError, to_tensors
from pipelines.records import ClipArrays


def clip_of(clip_id: str, crops: int = 1) -> ClipTensors:
    """A clip of crops * 12 + 12 + 160 bytes."""
    return ClipTensors(
        clip_id=clip_id,
        frames=torch.zeros(crops, 3, 2, 2, dtype=torch.uint8),
        audio=torch.zeros(1, 3, 2, 2, dtype=torch.uint8),
        frame_indices=torch.zeros(1, 20, dtype=torch.int64),
    )


class Reader:
    """Reads clips and remembers which."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, clip_id: str) -> ClipTensors:
        self.read.append(clip_id)
        return clip_of(clip_id)


ONE_CLIP = 12 + 12 + 160


def arrays(segments: int = 2, frames: int = 3, seed: int = 0) -> ClipArrays:
    random = np.random.default_rng(seed)
    return ClipArrays(
        clip_id="a",
        crops=random.integers(0, 256, (frames, 227, 227, 3), dtype=np.uint8),
        mfcc=random.normal(size=(segments, 4, 5, 3)).astype(np.float16),
        frame_indices=random.integers(0, frames, (segments, 20), dtype=np.int32),
    )


@pytest.mark.parametrize(("rescaling", "axes"), [("row", (2,)), ("channel", (1, 2))])
def test_audio_images_are_stretched_to_0_to_255_channels_first(
    rescaling: str, axes: tuple[int, ...]
) -> None:
    source = arrays()
    tensors = to_tensors(source, face_size=None, rescaling=rescaling)
    values = source.mfcc.astype(np.float64)
    low, high = values.min(axis=axes, keepdims=True), values.max(axis=axes, keepdims=True)
    truth = 255 * (values - low) / (high - low)
    ours = tensors.audio.permute(0, 2, 3, 1).numpy()
    assert ours.dtype == np.uint8
    assert np.abs(ours - truth).max() <= 0.5 + 1e-3  # rounded, not cut off
    assert tensors.segments == 2


def test_images_to_be_standardised_are_left_to_the_training_unscaled() -> None:
    source = arrays()
    images = to_tensors(source, face_size=None, rescaling="standardised").audio
    assert images.dtype == torch.float16
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), source.mfcc)


def test_crops_are_as_stored_channels_first_or_shrunk() -> None:
    source = arrays()
    stored = to_tensors(source, face_size=None, rescaling="row").frames
    assert torch.equal(stored, torch.from_numpy(source.crops).permute(0, 3, 1, 2))
    shrunk = to_tensors(source, face_size=48, rescaling="row").frames
    assert shrunk.shape == (3, 3, 48, 48)
    assert shrunk.is_contiguous()
    # The first cell of 227 / 48 pixels touches five rows and columns.
    truth = source.crops[1, :5, :5, 2].mean()
    assert abs(float(shrunk[1, 2, 0, 0]) - truth) <= 0.5 + 1e-3


def test_frame_indices_can_index_tensors() -> None:
    source = arrays()
    tensors = to_tensors(source, face_size=48, rescaling="row")
    assert tensors.frame_indices.dtype == torch.int64
    assert tensors.frame_indices.tolist() == source.frame_indices.tolist()


def test_what_was_read_from_a_file_is_never_written_to() -> None:
    source = arrays()
    source.crops.flags.writeable = False
    before = source.crops.copy()
    tensors = to_tensors(source, face_size=None, rescaling="row")
    tensors.frames.zero_()
    assert np.array_equal(source.crops, before)


def test_an_unknown_rescaling_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\(whole\) must be one of: row, channel"):
        to_tensors(arrays(), face_size=None, rescaling="whole")


def test_bytes_are_those_of_all_three_tensors() -> None:
    assert clip_of("a").bytes == ONE_CLIP
    assert clip_of("a", crops=3).bytes == ONE_CLIP + 24


def test_a_clip_that_fits_is_read_once() -> None:
    reader = Reader()
    cache = ClipCache(reader, limit_bytes=2 * ONE_CLIP)
    first = cache["a"]
    assert cache["b"].clip_id == "b"
    assert cache["a"] is first
    assert reader.read == ["a", "b"]


def test_the_clip_used_longest_ago_makes_room_and_is_read_again() -> None:
    reader = Reader()
    cache = ClipCache(reader, limit_bytes=2 * ONE_CLIP)
    for clip_id in ("a", "b", "a", "c"):  # c takes the place of b
        assert cache[clip_id].clip_id == clip_id
    assert reader.read == ["a", "b", "c"]
    assert cache["a"].clip_id == "a"
    assert reader.read == ["a", "b", "c"]
    assert cache["b"].clip_id == "b"
    assert reader.read == ["a", "b", "c", "b"]


def test_the_limit_is_of_bytes_one_below_two_clips_holds_one() -> None:
    reader = Reader()
    cache = ClipCache(reader, limit_bytes=2 * ONE_CLIP - 1)
    for clip_id in ("a", "b", "b", "a", "a"):
        cache[clip_id]
    assert reader.read == ["a", "b", "a"]


def test_room_that_was_made_can_be_used_again() -> None:
    reader = Reader()
    cache = ClipCache(reader, limit_bytes=2 * ONE_CLIP)
    for clip_id in "abcdef":
        cache[clip_id]
    reader.read.clear()
    assert [cache[clip_id].clip_id for clip_id in "ef"] == ["e", "f"]
    assert reader.read == []


def test_a_clip_larger_than_the_limit_is_given_all_the_same() -> None:
    reader = Reader()
    cache = ClipCache(reader, limit_bytes=1)
    assert cache["a"].clip_id == "a"
    assert cache["b"].clip_id == "b"
    assert cache["b"].clip_id == "b"
    assert reader.read == ["a", "b"]


PHASES = {
    "stage1_fit": frozenset({"a", "b"}),
    "stage1_choose": frozenset({"v"}),
    "test": frozenset({"t"}),
}


def wall() -> tuple[Wall, Reader]:
    reader = Reader()
    return Wall(clips=ClipCache(reader, 10**6), allowed=dict(PHASES)), reader


@pytest.mark.parametrize(
    ("phase", "clip_id"),
    [("stage1_fit", "v"), ("stage1_choose", "a"), ("stage1_fit", "t"), ("stage2_fit", "a")],
)
def test_a_phase_sees_its_own_clips_only(phase: str, clip_id: str) -> None:
    guarded, reader = wall()
    with pytest.raises(WallError, match=f"phase {phase} asked for {clip_id}, which is not among"):
        guarded.read(phase, clip_id)
    assert reader.read == []
    assert guarded.reads == {}


def test_the_test_phase_sees_no_training_clip_even_when_frozen() -> None:
    guarded, _ = wall()
    guarded.freeze()
    with pytest.raises(WallError, match="phase test asked for a, which is not among"):
        guarded.read("test", "a")


def test_test_clips_stay_shut_until_the_model_is_frozen() -> None:
    guarded, reader = wall()
    with pytest.raises(WallError, match="phase test asked for t before the model was frozen"):
        guarded.read("test", "t")
    assert reader.read == []
    guarded.freeze()
    assert guarded.read("test", "t").clip_id == "t"


@pytest.mark.parametrize(("phase", "clip_id"), [("stage1_fit", "a"), ("stage1_choose", "v")])
def test_nothing_is_fitted_or_chosen_once_the_model_is_frozen(phase: str, clip_id: str) -> None:
    guarded, _ = wall()
    assert guarded.read(phase, clip_id).clip_id == clip_id
    guarded.freeze()
    with pytest.raises(WallError, match=f"phase {phase} asked for {clip_id} after"):
        guarded.read(phase, clip_id)


def test_every_read_is_written_down_by_phase() -> None:
    guarded, _ = wall()
    for phase, clip_id in (("stage1_fit", "a"), ("stage1_choose", "v"), ("stage1_fit", "a")):
        guarded.read(phase, clip_id)
    assert guarded.reads == {"stage1_fit": {"a"}, "stage1_choose": {"v"}}
    with pytest.raises(WallError):
        guarded.read("stage1_fit", "t")
    guarded.freeze()
    guarded.read("test", "t")
    assert guarded.reads == {"stage1_fit": {"a"}, "stage1_choose": {"v"}, "test": {"t"}}


def test_a_clip_that_cannot_be_read_is_not_held(tmp_path: Path) -> None:
    missing = tmp_path / "clip"

    def read(clip_id: str) -> ClipTensors:
        missing.read_text()
        return clip_of(clip_id)

    cache = ClipCache(read, 10**6)
    with pytest.raises(FileNotFoundError):
        cache["a"]
    missing.touch()
    assert cache["a"].clip_id == "a"


def test_some_segments_of_a_clip_come_with_their_own_pitch_and_energy() -> None:
    prosody = torch.arange(3 * 2 * 64, dtype=torch.float16).reshape(3, 2, 64)
    clip = ClipTensors(
        clip_id="a",
        frames=torch.empty(0),
        audio=torch.zeros(3, 3, 64, 64),
        frame_indices=torch.zeros(3, 20, dtype=torch.int64),
        prosody=prosody,
    )
    assert torch.equal(clip.keep((2, 0)).prosody, prosody[[2, 0]])
    assert clip.bytes - replace(clip, prosody=torch.empty(0)).bytes == prosody.numel() * 2
