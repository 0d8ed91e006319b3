"""Voice activity detection by the ratio of speech band energy (section 3.1, equation 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.errors import require

_DIGITAL_SILENCE = 2.0**-15
"""Root mean square of one step of 16-bit audio: below it a window holds no recording at all."""


@dataclass
class VadConfig:
    """How speech-inactive ends are found and how much is kept around the voice."""

    enabled: bool = True
    window_s: float = 0.02
    hop_s: float = 0.01
    band_low_hz: float = 80.0
    """f_s of equation 1."""
    band_high_hz: float = 4000.0
    """f_e of equation 1."""
    ratio_threshold: float = 0.4
    """SR_th of equation 1."""
    smoothing_s: float = 0.25
    """Length of the median filter over the windows' decisions; 0 leaves them as they are."""
    floor_db: float = 7.0
    """A window also needs this much more energy than the clip's quiet windows, in dB."""
    floor_percentile: float = 5.0
    """Which percentile of the clip's window energies stands for its quiet windows."""
    before_s: float = 0.2
    """delta_1 of section 3.1: kept before the voice."""
    after_s: float = 0.2
    """delta_2 of section 3.1: kept after the voice."""

    def __post_init__(self) -> None:
        """Refuse values that make no sense, naming the key."""
        require(self.window_s > 0, f"vad.window_s ({self.window_s}) must be above 0")
        require(
            0 < self.hop_s <= self.window_s,
            f"vad.hop_s ({self.hop_s}) must be above 0 and at most vad.window_s ({self.window_s})",
        )
        require(
            0 <= self.band_low_hz < self.band_high_hz,
            f"vad.band_low_hz ({self.band_low_hz}) must be at least 0 "
            f"and below vad.band_high_hz ({self.band_high_hz})",
        )
        require(
            0 < self.ratio_threshold < 1,
            f"vad.ratio_threshold ({self.ratio_threshold}) must be between 0 and 1",
        )
        require(
            0 <= self.floor_percentile <= 100,
            f"vad.floor_percentile ({self.floor_percentile}) must be between 0 and 100",
        )
        for name in ("smoothing_s", "floor_db", "before_s", "after_s"):
            value = getattr(self, name)
            require(value >= 0, f"vad.{name} ({value}) must be at least 0")


@dataclass(frozen=True)
class VoiceRegion:
    """The part of a clip that is used, in seconds from sample 0."""

    start_s: float
    end_s: float
    found: bool
    """Whether voice was found; False where the whole clip stands in, also when VAD is off."""


def speech_ratios(
    samples: npt.NDArray[np.float32], rate: int, config: VadConfig
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """SR_i of equation 1 and the mean power of every window.

    Args:
        samples: mono [n].
        rate: samples per second.
        config: windows and speech band.

    Returns:
        ratios [windows] in 0..1 (0 for a window without energy) and mean power [windows] as the
        square of amplitude; both empty for a clip shorter than one window.
    """
    window = max(1, round(config.window_s * rate))
    hop = max(1, round(config.hop_s * rate))
    if samples.shape[0] < window:
        return np.zeros(0), np.zeros(0)
    centred = samples.astype(np.float64) - samples.mean(dtype=np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(centred, window)[::hop]
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    spectrum = np.abs(np.fft.rfft(frames * taper, axis=-1)) ** 2
    frequencies = np.fft.rfftfreq(window, 1 / rate)
    in_band = (frequencies >= config.band_low_hz) & (frequencies <= config.band_high_hz)
    total = spectrum.sum(axis=-1)
    band = spectrum[:, in_band].sum(axis=-1)
    ratios = np.divide(band, total, out=np.zeros_like(total), where=total > 0)
    return ratios, np.mean(frames**2, axis=-1)


def detect_voice(samples: npt.NDArray[np.float32], rate: int, config: VadConfig) -> VoiceRegion:
    """The region of interest from (t_start - delta_1) to (t_end + delta_2) of section 3.1.

    A window is active when its speech ratio reaches SR_th (equation 1) *and* its energy stands
    `floor_db` above the quiet windows of the clip: the ratio ignores level, so that room noise
    passes it. The decisions are smoothed by a median filter; pauses between the first and the
    last active window are kept.

    Args:
        samples: mono [n], any level.
        rate: samples per second.
        config: see `VadConfig`.

    Returns:
        The region relative to sample 0, within the clip. With VAD off, or with no active window,
        it is the whole clip and `found` is False.
    """
    duration = samples.shape[0] / rate
    whole = VoiceRegion(0.0, duration, found=False)
    if not config.enabled:
        return whole
    ratios, powers = speech_ratios(samples, rate, config)
    # Digital silence (padding) is no recording: it must not set the level of the quiet windows.
    recorded = powers > _DIGITAL_SILENCE**2
    if not recorded.any():
        return whole
    quiet = float(np.percentile(powers[recorded], config.floor_percentile))
    floor = quiet * 10 ** (config.floor_db / 10)
    active = recorded & (ratios >= config.ratio_threshold) & (powers >= floor)
    active = _smooth(active, round(config.smoothing_s / config.hop_s))
    if not active.any():
        return whole
    first, last = np.flatnonzero(active)[[0, -1]]
    start = float(first) * config.hop_s - config.before_s
    end = float(last) * config.hop_s + config.window_s + config.after_s
    return VoiceRegion(max(0.0, start), min(duration, end), found=True)


def _smooth(active: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """Median filter of decisions [n] over `width` windows (made odd), ends repeated."""
    half = width // 2
    if half == 0:
        return active
    padded = np.pad(active.astype(np.int64), half, mode="edge")
    votes = np.convolve(padded, np.ones(2 * half + 1, dtype=np.int64), mode="valid")
    return np.asarray(votes > half)
