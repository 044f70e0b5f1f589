"""Signal quality of a PPG window, and the reasons for a low one.

The limits were set on training records, rejected records and wristband recordings. A wrist pulse
has negative skewness where a finger pulse has positive, so the skewness of the signal is not used.
Both sites have in common: the pulse repeats, its rising edge is the steep one (the
slope's skewness is positive), and its size changes slowly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from innpar.stream.results import Reason

ACCEPT = 0.5
"""Lowest quality with which pressures are published."""

LEAST_RATE = 24.0
"""Lowest sampling rate with which pressures are published, Hz.

On 462 beats of four records (VitalDB, UCI, MIMIC), thinned with an anti-alias filter, the pressures
differ from those at 125 Hz by 0.6/0.4 mmHg (mean absolute SBP/DBP) at 31 Hz, 1.5/0.9 at 25 Hz,
3.0/1.7 at 21 Hz, 5.8/2.7 at 18 Hz and 16.6/7.5 at 12.5 Hz; without the filter by as much. Half of
it, 12 Hz, is where the network's band of 8 Hz still passes a sixth: the tenth harmonic of 72 beats
a minute.
"""
LEAST_PULSE_RATE = 16.0
"""Lowest sampling rate with which a heart rate is published, Hz: twice the band of the upstroke."""

# (value that scores 0, value that scores 1); halfway is the limit of acceptance.
PERIODICITY = (0.4, 0.9)  # ambient light reaches 0.57, 95 % of good finger windows exceed 0.84
STEEPNESS = (-0.3, 0.3)
UNSTEADINESS = (6.0, 2.0)  # largest over smallest standard deviation of fifths of a window
CLIPPED = (0.2, 0.02)  # share of samples that stand still at either rail
COARSE = (0.03, 0.35)  # share of samples in the middle of the range that repeat in a coarse pulse
GATHERED = 4.0  # samples at a limit relative to the next value; a parabola's top has 2.4
FLAT_SECONDS = (0.8, 0.3)  # longest constant run; 7-bit oximeters repeat a value for up to 0.3 s

BRIDGED = (0.4, 0.0)  # share of a window that lies in filled holes

DOUBT = 4.0
"""Inconsistency of the network's output, relative to the usual one, at which confidence is 0. On
wrist pulses, absent from its training data, it is up to one and a half times that on finger pulses.
"""

SHORTEST_RR, LONGEST_RR = 0.296, 1.6
"""Range of beat intervals searched in half windows, s."""
SLOWEST_RR = 2.1
"""Longest beat interval searched, in the whole window, s."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality of one window.

    Attributes:
        score: 0 to 1, the lowest of the single scores.
        reasons: Reasons whose score is below `ACCEPT`.
        steepness: Skewness of the slope; negative where the signal is upside down.
        light: The lowest of the scores that a heart rate needs: neither clipping nor a rhythm
            without a period moves an upstroke.
    """

    score: float
    reasons: tuple[Reason, ...]
    steepness: float
    light: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether pressures are published."""
        return self.score >= ACCEPT

    def at_most(self, confidence: float) -> Quality:
        """Return this quality, limited by the network's confidence, 0 to 1."""
        reasons = self.reasons
        if confidence < ACCEPT and "low_quality" not in reasons:
            reasons = (*reasons, "low_quality")
        return Quality(min(self.score, confidence), reasons, self.steepness, self.light)

    def at_rate(self, rate: float) -> Quality:
        """Return this quality for a device's sampling rate, Hz."""
        if rate >= LEAST_RATE:
            return self
        light = self.light if rate >= LEAST_PULSE_RATE else 0.0
        return Quality(0.0, ("rate", *self.reasons), self.steepness, light)

    def bridged(self, share: float) -> Quality:
        """Return this quality of a window with a share of it in filled holes."""
        score = _score(share, BRIDGED)
        if not share or score >= self.score:
            return self
        reasons = self.reasons if score >= ACCEPT else (*self.reasons, "gap")
        return Quality(score, reasons, self.steepness)


def confidence(usual: Mapping[str, float], found: Mapping[str, float]) -> float:
    """Return the consistency of the network's output with itself, 0 to 1.

    Two inconsistencies reveal bad input without a reference: between the reconstructed pressure and
    the gradient that the network outputs, and between the PPG and the PPG that the inverse network
    computes from the pressure and its gradient. (Neither reveals a biased pressure: the inverse of
    the unchanged output is the PPG itself, whatever it was.)

    Args:
        usual: Limits that most good windows stay below, by name, from the manifest.
        found: Values of a window, by the same names.
    """
    return min((_score(found[name], (DOUBT * v, v)) for name, v in usual.items()), default=1.0)


def _score(value: float, limits: tuple[float, float]) -> float:
    zero, one = limits
    return min(1.0, max(0.0, (value - zero) / (one - zero)))


def _longest_run(raw: npt.NDArray[np.float64]) -> int:
    changes = np.flatnonzero(np.diff(raw))
    return int(np.diff(changes, prepend=-1, append=len(raw) - 1).max())


