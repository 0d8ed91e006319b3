from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import scipy.fft
from media_files import GRID, needs_grid

from pipelines.decode import ClipReader
from pipelines.errors import UsageError
from pipelines.mfcc import (
    MfccConfig,
    at_rate,
    audio_images,
    deltas,
    rescale,
    segment_samples,
    segment_seconds,
    static_coefficients,
)

RATE = 16000


def sound(samples: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Noise whose colour and level wander, so that no two windows are alike."""
    draw = np.random.default_rng(seed)
    time_s = np.arange(samples) / RATE
    sweep = np.sin(2 * np.pi * (200 + 900 * time_s) * time_s)
    level = 0.3 + 0.25 * np.sin(2 * np.pi * 3 * time_s)
    return (level * (sweep + 0.1 * draw.normal(size=samples))).astype(np.float32)


def by_hand(samples: npt.NDArray[np.float32], frame: int) -> npt.NDArray[np.float64]:
    """MFCC of one 400-sample window in float64 from the definitions."""
    n = np.arange(400)
    hamming = 0.54 - 0.46 * np.cos(2 * np.pi * n / 400)
    piece = samples[frame * 160 : frame * 160 + 400].astype(np.float64) * hamming
    power = np.abs(np.fft.rfft(piece, 512)) ** 2
    filters = librosa.filters.mel(
        sr=RATE, n_fft=512, n_mels=64, fmin=20, fmax=8000, dtype=np.float64
    )
    log = 10 * np.log10(np.maximum(filters @ power, 1e-10))
    k, m = np.arange(64)[:, None], np.arange(64)[None, :]
    transform = np.sqrt(2 / 64) * np.cos(np.pi * k * (2 * m + 1) / 128)
    transform[0] /= np.sqrt(2)
    return np.asarray(transform @ log)


def test_coefficients_are_those_of_the_definitions_in_float64() -> None:
    samples = sound(10480)
    static = static_coefficients(samples, MfccConfig())
    assert static.shape == (64, 64)
    for frame in (0, 1, 17, 63):
        np.testing.assert_allclose(static[:, frame], by_hand(samples, frame), atol=2e-3)


@pytest.mark.parametrize(
    "config",
    [
        MfccConfig(),
        MfccConfig(mel_scale="htk"),
        MfccConfig(window_s=0.032),
        MfccConfig(hop_s=0.0125, low_hz=50.0, high_hz=7000.0, mels=40, coefficients=13),
        at_rate(MfccConfig(rate=0), 8000),
        at_rate(MfccConfig(rate=0), 48000),
    ],
    ids=["default", "htk", "32 ms", "others", "8 kHz", "48 kHz"],
)
def test_coefficients_are_those_of_librosa_with_the_same_settings(config: MfccConfig) -> None:
    samples = sound(config.rate)
    window = round(config.window_s * config.rate)
    points = 2 ** int(np.ceil(np.log2(window)))
    # librosa reads a window in the middle of its transform: what stands before the first one
    # and behind the last one, so that both read the same samples, is never looked at.
    around = (points - window) // 2
    expected = librosa.feature.mfcc(
        y=np.pad(samples, around, constant_values=9.9), sr=config.rate, n_mfcc=config.coefficients,
        n_fft=points, win_length=window, hop_length=round(config.hop_s * config.rate),
        window="hamming", center=False, n_mels=config.mels, fmin=config.low_hz,
        fmax=config.high_hz, htk=config.mel_scale == "htk",
    )  # fmt: skip
    static = static_coefficients(samples, config)
    assert static.shape == expected.shape
    np.testing.assert_allclose(static, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("norm", ["slaney", "none"])
def test_log_mel_energies_are_those_of_librosa_with_the_same_settings(norm: str) -> None:
    samples = sound(16000)
    energies = librosa.feature.melspectrogram(
        y=np.pad(samples, 56), sr=RATE, n_fft=512, win_length=400, hop_length=160,
        window="hamming", center=False, n_mels=64, fmin=20, fmax=8000,
        norm=None if norm == "none" else norm,
    )  # fmt: skip
    static = static_coefficients(samples, MfccConfig(features="log_mel", mel_norm=norm))
    np.testing.assert_allclose(static, librosa.power_to_db(energies), rtol=0, atol=1e-4)


def test_a_loud_sound_elsewhere_does_not_raise_what_is_faint() -> None:
    # librosa's own mfcc() lifts all to 80 dB below the loudest window of the call.
    faint = sound(10480) * np.float32(1e-4)
    loud = np.concatenate([faint, sound(10480)])
    alone, beside = (static_coefficients(samples, MfccConfig()) for samples in (faint, loud))
    # Not to the bit: how a product over more windows is divided among threads is BLAS' own affair.
    np.testing.assert_allclose(alone[:, :64], beside[:, :64], rtol=0, atol=1e-4)


@needs_grid
def test_coefficients_of_real_voices_are_librosas() -> None:
    for path in sorted(GRID.glob("*.mpg"))[:3]:
        reader = ClipReader(path)
        samples, _ = reader.audio(RATE)
        reader.close()
        energies = librosa.feature.melspectrogram(
            y=np.pad(samples, 56), sr=RATE, n_fft=512, win_length=400, hop_length=160,
            window="hamming", center=False, n_mels=64, fmin=20, fmax=8000,
        )  # fmt: skip
        expected = librosa.feature.mfcc(S=librosa.power_to_db(energies, top_db=None), n_mfcc=64)
        static = static_coefficients(samples, MfccConfig())
        np.testing.assert_allclose(static, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("samples", "frames"), [(400, 1), (559, 1), (560, 2), (10479, 63), (10480, 64), (16000, 98)]
)
def test_there_is_a_frame_for_every_whole_window(samples: int, frames: int) -> None:
    assert static_coefficients(sound(samples), MfccConfig()).shape == (64, frames)


def test_a_frame_holds_its_own_25_ms_and_nothing_else() -> None:
    quiet = np.zeros(10480, dtype=np.float32)
    for position, frames in ((0, [0]), (399, [0, 1, 2]), (400, [1, 2]), (10479, [63])):
        click = quiet.copy()
        click[position] = 0.5
        static = static_coefficients(click, MfccConfig(features="log_mel"))
        heard = np.flatnonzero((static > -99.9).any(axis=0))
        assert heard.tolist() == frames


def test_a_segment_of_64_frames_lasts_655_ms() -> None:
    assert segment_seconds(MfccConfig()) == 0.655
    assert segment_samples(MfccConfig()) == 10480 == round(0.655 * RATE)


def test_log_mel_leaves_out_the_cosine_transform() -> None:
    samples = sound(8000)
    log_mel = static_coefficients(samples, MfccConfig(features="log_mel"))
    cepstrum = static_coefficients(samples, MfccConfig())
    np.testing.assert_allclose(
        cepstrum, scipy.fft.dct(log_mel.astype(np.float64), axis=0, norm="ortho"), atol=1e-3
    )


def test_a_tone_lights_the_filter_at_its_frequency_on_either_scale() -> None:
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(8000) / RATE)).astype(np.float32)
    for scale in ("htk", "slaney"):
        config = MfccConfig(features="log_mel", mel_scale=scale)
        centres = librosa.mel_frequencies(66, fmin=20, fmax=8000, htk=scale == "htk")[1:-1]
        loudest = static_coefficients(tone, config).mean(axis=1).argmax()
        assert loudest == np.abs(centres - 1000).argmin()


def test_no_filter_is_empty() -> None:
    white = np.random.default_rng(0).normal(size=16000).astype(np.float32)
    for scale in ("htk", "slaney"):
        config = MfccConfig(features="log_mel", mel_scale=scale)
        assert static_coefficients(white, config).min() > -90


def test_deltas_are_equation_4_written_out() -> None:
    static = np.array([[1.0, 4.0, 9.0, 16.0, 25.0]], dtype=np.float32)
    # (1 (c[t+1] - c[t-1]) + 2 (c[t+2] - c[t-2])) / 10, with 1 and 25 repeated at the edges.
    expected = [
        [
            (1 * (4 - 1) + 2 * (9 - 1)) / 10,
            (1 * (9 - 1) + 2 * (16 - 1)) / 10,
            (1 * (16 - 4) + 2 * (25 - 1)) / 10,
            (1 * (25 - 9) + 2 * (25 - 4)) / 10,
            (1 * (25 - 16) + 2 * (25 - 9)) / 10,
        ]
    ]
    np.testing.assert_allclose(deltas(static, 2), expected, rtol=1e-6)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_deltas_of_a_voice_are_equation_4_in_double_precision(width: int) -> None:
    static = static_coefficients(sound(10480), MfccConfig())
    frames = static.shape[1]
    expected = np.zeros(static.shape)
    for t in range(frames):
        for n in range(1, width + 1):
            later, earlier = min(t + n, frames - 1), max(t - n, 0)
            expected[:, t] += n * (
                static[:, later].astype(np.float64) - static[:, earlier].astype(np.float64)
            )
    expected /= 2 * sum(n * n for n in range(1, width + 1))
    np.testing.assert_allclose(deltas(static, width), expected, rtol=0, atol=1e-4)


def test_deltas_equal_librosas() -> None:
    static = np.random.default_rng(0).normal(size=(3, 64, 64)).astype(np.float32)
    expected = librosa.feature.delta(static, width=5, mode="nearest")
    np.testing.assert_allclose(deltas(static, 2), expected, atol=1e-5)


def test_segments_are_64_frames_shifted_by_30() -> None:
    samples = sound(RATE * 2)  # 198 frames: 0-63, 30-93, 60-123, 90-153, 120-183
    starts, images = audio_images(samples, MfccConfig())
    np.testing.assert_allclose(starts, [0, 0.3, 0.6, 0.9, 1.2], atol=1e-12)
    assert images.shape == (5, 64, 64, 3)
    assert images.dtype == np.float16
    static = static_coefficients(samples, MfccConfig())
    for index in range(5):
        window = static[:, index * 30 : index * 30 + 64]
        first = deltas(window, 2)
        for channel, expected in enumerate((window, first, deltas(first, 2))):
            np.testing.assert_array_equal(images[index, :, :, channel], expected.astype(np.float16))


def test_a_segment_does_not_depend_on_what_surrounds_it() -> None:
    samples = sound(RATE * 2)
    _, all_images = audio_images(samples, MfccConfig())
    _, alone = audio_images(samples[4800 : 4800 + 10480], MfccConfig())
    np.testing.assert_allclose(
        alone[0].astype(np.float32), all_images[1].astype(np.float32), atol=0.02, rtol=2e-3
    )


def test_deltas_of_the_utterance_see_beyond_the_segment() -> None:
    samples = sound(RATE * 2)
    _, of_segment = audio_images(samples, MfccConfig())
    _, of_utterance = audio_images(samples, MfccConfig(delta_scope="utterance"))
    np.testing.assert_array_equal(of_segment[1, :, 4:-4], of_utterance[1, :, 4:-4])
    assert not np.array_equal(of_segment[1, :, 0, 1], of_utterance[1, :, 0, 1])


def test_a_region_shorter_than_a_segment_is_padded_with_its_last_frame() -> None:
    samples = sound(4000)  # 23 frames
    starts, images = audio_images(samples, MfccConfig())
    assert starts.tolist() == [0.0]
    static = static_coefficients(samples, MfccConfig()).astype(np.float16)
    np.testing.assert_array_equal(images[0, :, :23, 0], static)
    np.testing.assert_array_equal(images[0, :, 23:, 0], np.repeat(static[:, -1:], 41, axis=1))


@pytest.mark.parametrize("count", [0, 1, 399])
def test_even_less_than_a_window_gives_one_segment(count: int) -> None:
    starts, images = audio_images(sound(count), MfccConfig())
    assert starts.tolist() == [0.0]
    assert images.shape == (1, 64, 64, 3)


@pytest.mark.parametrize("level", [0.0, 1e-9, 1.0])
@pytest.mark.parametrize("features", ["mfcc", "log_mel"])
def test_the_values_fit_into_half_precision(level: float, features: str) -> None:
    square = np.where(np.arange(12000) // 20 % 2, level, -level).astype(np.float32)
    _, images = audio_images(square, MfccConfig(features=features))
    assert np.isfinite(images).all()
    assert np.abs(images).max() < 1000


def test_half_precision_is_finer_than_a_step_of_the_rescaled_image() -> None:
    samples = sound(10480)
    config = MfccConfig()
    static = static_coefficients(samples, config)
    first = deltas(static, 2)
    exact = np.stack([static, first, deltas(first, 2)], axis=-1)[None]
    _, images = audio_images(samples, config)
    assert np.abs(rescale(exact, "row") - rescale(images, "row")).max() < 1.0


def test_rows_are_rescaled_by_themselves() -> None:
    images = np.zeros((1, 2, 3, 1), dtype=np.float16)
    images[0, 0, :, 0] = [-100, 0, 100]
    images[0, 1, :, 0] = [1, 2, 5]
    expected = [[0, 127.5, 255], [0, 63.75, 255]]
    np.testing.assert_allclose(rescale(images, "row")[0, :, :, 0], expected, rtol=1e-5)


def test_channels_are_rescaled_as_a_whole() -> None:
    images = np.zeros((1, 2, 3, 1), dtype=np.float16)
    images[0, 0, :, 0] = [-100, 0, 100]
    images[0, 1, :, 0] = [0, 50, 100]
    expected = [[0, 127.5, 255], [127.5, 191.25, 255]]
    np.testing.assert_allclose(rescale(images, "channel")[0, :, :, 0], expected, rtol=1e-5)


def test_what_is_constant_becomes_zero() -> None:
    images = np.full((2, 4, 5, 3), -800, dtype=np.float16)
    for mode in ("row", "channel"):
        assert (rescale(images, mode) == 0).all()


def test_rescaling_stays_within_0_to_255_and_leaves_its_input_alone() -> None:
    images = np.random.default_rng(0).normal(size=(3, 64, 64, 3)).astype(np.float32) * 300
    before = images.copy()
    for mode in ("row", "channel"):
        scaled = rescale(images, mode)
        assert scaled.dtype == np.float32
        assert scaled.min() == 0
        assert scaled.max() == 255
        np.testing.assert_array_equal(images, before)


def test_another_way_to_rescale_is_refused() -> None:
    with pytest.raises(UsageError, match="row, channel"):
        rescale(np.zeros((1, 2, 2, 3), np.float32), "column")


def test_rescaling_and_deltas_work_where_only_numpy_is_installed() -> None:
    program = (
        "import sys\n"
        "for name in ('librosa', 'scipy', 'torch', 'cv2', 'av', 'decord'):\n"
        "    sys.modules[name] = None\n"
        "import numpy as np\n"
        "from pipelines.mfcc import deltas, rescale\n"
        "images = np.arange(24, dtype=np.float16).reshape(1, 2, 4, 3)\n"
        "print(rescale(images, 'row').max(), deltas(images[..., 0].astype('f4'), 2).shape)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "255.0 (1, 2, 4)\n"


def test_a_clips_own_rate_ends_the_filters_at_half_of_it() -> None:
    config = at_rate(MfccConfig(rate=0), 11025)
    assert (config.rate, config.high_hz) == (11025, 5512.5)
    assert at_rate(MfccConfig(rate=0), 44100).high_hz == 8000
    _, images = audio_images(sound(11025), config)
    assert images.shape[1:] == (64, 64, 3)


def test_a_rate_that_was_not_resolved_is_refused() -> None:
    with pytest.raises(UsageError, match=r"mfcc\.rate"):
        static_coefficients(sound(500), MfccConfig(rate=0))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("window_frames", 0),
        ("shift_frames", 0),
        ("coefficients", 65),
        ("mel_scale", "bark"),
        ("mel_norm", "area"),
        ("features", "plp"),
        ("delta_scope", "clip"),
        ("delta_width", 0),
        ("high_hz", 9000.0),
        ("low_hz", 8000.0),
        ("rate", -1),
        ("hop_s", 0.0),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"mfcc\.{key} \({value}\) must"):
        replace(MfccConfig(), **{key: value})  # type: ignore[arg-type]


def test_log_mel_needs_a_row_for_every_filter() -> None:
    with pytest.raises(UsageError, match=r"mfcc\.coefficients \(13\) must equal mfcc\.mels"):
        MfccConfig(features="log_mel", coefficients=13)
