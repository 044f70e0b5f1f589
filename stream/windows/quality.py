"""How far a window of PPG can be trusted, and why not further.

The limits were set on the shared training records, the rejected records and wristband recordings:
a wrist pulse has negative skewness where a finger pulse has positive, so neither skewness nor its
sign decides here. What both sites share: the pulse repeats, its rising edge is the steep one (the
slope's skewness is positive), and its size changes slowly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from innpar.stream.results import Reason

ACCEPT = 0.5
"""Least quality with which pressures are published."""

# (value that scores 0, value that scores 1); halfway is the limit of acceptance.
PERIODICITY = (0.4, 0.9)  # ambient light reaches 0.57, 95 % of good finger windows exceed 0.84
STEEPNESS = (-0.3, 0.3)
UNSTEADINESS = (6.0, 2.0)  # largest over smallest standard deviation of fifths of a window
CLIPPED = (0.2, 0.02)  # share of samples that stand still at either rail
FLAT_SECONDS = (0.8, 0.3)  # longest constant run; 7-bit oximeters repeat a value for up to 0.3 s

DOUBT = 4.0
"""The network's contradictions at which confidence is gone, relative to the usual ones. Wrist
pulses, which it has never seen, contradict it up to half again as much as finger pulses do."""

SHORTEST_RR, LONGEST_RR = 0.296, 1.6
"""Beat intervals searched, s."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Of one window.

    Attributes:
        score: 0 to 1, the least of the single scores.
        reasons: Which of them fall below `ACCEPT`.
        steepness: Skewness of the slope; negative where the signal is upside down.
    """

    score: float
    reasons: tuple[Reason, ...]
    steepness: float

    @property
    def accepted(self) -> bool:
        return self.score >= ACCEPT

    def at_most(self, confidence: float) -> Quality:
        """Return this quality, bounded by the network's own confidence, 0 to 1."""
        reasons = self.reasons
        if confidence < ACCEPT and "low_quality" not in reasons:
            reasons = (*reasons, "low_quality")
        return Quality(min(self.score, confidence), reasons, self.steepness)


def confidence(usual: Mapping[str, float], found: Mapping[str, float]) -> float:
    """Return how little the network contradicts itself, 0 to 1.

    Two contradictions show bad input without knowing the truth: between the reconstructed pressure
    and the network's own account of its gradient, and between the PPG and what the inverse makes of
    the pressure and its gradient. (Neither shows a biased pressure. The exact inverse of the exact
    output is the PPG again, whatever the PPG was.)

    Args:
        usual: Names and values that most good windows stay below, as a manifest gives them.
        found: The same names' values of a window.
    """
    return min((_score(found[name], (DOUBT * v, v)) for name, v in usual.items()), default=1.0)


def _score(value: float, limits: tuple[float, float]) -> float:
    zero, one = limits
    return min(1.0, max(0.0, (value - zero) / (one - zero)))


def _longest_run(raw: npt.NDArray[np.float64]) -> int:
    changes = np.flatnonzero(np.diff(raw))
    return int(np.diff(changes, prepend=-1, append=len(raw) - 1).max())


def _clipped(raw: npt.NDArray[np.float64]) -> float:
    """Share of samples that stand still in the outer tenth of the range, above or below."""
    low, high = float(raw.min()), float(raw.max())
    still = np.diff(raw) == 0
    inner, still = raw[1:-1], still[1:] & still[:-1]
    margin = 0.1 * (high - low)
    return max(
        float(np.mean(still & (inner <= low + margin))),
        float(np.mean(still & (inner >= high - margin))),
    )


def _periodicity(x: npt.NDArray[np.float64], rate: float) -> float:
    """Mean over three half windows of the largest autocorrelation peak at a beat-like lag.

    Half windows, because over a whole one the beat intervals of a healthy young heart already vary
    enough to spoil the correlation.
    """
    half = len(x) // 2
    shortest, longest = round(SHORTEST_RR * rate), round(LONGEST_RR * rate)
    halves = np.stack([x[start : start + half] for start in (0, half // 2, half)])
    halves = halves - halves.mean(axis=1, keepdims=True)
    products = np.fft.irfft(np.abs(np.fft.rfft(halves, 2 * half)) ** 2)[:, : longest + 1]
    energy = np.cumsum(halves**2, axis=1)
    lags = np.arange(longest + 1)
    head = energy[:, half - 1 - lags]
    tail = energy[:, -1:] - np.where(lags > 0, energy[:, lags - 1], 0.0)
    correlation = products / np.sqrt(head * tail + 1e-12)
    inner = correlation[:, shortest + 1 : longest]
    peak = (inner > correlation[:, shortest : longest - 1]) & (
        inner >= correlation[:, shortest + 2 : longest + 1]
    )
    return float(np.where(peak, inner, 0.0).max(axis=1).mean())


def assess(
    raw: npt.NDArray[np.float64], conditioned: npt.NDArray[np.float32], rate: float
) -> Quality:
    """Judge one window.

    Args:
        raw: (guard + window + guard,) the sensor's unit.
        conditioned: (window,) of the same, pulse upward.
        rate: Hz.
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
    fifths = x[: len(x) // 5 * 5].reshape(5, -1).std(axis=1)
    unsteadiness = float(fifths.max() / max(float(fifths.min()), 1e-6))
    scores: list[tuple[float, Reason]] = [
        (_score(run, FLAT_SECONDS), "flat"),
        (_score(clipped, CLIPPED), "clipped"),
        (_score(unsteadiness, UNSTEADINESS), "motion"),
        (_score(_periodicity(x, rate), PERIODICITY), "low_quality"),
        (_score(steepness, STEEPNESS), "low_quality"),
    ]
    reasons = dict.fromkeys(reason for score, reason in scores if score < ACCEPT)
    return Quality(min(score for score, _ in scores), tuple(reasons), steepness)
