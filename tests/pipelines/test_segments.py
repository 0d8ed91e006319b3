from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pipelines.segments import frames_of_segment

LENGTH_S = 0.655


def constant(rate: float, count: int = 200, start_s: float = 0.0) -> npt.NDArray[np.float64]:
    return start_s + np.arange(count) / rate


def test_at_30_frames_per_second_all_20_frames_are_taken() -> None:
    # 0.3 s is frame 9 and 0.955 s lies between frames 28 and 29: 9 to 28 are 20 frames.
    assert frames_of_segment(constant(30), 0.3, LENGTH_S).tolist() == list(range(9, 29))


def test_at_30_frames_per_second_19_frames_have_their_first_one_repeated() -> None:
    # From 0.31 s frames 10 (0.333) to 28 (0.933) fall inside: 19.
    chosen = frames_of_segment(constant(30), 0.31, LENGTH_S)
    assert chosen.tolist() == [10, *range(10, 29)]


def test_at_29_97_frames_per_second_the_count_follows_the_time_stamps() -> None:
    times = constant(30000 / 1001)
    # Frame 9 is at 0.3003 s, frame 28 at 0.9343 s, frame 29 at 0.9676 s: 20 frames.
    assert frames_of_segment(times, 0.3, LENGTH_S).tolist() == list(range(9, 29))
    # From 0.301 to 0.956 s: frames 10 (0.3337) to 28: 19, the first one repeated.
    assert frames_of_segment(times, 0.301, LENGTH_S).tolist() == [10, *range(10, 29)]


def test_at_25_frames_per_second_first_and_last_are_repeated_in_turn() -> None:
    # From 0 s frames 0 (0 s) to 16 (0.64 s): 17, so first, last, first.
    assert frames_of_segment(constant(25), 0.0, LENGTH_S).tolist() == [0, 0, *range(17), 16]
    # From 0.3 s frames 8 (0.32 s) to 23 (0.92 s): 16, so two at each end.
    assert frames_of_segment(constant(25), 0.3, LENGTH_S).tolist() == [8, 8, *range(8, 24), 23, 23]


def test_a_surplus_frame_is_removed_behind() -> None:
    # At 30.8 frames per second 21 frames, 0 to 20 (0.6494 s), fall inside.
    assert frames_of_segment(constant(30.8), 0.0, LENGTH_S).tolist() == list(range(20))


def test_an_even_surplus_is_removed_on_both_sides() -> None:
    chosen = frames_of_segment(constant(30), 0.0, 0.72)  # frames 0 to 21
    assert chosen.tolist() == list(range(1, 21))


def test_at_60_frames_per_second_20_evenly_timed_frames_span_the_segment() -> None:
    # Middles at 0.016375 + k * 0.03275 s; frame = middle * 60, rounded.
    expected = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 28, 30, 32, 34, 36, 38]
    assert frames_of_segment(constant(60), 0.0, LENGTH_S).tolist() == expected


def test_evenly_timed_frames_can_be_asked_for_at_any_rate() -> None:
    # Middles at 0.016375 + k * 0.03275 s; frame = middle * 25, rounded, at most 16.
    expected = [0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 9, 10, 11, 12, 13, 14, 14, 15, 16]
    assert frames_of_segment(constant(25), 0.0, LENGTH_S, even=True).tolist() == expected


def test_of_two_frames_as_near_the_earlier_one_is_taken() -> None:
    times = np.array([0.0, 0.2, 0.4, 0.6])
    assert frames_of_segment(times, 0.0, 0.4, count=2, even=True).tolist() == [0, 1]
    assert frames_of_segment(times, 0.25, 0.1, count=1).tolist() == [1]


def test_a_variable_rate_is_counted_by_time_stamps() -> None:
    slow_then_fast = np.concatenate([np.arange(10) * 0.1, 1.0 + np.arange(30) / 30])
    # Frames 0 to 6 at 0 to 0.6 s: 7 frames, 13 repeated: 7 in front, 6 behind.
    chosen = frames_of_segment(slow_then_fast, 0.0, LENGTH_S).tolist()
    assert chosen == [0] * 7 + list(range(7)) + [6] * 6
    assert frames_of_segment(slow_then_fast, 1.0, LENGTH_S).tolist() == list(range(10, 30))


def test_a_dropped_frame_inside_is_made_up_at_the_ends() -> None:
    times = np.delete(constant(30), 15)  # what stands at index 15 now was frame 16
    assert frames_of_segment(times, 0.3, LENGTH_S).tolist() == [9, *range(9, 28)]


def test_time_stamps_rounded_by_the_container_belong_to_the_same_segment() -> None:
    times = constant(30) - 4e-7
    assert frames_of_segment(times, 0.3, LENGTH_S).tolist() == list(range(9, 29))


def test_one_frame_stands_for_all() -> None:
    assert frames_of_segment(np.array([0.1]), 0.0, LENGTH_S).tolist() == [0] * 20


@pytest.mark.parametrize(("start_s", "nearest"), [(5.0, 2), (-3.0, 0), (0.55, 1), (0.3, 1)])
def test_without_a_frame_inside_the_nearest_one_stands_for_all(
    start_s: float, nearest: int
) -> None:
    times = np.array([0.0, 0.5, 1.0])
    assert frames_of_segment(times, start_s, 0.1).tolist() == [nearest] * 20


def test_the_indices_are_ascending_int32_whatever_the_rate() -> None:
    for rate in (5, 12.5, 24, 25, 29.97, 30, 31, 33, 50, 59.94, 120):
        for start_s in np.arange(0, 2, 0.3):
            for even in (False, True):
                chosen = frames_of_segment(constant(rate, 400), float(start_s), LENGTH_S, even=even)
                assert chosen.dtype == np.int32
                assert chosen.shape == (20,)
                assert np.all(np.diff(chosen) >= 0)


def test_a_clip_without_frames_cannot_be_represented() -> None:
    with pytest.raises(ValueError, match="no frames"):
        frames_of_segment(np.zeros(0), 0.0, LENGTH_S)
