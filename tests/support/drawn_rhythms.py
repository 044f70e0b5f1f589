"""Pulse waves of rhythms drawn at random, by another pulse model than that of `rhythms`.

The thresholds of the beat finder were set while looking at `rhythms`; these were made afterwards
and were never used to set one.
"""

from __future__ import annotations

import numpy as np

from support.rhythms import RATE, Floats, Rhythm

KINDS = ("sinus", "AF", "ectopy", "dicrotic", "noise", "wander", "respiration")


def drawn(seconds: float = 60.0, each: int = 6, seed: int = 20_261_129) -> list[Rhythm]:
    """Return `each` rhythms of every kind; their groups are called ``drawn`` and the kind."""
    found = []
    for number, kind in enumerate(KINDS):
        for n in range(each):
            rng = np.random.default_rng([seed, number, n])
            rate = float(rng.uniform(34, 180) if kind == "sinus" else rng.uniform(45, 110))
            intervals = _intervals(kind, rate, seconds, rng)
            found.append(_rhythm(kind, rate, intervals, seconds, rng))
    return found


def _intervals(kind: str, rate: float, seconds: float, rng: np.random.Generator) -> Floats:
    """Return beat intervals, s."""
    usual, count = 60.0 / rate, int(2 * seconds * rate / 60) + 4
    slow = np.cumsum(rng.normal(size=count)) * 0.004
    intervals = usual * (1 + 0.015 * rng.normal(size=count) + np.clip(slow, -0.15, 0.15))
    if kind == "AF":
        intervals = np.clip(rng.gamma(16.0, usual / 16.0, size=count), 0.36, 1.7)
    elif kind == "ectopy":
        early = np.flatnonzero(rng.random(count) < 0.2)
        early = early[(np.diff(early, prepend=-9) > 1) & (early < count - 1)]
        shift = rng.uniform(0.2, 0.38, size=len(early)) * usual
        intervals[early] -= shift
        intervals[early + 1] += shift
    elif kind == "respiration":
        depth, breaths = rng.uniform(0.1, 0.25), rng.uniform(0.15, 0.3)
        intervals *= 1 + depth * np.sin(2 * np.pi * breaths * np.cumsum(intervals))
    return np.asarray(intervals)


def _rhythm(
    kind: str, rate: float, intervals: Floats, seconds: float, rng: np.random.Generator
) -> Rhythm:
    onsets = 0.5 + np.cumsum(intervals)
    kept = onsets < seconds - 1.2
    onsets, before = onsets[kept], intervals[kept]
    rise = float(rng.uniform(0.11, 0.2)) * np.sqrt(np.clip(before, 0.3, 1.2))  # foot to top, s
    shape = float(rng.uniform(2.0, 4.0))
    late, share = float(rng.uniform(0.26, 0.34)), float(rng.uniform(0.1, 0.5))
    if kind == "dicrotic":
        late, share = float(rng.uniform(0.32, 0.4)), float(rng.uniform(0.7, 1.05))
    time, wave = np.arange(round(seconds * RATE)) / RATE, np.zeros(round(seconds * RATE))
    for onset, interval, top in zip(onsets, before, rise, strict=True):
        height = 1 - np.exp(-(interval - 0.2) / 0.25)  # the less time to fill, the weaker
        wave += height * (_wave(time - onset, top, shape) + 0.3 * _run_off(time - onset - top))
        wave += height * share * _wave(time - onset - late * np.sqrt(interval), top, shape)
    noise = rng.uniform(0.1, 0.25) if kind == "noise" else 0.01
    wave += noise * np.std(wave) * 2 * rng.normal(size=len(wave))
    wander = rng.uniform(1.0, 4.0) if kind == "wander" else 0.1
    for frequency in rng.uniform(0.03, 0.35, size=4):
        wave += wander / 2 * np.sin(2 * np.pi * (frequency * time + rng.random()))
    steepest = rise * (1 - 1 / np.sqrt(shape))
    return Rhythm(f"drawn {kind}", f"{rate:.0f}", 50_000 + 3000 * wave, onsets + steepest)


def _run_off(time: Floats) -> Floats:
    """Return the emptying of the arteries after the systolic peak, which keeps the foot of a
    dicrotic wave above that of the pulse; without it, that wave is a pulse of its own."""
    rise = 1 - np.exp(-np.clip(time, 0.0, None) / 0.05)
    return np.asarray(rise * np.exp(-np.clip(time, 0.0, None) / 0.35))


def _wave(time: Floats, top: float, shape: float) -> Floats:
    """Return a gamma-shaped pulse: 0 before `time` 0, 1 at `top`, s."""
    own = np.clip(time / top, 0.0, None)
    return np.asarray(own**shape * np.exp(shape * (1 - own)))