def _clipped(raw: npt.NDArray[np.float64]) -> float:
    """Return the share of samples that repeat in the outer tenth of the range, at either end.

    In a coarse signal, whose samples repeat in the middle of the range too, the flat parts of a
    pulse are spread over several values, where a limit gathers them on the last one.
    """
    low, high = float(raw.min()), float(raw.max())
    still = np.diff(raw) == 0
    inner, still = raw[1:-1], still[1:] & still[:-1]
    margin = 0.1 * (high - low)
    ends = still & (inner <= low + margin), still & (inner >= high - margin)
    between = (inner > low + margin) & (inner < high - margin)
    repeated = float(np.mean(still[between])) if between.any() else 0.0
    if not COARSE[0] < repeated < COARSE[1]:
        return max(float(np.mean(end)) for end in ends)
    return max(_at_limit(inner[ends[0]]), _at_limit(-inner[ends[1]])) / len(inner)


def _at_limit(repeated: npt.NDArray[np.float64]) -> int:
    """Return the number of samples at the lowest value if far more than at the next one, else 0."""
    _, counts = np.unique(repeated, return_counts=True)
    gathered = len(counts) > 0 and (len(counts) == 1 or counts[0] >= GATHERED * counts[1])
    return int(counts[0]) if gathered else 0


def _periodicity(x: npt.NDArray[np.float64], rate: float) -> tuple[float, int]:
    """Return the largest autocorrelation peak at a beat-like lag, and that lag in samples.

    The peak is the mean over three half windows: over a whole window the beat intervals of a
    healthy young heart already vary enough to lower the correlation. Intervals too long for a half
    window are looked for in the whole one.
    """
    half = len(x) // 2
    shortest, longest = round(SHORTEST_RR * rate), round(LONGEST_RR * rate)
    halves = np.stack([x[start : start + half] for start in (0, half // 2, half)])
    peaks = _correlation_peaks(halves, shortest, longest)
    score = float(peaks.max(axis=1).mean())
    slow = _correlation_peaks(x[None], longest, round(SLOWEST_RR * rate))[0]
    if float(slow.max()) > score:
        return float(slow.max()), longest + 1 + int(np.argmax(slow))
    return score, shortest + 1 + int(np.argmax(peaks.mean(axis=0)))


def _correlation_peaks(
    rows: npt.NDArray[np.float64], shortest: int, longest: int
) -> npt.NDArray[np.float64]:
    """Return the autocorrelation of each row at the lags between, 0 where it has no peak."""
    count = rows.shape[1]
    rows = rows - rows.mean(axis=1, keepdims=True)
    products = np.fft.irfft(np.abs(np.fft.rfft(rows, 2 * count)) ** 2)[:, : longest + 1]
    energy = np.cumsum(rows**2, axis=1)
    lags = np.arange(longest + 1)
    head = energy[:, count - 1 - lags]
    tail = energy[:, -1:] - np.where(lags > 0, energy[:, lags - 1], 0.0)
    correlation = products / np.sqrt(head * tail + 1e-12)
    inner = correlation[:, shortest + 1 : longest]
    peak = (inner > correlation[:, shortest : longest - 1]) & (
        inner >= correlation[:, shortest + 2 : longest + 1]
    )
    return np.asarray(np.where(peak, inner, 0.0))


def _unsteadiness(x: npt.NDArray[np.float64], period: int) -> float:
    """Return the largest over the smallest deviation of parts that each hold a beat."""
    parts = 5 if 4 * period <= len(x) else 3 if 3 * period <= len(x) else 2
    deviations = x[: len(x) // parts * parts].reshape(parts, -1).std(axis=1)
    return float(deviations.max() / max(float(deviations.min()), 1e-6))


def assess(
    raw: npt.NDArray[np.float64], conditioned: npt.NDArray[np.float32], rate: float
) -> Quality:
    """Assess one window.

    Args:
        raw: (guard + window + guard,) samples in the sensor's unit.
        conditioned: (window,) the same conditioned, pulse upward.
        rate: Sampling rate, Hz.
    """
    x = conditioned.astype(np.float64)
    deviation = float(x.std())
    run = _longest_run(raw) / rate
    if deviation == 0.0:
        return Quality(0.0, ("flat",), 0.0)
    x /= deviation
    clipped = _clipped(raw)
    slope = np.diff(x)
    slope -= slope.mean()
    steepness = float(np.mean(slope**3) / (np.mean(slope**2) ** 1.5 + 1e-12))
    periodicity, period = _periodicity(x, rate)
    unsteadiness = _unsteadiness(x, period)
    scores: list[tuple[float, Reason]] = [
        (_score(run, FLAT_SECONDS), "flat"),
        (_score(unsteadiness, UNSTEADINESS), "motion"),
        (_score(steepness, STEEPNESS), "low_quality"),
    ]
    light = min(score for score, _ in scores)
    scores += [
        (_score(clipped, CLIPPED), "clipped"),
        (_score(periodicity, PERIODICITY), "low_quality"),
    ]
    reasons = dict.fromkeys(reason for score, reason in scores if score < ACCEPT)
    return Quality(min(score for score, _ in scores), tuple(reasons), steepness, light)
