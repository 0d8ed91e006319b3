"""Voice activity detection by the ratio of speech band energy (section 3.1, equation 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.errors import require

_DIGITAL_SILENCE = 2.0**-15
"""Root mean square of one step of 16-bit audio: below it a window holds no recording at all."""
_ENERGY_SMOOTHING_S = 0.05
"""Energies are averaged over this long: those of single windows of noise vary by several dB."""
_GATED_SHARE = 0.5
"""A clip with less sound than this was gated: all that is left of it stands out from silence."""
_LOUD_PERCENTILE = 95.0
"""Which percentile of the active windows' energies stands for the loud ones."""
_LONGEST_PAUSE_S = 0.3
"""Longest silence across which a weak beginning or ending still belongs to the voice."""


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
    floor_db: float = 6.0
    """A window also needs this much more energy than the clip's quiet windows, in dB; here and
    below energy is that of the speech band."""
    floor_percentile: float = 5.0
    """Which percentile of the clip's window energies stands for its quiet windows."""
    range_db: float = 35.0
    """A window this far below the clip's loud ones is no voice: breath or reverberation, in dB."""
    edge_floor_db: float = 3.0
    """What the voice begins and ends with needs this much more, or `floor_db` if that is less."""
    edge_reach_s: float = 1.0
    """How far a weak beginning or ending may reach."""
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
        for name in (
            "smoothing_s",
            "floor_db",
            "edge_floor_db",
            "edge_reach_s",
            "before_s",
            "after_s",
        ):
            value = getattr(self, name)
            require(value >= 0, f"vad.{name} ({value}) must be at least 0")
        require(self.range_db > 0, f"vad.range_db ({self.range_db}) must be above 0")


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
    """SR_i of equation 1 and the power in the speech band of every window.

    Args:
        samples: mono [n].
        rate: samples per second.
        config: windows and speech band.

    Returns:
        ratios [windows] in 0..1 (0 for a window without energy) and the mean power of the speech
        band [windows] as the square of amplitude; both empty for a clip shorter than one window.
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
    return ratios, band * 2 / (window * np.sum(taper**2))


def detect_voice(samples: npt.NDArray[np.float32], rate: int, config: VadConfig) -> VoiceRegion:
    """The region of interest from (t_start - delta_1) to (t_end + delta_2) of section 3.1.

    A window is active when its speech ratio reaches SR_th (equation 1) *and* its energy stands
    `floor_db` above the quiet windows of the clip: the ratio ignores level, so that room noise
    passes it. The decisions are smoothed by a median filter; pauses between the first and the
    last active window are kept. Beyond those two, what the voice begins and ends with (a hissed
    consonant, a syllable that dies away) is followed while it stands `edge_floor_db` above.

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
    own = powers
    powers = _average(own, recorded, round(_ENERGY_SMOOTHING_S / config.hop_s))
    quiet = float(np.percentile(powers[recorded], config.floor_percentile))
    if recorded.mean() < _GATED_SHARE:
        quiet = _DIGITAL_SILENCE**2
    active = recorded & (ratios >= config.ratio_threshold)
    active &= powers >= quiet * 10 ** (config.floor_db / 10)
    if not active.any():
        return whole
    loud = float(np.percentile(powers[active], _LOUD_PERCENTILE))
    faintest = loud * 10 ** (-config.range_db / 10)
    active = _smooth(active & (powers >= faintest), round(config.smoothing_s / config.hop_s))
    if not active.any():
        return whole
    weakest = max(quiet * 10 ** (min(config.edge_floor_db, config.floor_db) / 10), faintest)
    # A window's own energy counts here too: the average spreads the voice over its surroundings.
    heard = recorded & (np.minimum(own, powers) >= weakest)
    first, last = (int(index) for index in np.flatnonzero(active)[[0, -1]])
    reach, pause = (round(s / config.hop_s) for s in (config.edge_reach_s, _LONGEST_PAUSE_S))
    last = _end_of_voice(heard, last, reach, pause)
    mirrored = len(heard) - 1
    first = mirrored - _end_of_voice(heard[::-1], mirrored - first, reach, pause)
    start = first * config.hop_s - config.before_s
    end = last * config.hop_s + config.window_s + config.after_s
    return VoiceRegion(max(0.0, start), min(duration, end), found=True)


def _average(
    powers: npt.NDArray[np.float64], recorded: npt.NDArray[np.bool_], width: int
) -> npt.NDArray[np.float64]:
    """Mean of the recorded powers [n] over `width` windows (made odd), 0 where there are none."""
    box = np.ones(2 * (width // 2) + 1)
    half = width // 2
    total = np.convolve(powers * recorded, box)[half : half + len(powers)]
    count = np.convolve(recorded.astype(np.float64), box)[half : half + len(powers)]
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def _smooth(active: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """Median filter of decisions [n] over `width` windows (made odd); beyond the ends is silence.

    Repeating the ends would let a click at the very start pass for voice.
    """
    half = width // 2
    if half == 0:
        return active
    padded = np.pad(active.astype(np.int64), half)
    votes = np.convolve(padded, np.ones(2 * half + 1, dtype=np.int64), mode="valid")
    return np.asarray(votes > half)


def _end_of_voice(heard: npt.NDArray[np.bool_], last: int, reach: int, pause: int) -> int:
    """Index of the last heard window [n] of the voice that is active up to about `last`.

    At most `reach` windows further, across pauses of up to `pause` windows.
    """
    marked = np.flatnonzero(heard[: last + reach + 1])
    marked = marked[max(0, np.searchsorted(marked, last, side="right") - 1) :]
    broken = np.flatnonzero(np.diff(marked) > pause + 1)
    if marked.size == 0:
        return last
    return int(marked[broken[0]] if broken.size else marked[-1])
