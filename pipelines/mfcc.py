"""Audio images: mel-frequency cepstral coefficients and their deltas (section 3.2).

Only `static_coefficients` (and what calls it) needs librosa: `rescale` and `deltas` run where
nothing but NumPy is installed, which is where networks are trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipelines.errors import require, require_one_of

_Float = TypeVar("_Float", np.float32, np.float64)
CHANNELS = 3
"""Static, delta, delta-delta."""

RESCALINGS = ("row", "channel", "standardised")
"""Ways to bring stored audio images to 0-255; the last one is fitted by the training (its
`standardise` module), the others need the image alone (`rescale`)."""

_SMALLEST_POWER = 1e-10
"""Power below it counts as this much (-100 dB), so that silence has a logarithm."""


@dataclass
class MfccConfig:
    """How a region of audio becomes a stack of audio images."""

    rate: int = 16000
    """Samples per second; 0 keeps the clip's own rate (see `at_rate`)."""
    window_s: float = 0.025
    hop_s: float = 0.010
    mels: int = 64
    mel_scale: str = "slaney"
    """`slaney` (linear below 1 kHz) or `htk` (2595 log10(1 + f / 700))."""
    mel_norm: str = "slaney"
    """`slaney` (filters of equal area) or `none` (filters of equal height)."""
    low_hz: float = 20.0
    high_hz: float = 8000.0
    features: str = "mfcc"
    """`mfcc`, or `log_mel` for the filters' log energies without the cosine transform."""
    coefficients: int = 64
    """Rows of an audio image; with `log_mel` as many as there are filters."""
    window_frames: int = 64
    shift_frames: int = 30
    delta_width: int = 2
    """N of equation 4."""
    delta_scope: str = "segment"
    """`segment`: deltas of each segment, edges repeated; `utterance`: of the whole region."""

    def __post_init__(self) -> None:
        """Refuse values that make no sense, naming the key."""
        require(self.rate >= 0, f"mfcc.rate ({self.rate}) must be above 0, or 0 for the clip's own")
        require(self.window_s > 0, f"mfcc.window_s ({self.window_s}) must be above 0")
        require(self.hop_s > 0, f"mfcc.hop_s ({self.hop_s}) must be above 0")
        require(self.mels >= 1, f"mfcc.mels ({self.mels}) must be at least 1")
        require_one_of("mfcc.mel_scale", self.mel_scale, ("slaney", "htk"))
        require_one_of("mfcc.mel_norm", self.mel_norm, ("slaney", "none"))
        require_one_of("mfcc.features", self.features, ("mfcc", "log_mel"))
        require_one_of("mfcc.delta_scope", self.delta_scope, ("segment", "utterance"))
        require(
            0 <= self.low_hz < self.high_hz,
            f"mfcc.low_hz ({self.low_hz}) must be at least 0 and below mfcc.high_hz "
            f"({self.high_hz})",
        )
        require(
            self.rate == 0 or self.high_hz <= self.rate / 2,
            f"mfcc.high_hz ({self.high_hz}) must be at most half of mfcc.rate ({self.rate})",
        )
        require(
            1 <= self.coefficients <= self.mels,
            f"mfcc.coefficients ({self.coefficients}) must be from 1 to mfcc.mels ({self.mels})",
        )
        require(
            self.features == "mfcc" or self.coefficients == self.mels,
            f"mfcc.coefficients ({self.coefficients}) must equal mfcc.mels ({self.mels}) "
            "when mfcc.features is log_mel",
        )
        require(
            self.window_frames >= 2,
            f"mfcc.window_frames ({self.window_frames}) must be at least 2",
        )
        require(
            self.shift_frames >= 1, f"mfcc.shift_frames ({self.shift_frames}) must be at least 1"
        )
        require(self.delta_width >= 1, f"mfcc.delta_width ({self.delta_width}) must be at least 1")


def at_rate(config: MfccConfig, rate: int) -> MfccConfig:
    """`config` for audio of the given rate: the filters end at half of it at the latest."""
    return replace(config, rate=rate, high_hz=min(config.high_hz, rate / 2))


def segment_seconds(config: MfccConfig) -> float:
    """Length of one segment in seconds: 63 hops and a window, 0.655 by default (section 3.2)."""
    return round((config.window_frames - 1) * config.hop_s + config.window_s, 9)


def segment_samples(config: MfccConfig) -> int:
    """Samples of one segment; a region with fewer is padded to one segment."""
    window, hop = window_and_hop(config)
    return (config.window_frames - 1) * hop + window


