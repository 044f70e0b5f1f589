"""Frames stamped with the time of their last sample: a time for each sample, a name for each hole.

Pure. Times are ns on the sensor's own clock. Arrival times on the host serve only to tell a set
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
"""A rate this close to a known one is that rate; a Verity Sense was seen 0.5 % off its word."""

HELD = 4
"""Most frames kept back at the start until two in a row tell the rate."""

AHEAD = 2 * NS
"""A frame cannot be stamped further ahead of its arrival than this, beside the promptest so far:
its clock was set."""

DRIFT = 1_000
"""How promptly the promptest came is forgotten at a nanosecond in so many: clocks run apart."""

FASTEST = 16
"""No sensor changes its rate by more: a frame stamped so close behind another was overtaken."""

LATE = 3 * NS
"""A frame up to this much older than the one before was overtaken; an older one has a set clock."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Missing samples.

    Attributes:
        start: Time of the last sample before; None where the clock was set in between.
        lost: Samples missing; None where nobody can know.
    """

    start: int | None
    lost: int | None


@dataclass(frozen=True, slots=True, eq=False)
class PlacedSamples(Generic[T]):
    """A frame with the times of its samples.

    Attributes:
        times: (samples,) int64, ns on the sensor's clock, ascending, after everything before.
        frame: As pushed.
        arrival: When the frame was received, ns on the host's clock.
        hole: What is missing before the first of them.
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
    """Return the times of `n` samples of which the last was taken at `time`.

    Args:
        previous: Time of the sample before them; None steps back by `period` instead.
        time: ns.
        n: At least one.
        period: ns.
    """
    step = period if previous is None else (time - previous) / n
    times: npt.NDArray[np.int64] = time - np.rint(step * np.arange(n - 1, -1, -1)).astype(np.int64)
    return times


class Timeline(Generic[T]):
    """Places the frames of one stream.

    The rate is measured, not believed: the first frames are held back until two in a row tell it,
    and it follows the sensor from then on.

    Args:
        rates: What the rate may be, Hz, the most likely first.
    """

    def __init__(self, rates: Sequence[float]) -> None:
        self._rates = tuple(rates)
        self._period = NS / rates[0]
        self._weight = 0
        self._held: list[_Held[T]] = []
        self._previous: int | None = None  # stamp of the last frame placed
        self._prompt = 0  # least arrival minus stamp of late
        self._fresh = False  # just reconnected: the next frame cannot be an old one held up
        self._odd: list[float] = []
        self.late: int = 0
        """Frames dropped because one stamped later, or hardly earlier, had come before them."""

    @property
    def rate(self) -> float:
        """Samples a second of the sensor's clock, as measured so far."""
        return NS / self._period

    @property
    def settled(self) -> bool:
        """Whether the rate has been measured."""
        return self._weight > 0

    def push(self, time: int, count: int, frame: T, arrival: int) -> list[PlacedSamples[T]]:
        """Take a frame; return what can now be placed.

        Args:
            time: Stamp of its last sample, ns.
            count: Its samples, at least one.
            frame: Whatever should come back with the times.
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
        """Place what is held back, believing the likeliest rate where none was measured."""
        held, self._held = self._held, []
        return [placed for frame in held for placed in self._place(frame)]

    def restart(self) -> None:
        """The link was renewed."""
        self._fresh = True

    def _follows(self, frame: _Held[T]) -> bool:
        last = self._held[-1]
        return last.time < frame.time <= last.time + frame.arrival - last.arrival + AHEAD

    def _settle(self) -> None:
        """Measure the rate once two successive frames agree with a known one.

        A lost frame between them only ever lengthens the step, so after `HELD` frames that agree
        with nothing the shortest step is the best witness.
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
        """Tell whether the sensor's clock was set since the previous frame.

        The previous frame may have been held up, with all that should have followed it: only beside
        the promptest does a frame show that its clock is ahead.
        """
        late = frame.arrival - frame.time - self._prompt
        if late < -AHEAD:
            return True
        return frame.time <= before - LATE or (self._fresh and late > AHEAD)

    def _drifts(self, elapsed: int, n: int) -> bool:
        """Tell a changed rate, the same small excess three times running, from lost samples."""
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
        """Follow the rate: the mean at first, then of about the last sixteen frames."""
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
