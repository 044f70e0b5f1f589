"""Sample times and holes from frames that are stamped with the time of their last sample. No I/O.

Times are ns on the sensor's own clock. Arrival times on the host serve only to distinguish a set
clock from a lost frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS

T = TypeVar("T")

TOLERANCE = 0.05
"""Relative difference within which a measured rate is taken for a known one; a Verity Sense was
observed 0.5 % off its nominal rate."""

HELD = 4
"""Most frames held back at the start, until two in succession determine the rate."""

AHEAD = 2 * NS
"""ns. A stamp further ahead of its arrival than this, relative to the smallest delay so far, means
that the sensor's clock was set."""

DRIFT = 1_000
"""The smallest delay is forgotten at one nanosecond in so many, because clocks drift."""

FASTEST = 16
"""Largest factor by which a sensor raises its rate: a frame stamped closer to the one before was
overtaken by it."""

LATE = 3 * NS
"""ns. A frame older than the one before by up to this was overtaken; beyond, the clock was set."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Missing samples.

    Attributes:
        start: Time of the last sample before, ns; None if the clock was set in between.
        lost: Samples missing; None if unknown.
    """

    start: int | None
    lost: int | None


@dataclass(frozen=True, slots=True, eq=False)
class PlacedSamples(Generic[T]):
    """Frame with the times of its samples.

    Attributes:
        times: (samples,) int64, ns on the sensor's clock; ascending, after all earlier ones.
        frame: As pushed.
        arrival: Time of receipt, ns on the host's clock.
        hole: Samples missing before the first; None if there are none.
    """

    times: npt.NDArray[np.int64]
    frame: T
    arrival: int
    hole: Hole | None


@dataclass(frozen=True, slots=True, eq=False)
class _Held(Generic[T]):
    time: int
    count: int
    frame: T
    arrival: int


def spread(previous: int | None, time: int, n: int, period: float) -> npt.NDArray[np.int64]:
    """Return the times of `n` evenly spaced samples, (n,) int64 ns, that end at `time`.

    Args:
        previous: Time of the sample before them, ns; None to space them by `period` instead.
        time: Time of the last sample, ns.
        n: Number of samples, at least one.
        period: ns.
    """
    step = period if previous is None else (time - previous) / n
    times: npt.NDArray[np.int64] = time - np.rint(step * np.arange(n - 1, -1, -1)).astype(np.int64)
    return times


class Timeline(Generic[T]):
    """Sample times of the frames of one signal.

    The rate is measured rather than assumed: the first frames are held back until two in succession
    determine it; from then on it follows the sensor.

    Args:
        rates: Possible rates, Hz, the most likely first.

    Attributes:
        late: Frames dropped because a frame with a later, or hardly earlier, stamp preceded them.
    """

    def __init__(self, rates: Sequence[float]) -> None:
        self._rates = tuple(rates)
        self._period = NS / rates[0]
        self._weight = 0
        self._held: list[_Held[T]] = []
        self._previous: int | None = None  # stamp of the last frame placed
        self._prompt = 0  # smallest recent arrival minus stamp
        self._fresh = False  # just reconnected: the next frame cannot be an old, delayed one
        self._odd: list[float] = []
        self.late: int = 0

    @property
    def rate(self) -> float:
        """Samples per second of the sensor's clock, as measured so far."""
        return NS / self._period

    @property
    def settled(self) -> bool:
        """Whether the rate has been measured."""
        return self._weight > 0

    def push(self, time: int, count: int, frame: T, arrival: int) -> list[PlacedSamples[T]]:
        """Take a frame; return the frames that can now be placed.

        Args:
            time: Stamp of its last sample, ns.
            count: Number of its samples, at least one.
            frame: Its content, returned with the times.
            arrival: ns on the host's clock.
        """
        held = _Held(time, count, frame, arrival)
        if self.settled:
            return self._place(held)
        if self._held and not self._follows(held):
            return self.flush() + self.push(time, count, frame, arrival)
        self._held.append(held)
        self._settle()
        return self.flush() if self.settled or len(self._held) >= HELD else []

    def flush(self) -> list[PlacedSamples[T]]:
        """Place the frames held back, at the likeliest rate if none was measured."""
        held, self._held = self._held, []
        return [placed for frame in held for placed in self._place(frame)]

    def restart(self) -> None:
        """Note that the sensor has reconnected."""
        self._fresh = True

    def _follows(self, frame: _Held[T]) -> bool:
        last = self._held[-1]
        return last.time < frame.time <= last.time + frame.arrival - last.arrival + AHEAD

    def _settle(self) -> None:
        """Measure the rate once two successive frames agree with a known one.

        A lost frame between them can only lengthen the step, so after `HELD` frames that agree with
        no known rate the shortest step is the best estimate.
        """
        steps = [(b.time - a.time) / b.count for a, b in pairwise(self._held)]
        known = [s for s in steps if any(abs(NS / s / r - 1) < TOLERANCE for r in self._rates)]
        if known or len(self._held) >= HELD:
            self._period, self._weight = known[-1] if known else min(steps), 1

    def _place(self, frame: _Held[T]) -> list[PlacedSamples[T]]:
        n = frame.count
        if self._previous is None:
            return [self._keep(frame, spread(None, frame.time, n, self._period), None)]
        before = self._previous
        if self._was_set(frame, before):
            return [self._keep(frame, spread(None, frame.time, n, self._period), Hole(None, None))]
        if frame.time - before < n * self._period / FASTEST:
            self.late += 1
            return []
        lost = round((frame.time - before) / self._period) - n
        if lost > 0 and not self._drifts(frame.time - before, n):
            times = spread(None, frame.time, n, self._period)
            return [self._keep(frame, times, Hole(before, lost))]
        if not self._fresh:
            self._learn((frame.time - before) / n)
        return [self._keep(frame, spread(before, frame.time, n, self._period), None)]

    def _was_set(self, frame: _Held[T], before: int) -> bool:
        """Return whether the sensor's clock was set since the previous frame.

        The previous frame and those that should have followed it may have been delayed, so only a
        comparison with the smallest delay shows that a stamp is ahead.
        """
        late = frame.arrival - frame.time - self._prompt
        if late < -AHEAD:
            return True
        return frame.time <= before - LATE or (self._fresh and late > AHEAD)

    def _drifts(self, elapsed: int, n: int) -> bool:
        """Return whether the rate changed (the same small excess three times), not a loss."""
        step = elapsed / n
        if abs(step / self._period - 1) > TOLERANCE:
            self._odd.clear()
            return False
        self._odd.append(step)
        if len(self._odd) < 3 or max(self._odd) / min(self._odd) > 1.01:
            return False
        self._period, self._weight = sum(self._odd) / len(self._odd), 1
        self._odd.clear()
        return True

    def _learn(self, step: float) -> None:
        """Update the rate: the mean of all frames at first, then of about the last sixteen."""
        self._odd.clear()
        self._weight = min(self._weight + 1, 16)
        self._period += (step - self._period) / self._weight

    def _keep(
        self, frame: _Held[T], times: npt.NDArray[np.int64], hole: Hole | None
    ) -> PlacedSamples[T]:
        delay = frame.arrival - frame.time
        anew = self._previous is None or (hole is not None and hole.start is None)
        forgotten = self._prompt + int(frame.count * self._period) // DRIFT
        self._prompt = delay if anew else min(delay, forgotten)
        self._previous, self._fresh = frame.time, False
        return PlacedSamples(times, frame.frame, frame.arrival, hole)