def static_coefficients(
    samples: npt.NDArray[np.float32], config: MfccConfig
) -> npt.NDArray[np.float32]:
    """Coefficients (or log mel energies) of every 25 ms window (section 3.2, equations 2-3).

    The Fourier transform has the next power of two points (512 for 400 samples): at 400 points
    the lowest filters would hold a single bin. librosa centres a shorter window in it, so the
    signal is moved by the difference: frame i covers exactly the samples from i * hop to
    i * hop + window. Energies are in dB, with no floor but that of silence (-100 dB): librosa's
    own of 80 dB below the loudest would make a segment depend on its surroundings. Equation 3's
    factor 1/N would only add a constant to c0 and is left out, as librosa does.

    Args:
        samples: mono [n] at `config.rate`.
        config: see `MfccConfig`; its rate must be set (`at_rate`).

    Returns:
        float32 [coefficients, frames] with frames = 1 + (n - window) // hop, at least 1: a
        signal shorter than one window is filled up with zeros.
    """
    import librosa

    window, hop = window_and_hop(config)
    points = 1 << (window - 1).bit_length()
    before = (points - window) // 2
    behind = points - window - before + max(0, window - samples.shape[0])
    energies = librosa.feature.melspectrogram(
        y=np.pad(np.asarray(samples, dtype=np.float32), (before, behind)),
        sr=config.rate,
        n_fft=points,
        win_length=window,
        hop_length=hop,
        window="hamming",
        center=False,
        power=2.0,
        n_mels=config.mels,
        fmin=config.low_hz,
        fmax=config.high_hz,
        htk=config.mel_scale == "htk",
        norm=None if config.mel_norm == "none" else config.mel_norm,
    )
    decibels = librosa.power_to_db(energies, ref=1.0, amin=_SMALLEST_POWER, top_db=None)
    if config.features == "mfcc":
        decibels = librosa.feature.mfcc(
            S=decibels, n_mfcc=config.coefficients, dct_type=2, norm="ortho"
        )
    return np.asarray(decibels, dtype=np.float32)


def deltas(static: npt.NDArray[np.float32], width: int) -> npt.NDArray[np.float32]:
    """Differences along time by equation 4, the first and the last frame repeated at the edges.

    Args:
        static: [..., frames].
        width: N of equation 4.

    Returns:
        float32 of the same shape.
    """
    frames = static.shape[-1]
    edges = [(0, 0)] * (static.ndim - 1) + [(width, width)]
    padded = np.pad(static.astype(np.float32), edges, mode="edge")
    total = np.zeros(static.shape, dtype=np.float32)
    for n in range(1, width + 1):
        later = padded[..., width + n : width + n + frames]
        earlier = padded[..., width - n : width - n + frames]
        total += np.float32(n) * (later - earlier)
    return total / np.float32(2 * sum(n * n for n in range(1, width + 1)))


def audio_images(
    samples: npt.NDArray[np.float32], config: MfccConfig
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float16]]:
    """Segments of a region as images: 64 frames each, shifted by 30 (section 3.2).

    A region shorter than one segment (`len(samples) < segment_samples(config)`) gives one
    segment whose last frame is repeated to its end: silence would take the whole range when the
    image is rescaled. Frames after the last whole segment are left out.

    Args:
        samples: mono [n] of the region at `config.rate`.
        config: see `MfccConfig`; its rate must be set (`at_rate`).

    Returns:
        Starts of the segments in seconds from sample 0 [s], and unscaled images float16
        [s, coefficients, window_frames, 3] of static, delta and delta-delta; s >= 1.
    """
    static = _filled(static_coefficients(samples, config), config)
    whole = _channels(static, config.delta_width)
    starts = _starts(static, config)
    windows = [whole[:, start : start + config.window_frames] for start in starts]
    if config.delta_scope == "segment":
        windows = [_channels(window[..., 0], config.delta_width) for window in windows]
    _, hop = window_and_hop(config)
    starts_s = np.asarray(starts * (hop / config.rate), dtype=np.float64)
    return starts_s, np.stack(windows).astype(np.float16)


def segment_windows(values: npt.NDArray[np.float64], config: MfccConfig) -> npt.NDArray[np.float64]:
    """Cut what there is of every frame, [frames], into segments as `audio_images` does.

    Returns:
        [s, window_frames].
    """
    values = _filled(values, config)
    starts = _starts(values, config)
    return np.stack([values[start : start + config.window_frames] for start in starts])


def rescale(
    images: npt.NDArray[np.float16] | npt.NDArray[np.float32], mode: str
) -> npt.NDArray[np.float32]:
    """Bring unscaled audio images to the range 0-255 (section 3.2).

    Args:
        images: [..., coefficients, frames, channels].
        mode: `row` for each coefficient row of each segment and channel by itself, or `channel`
            for each channel of each segment (then c0 takes most of the range).

    Returns:
        float32 of the same shape, in 0..255; what is constant becomes 0.

    Raises:
        UsageError: an unknown mode.
    """
    require_one_of("rescale", mode, ("row", "channel"))
    axes = (-2,) if mode == "row" else (-3, -2)
    values = images.astype(np.float32)
    values -= values.min(axis=axes, keepdims=True)
    spread = values.max(axis=axes, keepdims=True)
    scale = np.divide(np.float32(255), spread, out=np.zeros_like(spread), where=spread > 0)
    return np.asarray(np.minimum(values * scale, np.float32(255)))


def window_and_hop(config: MfccConfig) -> tuple[int, int]:
    """Samples of the analysis window and of its hop."""
    require(config.rate > 0, "mfcc.rate (0) must be resolved: use at_rate with the clip's own rate")
    return round(config.window_s * config.rate), round(config.hop_s * config.rate)


def _filled(values: npt.NDArray[_Float], config: MfccConfig) -> npt.NDArray[_Float]:
    """[..., frames], the last one repeated up to the end of one segment where there are fewer."""
    missing = max(0, config.window_frames - values.shape[-1])
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)], mode="edge")


def _starts(values: npt.NDArray[_Float], config: MfccConfig) -> npt.NDArray[np.int64]:
    """First frame of each segment of [..., frames]."""
    return np.arange(0, values.shape[-1] - config.window_frames + 1, config.shift_frames)


def _channels(static: npt.NDArray[np.float32], width: int) -> npt.NDArray[np.float32]:
    """Static [c, t] with its deltas and theirs: [c, t, 3]."""
    first = deltas(static, width)
    return np.stack([static, first, deltas(first, width)], axis=-1)
