"""Pulse waves of known rhythms, for the beat benchmark and its tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RATE = 100.0


@dataclass(frozen=True)
class Rhythm:
    """A pulse wave and its beats.

    Attributes:
        kind: Group in the benchmark.
        name: Name within the group.
        light: (samples,) at `RATE`, pulse upward, height about one.
        beats: (n,) times of the upstrokes, s.
    """

    kind: str
    name: str
    light: Floats
    beats: Floats


def _bell(time: Floats, width: float) -> Floats:
    return np.asarray(np.exp(-0.5 * (time / width) ** 2))


def pulse_wave(
    onsets: Floats, heights: Floats, seconds: float, dicrotic: float = 0.35, rate: float = RATE
) -> Floats:
    """Return pulses that begin at `onsets` (s), each with a dicrotic wave of that share.

    The width of a pulse follows the square root of the interval before it, as ejection time does.
    """
    time = np.arange(round(seconds * rate)) / rate
    wave = np.zeros(len(time))
    intervals = np.diff(onsets, prepend=onsets[0] - (onsets[1] - onsets[0]))
    for onset, height, interval in zip(onsets, heights, intervals, strict=True):
        first, end = np.searchsorted(time, [onset - 0.2, onset + 2.5])
        own = time[first:end] - onset
        s = float(np.sqrt(np.clip(interval, 0.25, 1.1) / 0.9))
        runoff = 0.35 * np.exp(-np.maximum(own / s - 0.16, 0) / 0.4) * (own / s > 0.16)
        runoff = np.convolve(runoff, np.full(9, 1 / 9), "same")
        # A dicrotic wave as high as the systolic one comes late, after a slow ejection.
        share, late = (dicrotic - 0.14, 0.36) if dicrotic > 0.6 else (dicrotic, 0.28)
        wave[first:end] += height * (
            0.9 * _bell(own / s - 0.16, 0.055)
            + share * _bell(own / s - 0.16 - late, 0.085)
            + runoff
        )
    return wave / 0.95


def regular(rate: float, seconds: float, rng: np.random.Generator, sd: float = 0.02) -> Floats:
    """Return onsets at `rate` a minute with a small variation."""
    interval = 60.0 / rate
    steps = interval * (1 + sd * np.clip(rng.normal(size=int(seconds / interval)), -2, 2))
    onsets = 0.4 + np.cumsum(steps)
    return np.asarray(onsets[onsets < seconds - 0.8])


def _of(
    kind: str, name: str, onsets: Floats, heights: Floats, seconds: float, **how: float
) -> Rhythm:
    noise, wander, breath = (how.pop(key, 0.0) for key in ("noise", "wander", "breath"))
    rng = np.random.default_rng(len(onsets))
    wave = pulse_wave(onsets, heights, seconds, **how)
    time = np.arange(len(wave)) / RATE
    wave += noise * rng.normal(size=len(wave))
    drift = np.sin(2 * np.pi * 0.07 * time) + 0.5 * np.sin(2 * np.pi * 0.21 * time + 1)
    wave += wander * drift + breath * 0.4 * np.sin(2 * np.pi * 0.25 * time)
    scale = np.sqrt(np.clip(np.diff(onsets, prepend=onsets[0] - 0.8), 0.25, 1.1) / 0.9)
    return Rhythm(kind, name, 1000 + 200 * wave, onsets + scale * 0.11)


def fibrillation(mean: float, seconds: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return onsets and heights: intervals without order, each pulse as high as it was filled."""
    intervals = np.clip(mean * np.exp(0.24 * rng.normal(size=int(2 * seconds / mean))), 0.36, 1.8)
    onsets = 0.4 + np.cumsum(intervals)
    kept = onsets < seconds - 0.8
    return onsets[kept], (1.15 * (1 - np.exp(-(intervals[kept] - 0.18) / 0.3)))


def ectopy(
    every: int, rate: float, seconds: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return onsets and heights: each `every`-th beat is early and weak, and a pause follows."""
    interval, at = 60.0 / rate, 0.6
    onsets, heights = list[float](), list[float]()
    while at < seconds - 1.8:
        early = len(onsets) % every == every - 1
        onsets.append(at - 0.32 * interval * early)
        heights.append(0.55 if early else 1.1 if len(onsets) % every == 1 else 1.0)
        at += interval * (1 + 0.015 * float(np.clip(rng.normal(), -2, 2)))
    return np.array(onsets), np.array(heights)


def breathing(rate: float, depth: float, seconds: float) -> tuple[Floats, Floats]:
    """Return onsets and heights of a strong respiratory arrhythmia, 13 breaths a minute."""
    at, onsets = 0.5, []
    while at < seconds - 1.5:
        onsets.append(at)
        at += 60.0 / (rate * (1 + depth * np.sin(2 * np.pi * 0.22 * at)))
    found = np.array(onsets)
    return found, 1 + 0.15 * np.sin(2 * np.pi * 0.22 * found)


def rhythms(seconds: float = 90.0, seed: int = 0) -> list[Rhythm]:
    """Return every rhythm of the benchmark."""
    rng = np.random.default_rng(seed)
    found = []

    def even(kind: str, name: str, rate: float, **how: float) -> None:
        onsets = regular(rate, seconds, rng)
        found.append(_of(kind, name, onsets, np.ones(len(onsets)), seconds, **how))

    for rate in (30, 33, 37, 45, 60, 80, 100, 120, 150, 165, 180, 200):
        even("sinus", f"{rate}", rate)
    for mean in (0.55, 0.7, 0.85):
        found.append(_of("AF", f"{60 / mean:.0f}", *fibrillation(mean, seconds, rng), seconds))
    for every, kind in ((2, "bigeminy"), (3, "trigeminy"), (4, "quadrigeminy")):
        for rate in (62, 75):
            found.append(_of(kind, f"{rate}", *ectopy(every, rate, seconds, rng), seconds))
    for share in (0.7, 0.85, 0.95, 1.05):
        for rate in (48, 60, 75, 88):
            even("dicrotic", f"{share:.0%} {rate}", rate, dicrotic=share)
    for noise in (0.1, 0.2, 0.3):
        for rate in (45, 66, 110):
            even("noise", f"{noise:g} {rate}", rate, noise=noise)
    for share in (0.7, 0.95):
        even("dicrotic+noise", f"{share:.0%} 60", 60, dicrotic=share, noise=0.1)
    for wander in (2.0, 5.0):
        for rate in (50, 72, 120):
            even("wander", f"{wander:g} {rate}", rate, wander=wander, breath=1.0)
    for depth in (0.15, 0.3):
        for rate in (55, 68, 80):
            onsets, heights = breathing(rate, depth, seconds)
            found.append(
                _of("respiration", f"{depth:g} {rate}", onsets, heights, seconds, breath=1.0)
            )
    return found


Detector = Callable[[Floats, float], Floats]
"""Times of the beats, s, of a light and its rate."""
