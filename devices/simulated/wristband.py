"""Simulated wristband sensor: counts, baseline wander, noise, motion and lost packets.

Magnitudes are those of wristband recordings: a pulse of some thousand counts on an offset of some
hundred thousand, with a baseline that wanders by ten pulses, in whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from innpar.devices.simulated.circulation import BLOCK, RATE

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

PPG_CHANNELS = ("ppg0", "ppg1", "ppg2", "ambient")
ACC_CHANNELS = ("x", "y", "z")
ACC_RATE = 52.0
"""Rate of the acceleration, Hz."""

SECONDS = BLOCK // RATE
"""Length of a block, s."""

_OFFSET = np.array([412_000.0, 367_000.0, 455_000.0])
_PULSE = np.array([2400.0, 2100.0, 1800.0])
_NOISE = np.array([28.0, 32.0, 36.0])
_AMBIENT = 2600.0


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Block of samples as measured by the sensor.

    Attributes:
        ppg: (samples, 4) counts, columns as in `PPG_CHANNELS`.
        ppg_lost: (samples,) mask of samples lost in transit.
        acc: (samples, 3) g.
        acc_lost: (samples,) mask of samples lost in transit.
    """

    ppg: Array
    ppg_lost: Mask
    acc: Array
    acc_lost: Mask


@dataclass(frozen=True, slots=True, eq=False)
class _Burst:
    """Movement or loss of a few seconds.

    Attributes:
        start: Seconds since the simulation began.
        length: Seconds.
        sway: (4, 3): frequency in Hz, phase and amplitude of each of its sinusoids.
        axis: (3,) unit vector of the arm's movement.
    """

    start: float
    length: float
    sway: Array
    axis: Array

    def inside(self, t: Array) -> Mask:
        return (t >= self.start) & (t < self.start + self.length)

    def at(self, t: Array) -> Array:
        """Return the movement at times `t`, about 1 at its peak."""
        x = np.clip((t - self.start) / self.length, 0.0, 1.0)
        frequency, phase, size = self.sway.T[:, :, None]
        sway: Array = (size * np.sin(2 * np.pi * frequency * t + phase)).sum(axis=0)
        return sway * np.sin(np.pi * x)


class Wristband:
    """Simulated sensor on a wrist, block by block.

    Args:
        seed: Determines noise, movements and lost packets.
        rate: PPG sampling rate, Hz.
        motion: Whether the arm moves.
        dropouts: Whether packets are lost.
    """

    def __init__(self, seed: int, rate: float, *, motion: bool, dropouts: bool) -> None:
        self.rate = rate
        self._seed = seed
        self._block = 0
        rng = np.random.default_rng([seed, 11])
        self._breath = float(rng.uniform(0.19, 0.27))
        self._phases = rng.uniform(0, 2 * np.pi, size=6)
        self._periods = rng.uniform((8.0, 21.0, 55.0), (14.0, 34.0, 90.0))
        self._moving = _Bursts([seed, 12], (32.0, 75.0), (2.5, 7.0)) if motion else None
        self._losing = _Bursts([seed, 13], (70.0, 160.0), (0.4, 2.2)) if dropouts else None

    def sense(self, volume: Array) -> Readings:
        """Return the samples of the next block.

        Args:
            volume: (BLOCK + 1,) blood volume of the skin, from `circulation`.
        """
        rng = np.random.default_rng([self._seed, 14, self._block])
        start = self._block * SECONDS
        self._block += 1
        t = _instants(start, self.rate)
        ta = _instants(start, ACC_RATE)
        bursts = self._moving.between(start, start + SECONDS) if self._moving else []
        losses = self._losing.between(start, start + SECONDS) if self._losing else []
        pulse = np.interp(t - start, np.arange(BLOCK + 1) / RATE, volume)
        return Readings(
            self._counts(t, pulse, bursts, rng),
            _any_inside(losses, t),
            self._acceleration(ta, bursts, rng),
            _any_inside(losses, ta),
        )

    def _counts(
        self, t: Array, pulse: Array, bursts: list[_Burst], rng: np.random.Generator
    ) -> Array:
        slow = np.sin(2 * np.pi * t / self._periods[:, None] + self._phases[:3, None])
        wander = np.array([700.0, 2500.0, 6000.0]) @ slow + 500.0 * np.sin(
            2 * np.pi * self._breath * t + self._phases[3]
        )
        for burst in bursts:
            wander = wander + 9000.0 * burst.at(t)
        noise = rng.normal(size=(4, len(t)))
        counts = np.empty((len(t), 4))
        for c in range(3):
            ground = _OFFSET[c] + wander * (1.0 - 0.15 * c)
            counts[:, c] = ground - _PULSE[c] * pulse + _NOISE[c] * noise[c]
        counts[:, 3] = _AMBIENT + 60.0 * slow[1] + 25.0 * noise[3]
        return np.rint(counts)

    def _acceleration(self, t: Array, bursts: list[_Burst], rng: np.random.Generator) -> Array:
        tilt = 0.25 * np.sin(2 * np.pi * t / self._periods[2] + self._phases[4])
        down = np.stack([0.3 * np.cos(tilt), np.sin(tilt), 0.954 * np.cos(tilt)], axis=1)
        moved = rng.normal(0.0, 0.006, size=(len(t), 3))
        for burst in bursts:
            moved += 0.45 * burst.at(t)[:, None] * burst.axis
        return np.round(down + moved, 3)


class _Bursts:
    """Bursts with pauses between them.

    Args:
        seed: Of their random sequence.
        quiet: Range of the pauses, s.
        length: Range of their lengths, s.
    """

    def __init__(
        self, seed: list[int], quiet: tuple[float, float], length: tuple[float, float]
    ) -> None:
        self._story = _story(np.random.default_rng(seed), quiet, length)
        self._upcoming = next(self._story)
        self._current: list[_Burst] = []

    def between(self, start: float, end: float) -> list[_Burst]:
        """Return the bursts that overlap `start` to `end`, s; calls must ascend in time."""
        while self._upcoming.start < end:
            self._current.append(self._upcoming)
            self._upcoming = next(self._story)
        self._current = [b for b in self._current if b.start + b.length > start]
        return self._current


def _story(
    rng: np.random.Generator, quiet: tuple[float, float], length: tuple[float, float]
) -> Iterator[_Burst]:
    start = 0.0
    while True:
        start += float(rng.uniform(*quiet))
        lasts = float(rng.uniform(*length))
        sway = rng.uniform((0.5, 0.0, 0.2), (3.2, 2 * np.pi, 0.6), size=(4, 3))
        axis = rng.normal(size=3)
        yield _Burst(start, lasts, sway, axis / np.linalg.norm(axis))
        start += lasts


def _instants(start: float, rate: float) -> Array:
    """Return the sampling times of the block that begins at `start`, s."""
    return np.arange(math.ceil(start * rate), math.ceil((start + SECONDS) * rate)) / rate


def _any_inside(bursts: list[_Burst], t: Array) -> Mask:
    inside = np.zeros(len(t), dtype=bool)
    for burst in bursts:
        inside |= burst.inside(t)
    return inside
