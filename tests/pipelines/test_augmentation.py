"""Variations of a clip: drawn from the generator alone, the same for all frames, never too far."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipelines.augmentation import augmented, draw_segments
from pipelines.inputs import ClipTensors

SIDE, ROWS = 48, 64


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_clip(frames: int = 6, segments: int = 5, seed: int = 0) -> ClipTensors:
    source = generator(seed)
    return ClipTensors(
        clip_id="a",
        frames=torch.randint(0, 256, (frames, 3, SIDE, SIDE), generator=source, dtype=torch.uint8),
        audio=torch.randint(0, 256, (segments, 3, ROWS, ROWS), generator=source, dtype=torch.uint8),
        frame_indices=torch.randint(0, frames, (segments, 20), generator=source).sort(1).values,
    )


def face() -> Tensor:
    """A grey slope [3, 48, 48] that tells left from right and up from down, far from 0 and 255."""
    across = torch.arange(SIDE).float().expand(SIDE, SIDE)
    return (100 + 0.5 * across + 0.25 * across.T).round().to(torch.uint8).expand(3, SIDE, SIDE)


def faces_clip(frames: int = 4) -> ClipTensors:
    clip = random_clip(frames=frames)
    return ClipTensors(
        clip_id="a",
        frames=face().expand(frames, 3, SIDE, SIDE).clone(),
        audio=clip.audio,
        frame_indices=clip.frame_indices,
    )


def with_crops(clip: ClipTensors, crops: Tensor) -> ClipTensors:
    return ClipTensors(
        clip_id=clip.clip_id,
        frames=crops,
        audio=clip.audio,
        frame_indices=clip.frame_indices,
    )


def tensors(clip: ClipTensors) -> tuple[Tensor, Tensor, Tensor]:
    return clip.frames, clip.audio, clip.frame_indices


def same(one: ClipTensors, other: ClipTensors) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def test_the_generator_alone_decides() -> None:
    clip = random_clip()
    torch.manual_seed(0)
    first = augmented(clip, generator(1))
    torch.manual_seed(99)
    assert same(augmented(clip, generator(1)), first)
    other = augmented(clip, generator(2))
    assert not torch.equal(other.frames, first.frames)
    assert not torch.equal(other.audio, first.audio)


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    augmented(draw_segments(random_clip(), 2, generator(1)), generator(1))
    assert torch.equal(torch.rand(1), expected)


def test_shapes_types_indices_and_the_clip_itself_stay() -> None:
    clip = random_clip()
    before = [tensor.clone() for tensor in tensors(clip)]
    varied = augmented(clip, generator(1))
    for old, kept, new in zip(before, tensors(clip), tensors(varied), strict=True):
        assert torch.equal(old, kept)
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
    assert torch.equal(varied.frame_indices, clip.frame_indices)
    assert varied.clip_id == clip.clip_id


def test_all_frames_of_a_clip_vary_alike_so_that_nothing_flickers() -> None:
    clip = faces_clip()
    for seed in range(20):
        crops = augmented(clip, generator(seed)).frames
        assert torch.equal(crops, crops[:1].expand_as(crops))
        assert not torch.equal(crops, clip.frames)


def test_faces_are_mirrored_about_half_the_time() -> None:
    clip = faces_clip(frames=1)
    slopes = []
    for seed in range(200):
        plane = augmented(clip, generator(seed)).frames[0, 0].double()
        slopes.append(float(plane[:, -8:].mean() - plane[:, :8].mean()))
    share = sum(slope < 0 for slope in slopes) / len(slopes)
    assert 0.35 < share < 0.65
    for seed in range(50):  # never upside down
        plane = augmented(clip, generator(seed)).frames[0, 0].double()
        assert float(plane[-8:].mean() - plane[:8].mean()) > 0


def test_faces_move_by_no_more_than_a_sixteenth_of_their_side() -> None:
    clip = faces_clip(frames=1)
    dot = torch.full((1, 3, SIDE, SIDE), 100, dtype=torch.uint8)
    dot[:, :, 24, 24] = 200
    clip = with_crops(clip, dot)
    places = set()
    for seed in range(200):
        plane = augmented(clip, generator(seed)).frames[0, 0]
        places.add(divmod(int(plane.argmax()), SIDE))
    rows, columns = {row for row, _ in places}, {column for _, column in places}
    assert rows == set(range(21, 28))
    # Mirrored, column 24 of 48 is column 23.
    assert columns == set(range(20, 28))


def test_light_and_tint_stay_within_their_bounds() -> None:
    grey = with_crops(faces_clip(), torch.full((2, 3, SIDE, SIDE), 120, dtype=torch.uint8))
    levels = torch.stack(
        [augmented(grey, generator(seed)).frames[0, :, 0, 0].double() for seed in range(300)]
    )
    # 120 +- 255 / 8 for the light, times 1 +- 0.15 for each colour.
    assert float(levels.min()) >= (120 - 31.875) * 0.85 - 0.5
    assert float(levels.max()) <= (120 + 31.875) * 1.15 + 0.5
    assert float(levels.min()) < 85
    assert float(levels.max()) > 160
    shares = levels / levels.mean(dim=1, keepdim=True)
    assert float(shares.std(dim=0).min()) > 0.03  # each colour has a share of its own


def test_audio_masks_are_one_band_and_one_span_of_grey_in_all_channels() -> None:
    clip = random_clip(segments=40)
    masked = augmented(clip, generator(3)).audio
    heights, widths = set(), set()
    for before, after in zip(clip.audio, masked, strict=True):
        changed = (before != after).any(dim=0)
        assert (after[:, changed] == 128).all()
        assert torch.equal(after[:, ~changed], before[:, ~changed])
        rows = _span(changed.double().mean(dim=1) > 0.9)
        columns = _span(changed.double().mean(dim=0) > 0.9)
        heights.add(len(rows))
        widths.add(len(columns))
        rest = changed.clone()
        rest[rows], rest[:, columns] = False, False
        assert not rest.any()
    # A sixth of 64 is 11.
    assert max(heights) <= 11
    assert max(widths) <= 11
    assert len(heights) > 4
    assert len(widths) > 4


def _span(marked: Tensor) -> list[int]:
    """The marked places, which must be next to each other."""
    places: list[int] = marked.nonzero().flatten().tolist()
    if places:
        assert places == list(range(places[0], places[-1] + 1))
    return places


def test_drawn_segments_keep_their_own_frames_and_images() -> None:
    clip = random_clip(frames=9, segments=6)
    for seed in range(10):
        drawn = draw_segments(clip, 2, generator(seed))
        assert drawn.segments == 2
        assert drawn.clip_id == clip.clip_id
        sources = [
            index
            for image in drawn.audio
            for index, original in enumerate(clip.audio)
            if torch.equal(image, original)
        ]
        assert len(set(sources)) == 2
        wanted = clip.frames[clip.frame_indices[sources]]
        assert torch.equal(drawn.frames[drawn.frame_indices], wanted)


def test_drawn_segments_bring_each_of_their_frames_once_and_no_other() -> None:
    clip = random_clip(frames=40, segments=6)
    drawn = draw_segments(clip, 1, generator(0))
    assert sorted(set(drawn.frame_indices.flatten().tolist())) == list(range(len(drawn.frames)))
    assert len(drawn.frames) <= 20 < len(clip.frames)


def test_every_segment_is_drawn_some_time_and_the_generator_decides() -> None:
    clip = random_clip(segments=5)
    seen = set()
    for seed in range(60):
        drawn = draw_segments(clip, 1, generator(seed))
        assert same(drawn, draw_segments(clip, 1, generator(seed)))
        seen.add(int(drawn.audio.long().sum()))
    assert seen == {int(image.long().sum()) for image in clip.audio}


def test_a_clip_with_no_more_segments_than_are_drawn_is_taken_whole() -> None:
    clip = random_clip(segments=3)
    assert same(draw_segments(clip, 3, generator(0)), clip)
    assert same(draw_segments(clip, 7, generator(0)), clip)


@pytest.mark.parametrize(("missing", "kept"), [("frames", "audio"), ("audio", "frames")])
def test_a_modality_that_is_not_used_is_empty_and_the_other_one_varies_as_ever(
    missing: str, kept: str
) -> None:
    clip, nothing = random_clip(), torch.empty(0)
    alone = replace(clip, frames=nothing) if missing == "frames" else replace(clip, audio=nothing)
    drawn, of_both = (draw_segments(one, 2, generator(1)) for one in (alone, clip))
    assert torch.equal(getattr(drawn, kept), getattr(of_both, kept))
    assert drawn.segments == 2
    varied = augmented(alone, generator(1))
    assert not torch.equal(getattr(varied, kept), getattr(clip, kept))
    for result in (drawn, varied):
        assert len(getattr(result, missing)) == 0
