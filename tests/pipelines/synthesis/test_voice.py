"""The synthesised voice does what its style says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from pipelines.synthesis.articulation import SAMPLE_RATE
from pipelines.synthesis.emotions import VoiceStyle
from pipelines.synthesis.seeds import stream
from pipelines.synthesis.speech import Timing, draw_speech, draw_timing, sentence_text
from pipelines.synthesis.voice import Speaker, add_room, speak

TIMING = Timing(frames=99, voice_start_s=0.6, voice_end_s=2.7)
SPEAKER = Speaker(sex="male", pitch_hz=110.0, formant_scale=1.0, brightness_db=0.0)


def say(style: VoiceStyle, speaker: Speaker = SPEAKER) -> npt.NDArray[np.float32]:
    text = sentence_text(stream(0, "sentence"))
    speech = draw_speech(text, TIMING, style, stream(0, "speech"))
    return speak(speaker, speech, style, TIMING, stream(0, "voice"))


def spectrum(sound: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Mean power [frequencies] in windows of 64 ms."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 1024)[::256] * np.hanning(1024)
    return np.asarray((np.abs(np.fft.rfft(frames)) ** 2).mean(axis=0), np.float64)


def pitch_of(sound: npt.NDArray[np.float32]) -> float:
    """Median pitch in Hz by autocorrelation of the louder windows of 64 ms."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 1024)[::256].astype(np.float64)
    loud = frames[(frames**2).mean(axis=1) > 0.3 * (frames**2).mean(axis=1).max()]
    power = np.abs(np.fft.rfft(loud * np.hanning(1024), 4096)) ** 2
    correlation = np.fft.irfft(power)[:, :1024]
    shortest, longest = SAMPLE_RATE // 400, SAMPLE_RATE // 60
    lags = shortest + correlation[:, shortest:longest].argmax(axis=1)
    return float(np.median(SAMPLE_RATE / lags))


STEADY = VoiceStyle(pitch_range=0.0, pitch_slope=0.0, breath=0.05, creak=0.0)


def test_voice_is_silent_outside_its_span_and_in_no_other_place() -> None:
    sound = say(VoiceStyle())
    start, end = (round(t * SAMPLE_RATE) for t in (TIMING.voice_start_s, TIMING.voice_end_s))
    slack = SAMPLE_RATE // 50  # the filter's window reaches 10 ms to either side
    assert len(sound) == TIMING.frames * SAMPLE_RATE // 30
    assert np.abs(sound[: start - slack]).max() < 1e-6
    assert np.abs(sound[end + slack :]).max() < 1e-6
    assert np.abs(sound[start : start + SAMPLE_RATE // 5]).max() > 0.01
    assert np.abs(sound[end - SAMPLE_RATE // 4 : end]).max() > 0.01


@pytest.mark.parametrize("pitch_hz", [100.0, 130.0, 210.0])
def test_pitch_is_that_of_the_speaker(pitch_hz: float) -> None:
    measured = pitch_of(say(STEADY, replace(SPEAKER, pitch_hz=pitch_hz)))
    assert measured == pytest.approx(pitch_hz, rel=0.05)


def test_pitch_shift_is_in_semitones() -> None:
    measured = pitch_of(say(replace(STEADY, pitch_shift=7.0)))
    assert measured == pytest.approx(110.0 * 2 ** (7 / 12), rel=0.05)


def test_brighter_style_has_more_high_frequencies() -> None:
    frequencies = np.fft.rfftfreq(1024, 1 / SAMPLE_RATE)

    def brightness(tilt_db: float) -> float:
        power = spectrum(say(replace(STEADY, tilt_db=tilt_db)))
        return float(power[(frequencies > 1500) & (frequencies < 3500)].sum() / power.sum())

    assert brightness(4.0) > 2 * brightness(0.0) > 4 * brightness(-4.0)


def test_faster_style_says_more_syllables_in_the_same_time() -> None:
    def syllables(rate: float) -> int:
        style = replace(STEADY, rate=rate)
        speech = draw_speech("sa-ti-mo", TIMING, style, stream(0, "speech"))
        assert speech.syllables[0].start_s == TIMING.voice_start_s
        assert speech.syllables[-1].end_s == pytest.approx(TIMING.voice_end_s)
        return len(speech.syllables)

    assert syllables(3.0) < syllables(4.5) < syllables(6.0)


def test_pauses_lie_between_syllables() -> None:
    for number in range(20):
        speech = draw_speech("sa-ti-mo", TIMING, STEADY, stream(number, "speech"))
        assert 1 <= len(speech.pauses) <= 2
        for start, end in speech.pauses:
            assert 0.1 <= end - start <= 0.3
            assert TIMING.voice_start_s < start < end < TIMING.voice_end_s
            assert not any(
                s.start_s < end - 1e-9 and s.end_s > start + 1e-9 for s in speech.syllables
            )


def test_room_noise_is_as_far_below_the_voice_as_asked() -> None:
    sound = say(STEADY)
    mixed = add_room(sound, 20.0, stream(0, "room"))
    voiced = np.abs(sound) > 0.05 * np.abs(sound).max()
    noise = (mixed - sound).astype(np.float64)
    ratio = np.mean(sound[voiced].astype(np.float64) ** 2) / np.mean(noise**2)
    assert 10 * np.log10(ratio) == pytest.approx(20.0, abs=0.2)


def test_clips_have_whole_frames_and_whole_samples() -> None:
    for number in range(50):
        timing = draw_timing(stream(number, "timing"))
        assert timing.frames * SAMPLE_RATE % 30 == 0
        assert 0.5 <= timing.voice_start_s <= 0.7
        assert 0.5 <= timing.duration_s - timing.voice_end_s <= 0.8
