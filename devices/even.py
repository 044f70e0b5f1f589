"""Time stamps that jitter → times fit to sample by, and a name for each hole. Pure.

Programs stamp samples when they get round to it: late, in bursts, or exactly. A delay-locked loop
(F. Adriaensen, "Using a DLL to filter time", Linux Audio Conference 2005) knows where the next
sample should lie; a stamp near that is believed as it is, any other is moved to just within reach.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .base import NS

REACH = 0.2
"""Periods a time may lie off the loop's: two such in a row still make no hole of 1.5 periods."""

HELD = 32
"""Stamps kept back at the start, until they tell the rate. Never longer than `HELD_SECONDS`."""

HELD_SECONDS = 1.5

BANDWIDTH = 0.1
"""Hz. How fast the loop follows: slow against bursts, fast against a crystal's drift."""

SETTLING = 2 * NS
LENIENT = 0.3 * NS
"""While settling, a stamp this late is jitter: nobody can know yet how bursty the sender is."""

NEAR = 0.05
"""A measured rate this close to the stated one is the stated one."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Samples with nothing missing between them.

    Attributes:
        times: (samples,) int64 ns on the sender's clock, ascending where the stamps are.
        lost: Samples missing just before the first of them; 0 for none.
    """

    times: npt.NDArray[np.int64]
    lost: int


class Even:
    """Places one stream's samples; see the module.

    Args:
        nominal: Samples a second that the sender states, Hz; 0 for "irregular", when stamps are
            believed unless they come in bursts.
    """

    def __init__(self, nominal: float) -> None:
        self._nominal = nominal
        self._held: list[int] = []
        self._period = NS / nominal if nominal > 0 else 0.0
        self._believe = False
        self._rate = nominal
        self._next: float | None = None  # where the loop expects the next sample
        self._jitter = 0.0  # largest recent distance between stamp and loop
        self._settled = 0.0  # ns since the start of the loop
        self.known = False
        """Whether the rate has been measured."""

    @property
    def rate(self) -> float:
        """Rate to state, Hz; 0 while nothing is known. One and a half of its periods are a hole."""
        return self._rate

    def restart(self) -> None:
        """What comes next has nothing to do with what came before, but for the rate."""
        self._next = None

    def push(self, stamps: npt.NDArray[np.int64]) -> list[Run]:
        """Take (samples,) int64 ns stamps; return what can now be placed."""
        if self.known:
            return self._place(stamps)
        self._held += stamps.tolist()
        # Enough of them, and time enough: a burst alone tells nothing.
        spans = self._held[-1] - self._held[0] if self._held else 0
        if len(self._held) < HELD or spans < HELD_SECONDS * NS / 3:
            return self.flush() if spans > HELD_SECONDS * NS and len(self._held) > 3 else []
        return self.flush()

    def flush(self) -> list[Run]:
        """Place what is held back."""
        held, self._held = np.array(self._held, np.int64), []
        if len(held) > 1:
            self._measure(held)
        elif self._period == 0.0:
            return []  # one stamp and no stated rate: there is no telling what it belongs to
        return self._place(held)

    def _measure(self, stamps: npt.NDArray[np.int64]) -> None:
        steps = np.diff(stamps)
        steps = steps[steps < max(4 * float(np.median(steps)), LENIENT)]
        mean = float(steps.mean()) if len(steps) else float(np.median(np.diff(stamps)))
        mean = max(mean, 1.0)  # ns: stamps that stand still tell no rate
        bursts = float((steps < 0.1 * mean).mean()) > 0.25 if len(steps) else False
        self.known = True
        self._believe = self._nominal <= 0 and not bursts
        if self._nominal > 0 and abs(NS / mean / self._nominal - 1) < NEAR:
            self._period, self._rate = NS / self._nominal, self._nominal
            return
        self._period, self._rate = mean, NS / mean
        if self._believe and len(steps):
            # An irregular sender's usual pause is no hole.
            self._rate = min(self._rate, 1.4 * NS / max(float(np.quantile(steps, 0.95)), 1.0))

    def _place(self, stamps: npt.NDArray[np.int64]) -> list[Run]:
        if not len(stamps):
            return []
        if self._believe:
            return [Run(stamps, 0)]
        runs: list[Run] = []
        times: list[int] = []
        before = 0
        for stamp in stamps.tolist():
            lost = self._hole(stamp)
            if lost:
                if times:
                    runs.append(Run(np.array(times, np.int64), before))
                times, before = [], lost
                self._next = None
            times.append(self._step(stamp))
        return [*runs, Run(np.array(times, np.int64), before)]

    def _hole(self, stamp: int) -> int:
        """Return how many samples are missing before this one."""
        if self._next is None:
            return 0
        late = stamp - self._next
        usual = LENIENT if self._settled < SETTLING else min(4 * self._jitter, NS)
        return round(late / self._period) if late > max(0.6 * self._period, usual) else 0

    def _step(self, stamp: int) -> int:
        """Return the time of a sample, and let the loop learn from its stamp."""
        expected = float(stamp) if self._next is None else self._next
        error = stamp - expected
        self._jitter = max(abs(error), self._jitter * 0.998)
        omega = 2 * math.pi * BANDWIDTH * self._period / NS
        if self._settled < SETTLING:
            omega *= 4
        # A step back of the sender's stamps must not turn time round.
        pull = max(-REACH * self._period, min(math.sqrt(2) * omega * error, REACH * self._period))
        self._next = expected + pull + self._period
        self._period += max(-0.01, min(omega**2 * error / self._period, 0.01)) * self._period
        self._settled += self._period
        reach = REACH * self._period
        return round(max(expected - reach, min(float(stamp), expected + reach)))
