"""Time stamps that jitter → times fit to sample by, and a name for each hole. Pure.

Programs stamp samples when they get round to it: late, in bursts, or exactly. A delay-locked loop
(F. Adriaensen, "Using a DLL to filter time", Linux Audio Conference 2005) knows where the next
sample should lie; a stamp near that is believed as it is, any other is moved to just within reach.

A stamp too late for that may be of the first sample after a hole, or of the first of a backlog that
was stamped when it was sent: what follows tells, so one sample is waited for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS

REACH = 0.2
"""Periods a time may lie off the loop's: two such in a row still make no hole of 1.5 periods."""

HELD = 32
"""Stamps kept back at the start, until they tell the rate; where none is stated, as many as come in
`HELD_SECONDS`, which is the longest."""

HELD_SECONDS = 1.5

BANDWIDTH = 0.1
"""Hz. How fast the loop follows: slow against bursts, fast against a crystal's drift."""

SETTLING = 2 * NS
LENIENT = 0.3 * NS
"""While settling, a stamp this late is jitter: nobody can know yet how bursty the sender is."""

BACKLOG = 0.8
"""Periods from stamp to stamp within which samples are of a backlog."""

EVEN = 0.1, 2.0
"""Stamps within so many periods of a line are of even samples; so are those that lie only so many
times as far off it as they would if each jittered by itself. An irregular sender's stamps walk
away: of 64, some eight times as far."""

BEYOND = 1.3
"""An irregular sender's hole is this many times its longest usual step."""

LONGEST = NS // 4
"""No usual step is longer, but of a sender that is slow."""

NEAR = 0.05
"""A measured rate this close to the stated one is the stated one."""


@dataclass(frozen=True, slots=True, eq=False)
class StampRun:
    """Samples with nothing missing between them.

    Attributes:
        times: (samples,) int64 ns on the sender's clock, ascending where the stamps are.
        lost: Samples missing just before the first of them; 0 for none.
    """

    times: npt.NDArray[np.int64]
    lost: int


class Dejitter:
    """Places one stream's samples; see the module.

    Args:
        nominal: Samples a second that the sender states, Hz; 0 for "irregular", when stamps are
            believed unless they are seen to be of even samples, or come in bursts.
    """

    def __init__(self, nominal: float) -> None:
        self._nominal = nominal
        self._held: list[int] = []
        self._period = NS / nominal if nominal > 0 else 0.0
        self._believe = False
        self._rate = nominal
        self._waiting: list[int] = []  # stamps after a hole, or of a backlog
        self._usual = 0.0  # an irregular sender's longest usual step, ns
        self._last: int | None = None  # its last stamp
        self._next: float | None = None  # where the loop expects the next sample
        self._jitter = 0.0  # largest recent distance between stamp and loop
        self._settled = 0.0  # ns since the start of the loop
        self.known: bool = False
        """Whether the rate has been measured."""

    @property
    def rate(self) -> float:
        """Rate to state, Hz; 0 while nothing is known. One and a half of its periods are a hole."""
        return self._rate

    def restart(self) -> None:
        """What comes next has nothing to do with what came before, but for the rate."""
        self._next = self._last = None

    def push(self, stamps: npt.NDArray[np.int64]) -> list[StampRun]:
        """Take (samples,) int64 ns stamps; return what can now be placed."""
        if self.known:
            return self._place(stamps)
        self._held += stamps.tolist()
        # Enough of them, and time enough: a burst alone tells nothing.
        span = (self._held[-1] - self._held[0]) / NS if self._held else 0.0
        if span > HELD_SECONDS and len(self._held) > 3:
            return self.flush()
        soon = self._nominal > 0 and len(self._held) >= HELD and span >= HELD_SECONDS / 3
        return self.flush() if soon else []

    def flush(self) -> list[StampRun]:
        """Place what is held back."""
        held, self._held = np.array(self._held, np.int64), []
        if len(held) > 1:
            self._measure(held)
        elif self._period == 0.0:
            return []  # one stamp and no stated rate: there is no telling what it belongs to
        return [*self._place(held), *self._resolve()]

    def _measure(self, stamps: npt.NDArray[np.int64]) -> None:
        steps = np.diff(stamps)
        breaks = np.flatnonzero(steps >= 0.1 * float(steps.mean())) + 1
        bursts = len(breaks) < 0.75 * len(steps)
        if bursts:
            mean = self._from_burst_to_burst(stamps, breaks)
        else:
            steps = steps[steps < max(4 * float(np.median(steps)), LENIENT)]
            mean = float(steps.mean()) if len(steps) else float(np.median(np.diff(stamps)))
        mean = max(mean, 1.0)  # ns: stamps that stand still tell no rate
        self.known = True
        self._believe = self._nominal <= 0 and not bursts and not _even(stamps)
        if self._nominal > 0 and abs(NS / mean / self._nominal - 1) < NEAR:
            self._period, self._rate = NS / self._nominal, self._nominal
        else:
            self._period, self._rate = mean, NS / mean
        if bursts:  # the loop begins in their middle
            self._next = float((stamps - self._period * np.arange(len(stamps))).mean())
        if self._believe:
            within = steps[steps < 4 * float(np.median(steps))]
            self._widen(float(within.max()) if len(within) else mean)

    def _from_burst_to_burst(
        self, stamps: npt.NDArray[np.int64], begins: npt.NDArray[np.intp]
    ) -> float:
        """Return the period, ns, of samples that come in bursts; the stated one where one told."""
        if len(begins) > 1:
            first, last = int(begins[0]), int(begins[-1])
            return float(stamps[last] - stamps[first]) / (last - first)
        return self._period or float(stamps[-1] - stamps[0]) / (len(stamps) - 1)

    def _widen(self, usual: float) -> None:
        """Take a step of an irregular sender for usual: one not much longer is no hole."""
        self._usual = min(usual, max(float(LONGEST), 4 * self._period))
        self._rate = min(self._rate, 1.5 * NS / (BEYOND * self._usual))

    def _place(self, stamps: npt.NDArray[np.int64]) -> list[StampRun]:
        if not len(stamps):
            return []
        if self._believe:
            return self._believed(stamps)
        runs: list[StampRun] = []
        times: list[int] = []
        for stamp in stamps.tolist():
            if self._waiting:
                on_time = not self._follows(stamp)
                if on_time and not self._ends(stamp):
                    runs += self._resolve()
                else:
                    self._waiting.append(stamp)
                    runs += self._resolve(on_time=True) if on_time else []
                    continue
            if self._late(stamp):
                self._waiting.append(stamp)
                runs, times = [*runs, *_run(times)], []
            else:
                times.append(self._step(stamp))
        return [*runs, *_run(times)]

    def _believed(self, stamps: npt.NDArray[np.int64]) -> list[StampRun]:
        """Take stamps as they are; what is much longer than the usual step is a hole."""
        first = int(stamps[0]) if self._last is None else self._last
        self._last = int(stamps[-1])
        steps = np.diff(stamps, prepend=first)
        holes = [0]
        for i, step in enumerate(steps.tolist()):
            if step > BEYOND * self._usual:
                holes.append(i)
            elif step > self._usual:
                self._widen(step)
        lost = [0, *(max(round(steps[i] / self._period) - 1, 1) for i in holes[1:])]
        parts = zip(np.split(stamps, holes[1:]), lost, strict=True)
        return [StampRun(part, n) for part, n in parts if len(part)]

    def _late(self, stamp: int) -> bool:
        """Whether more lies before a sample than jitter."""
        if self._next is None:
            return False
        usual = LENIENT if self._settled < SETTLING else min(4 * self._jitter, NS)
        return stamp - self._next > max(0.6 * self._period, usual)

    def _follows(self, stamp: int) -> bool:
        """Whether a stamp goes on with a backlog."""
        return stamp - self._waiting[-1] < BACKLOG * self._period

    def _ends(self, stamp: int) -> bool:
        """Whether a stamp is of the first sample after a backlog that is on time again."""
        return len(self._waiting) > 1 and stamp - self._waiting[-1] < 1.5 * self._period

    def _resolve(self, *, on_time: bool = False) -> list[StampRun]:
        """Place what waits: a backlog ends with its last stamp, and was taken evenly before it.

        Args:
            on_time: Whether that stamp is; else a backlog's may lie a period after its sample.
        """
        if not self._waiting or self._next is None:
            return []
        n = len(self._waiting)
        missing = round((self._waiting[-1] - self._next) / self._period) - (n - 1)
        lost = max(missing - (n > 1 and not on_time), 0)
        last, self._waiting = float(self._waiting[-1]), []
        start = last - (n - 1) * self._period if lost else self._next
        step = self._period if lost else min((last - start) / max(n - 1, 1), self._period)
        if lost:
            self._next = None
        times = [self._step(start + i * step) for i in range(n)]
        return [StampRun(np.array(times, np.int64), lost)]

    def _step(self, stamp: float) -> int:
        """Return the time of a sample, and let the loop learn from its stamp."""
        expected = stamp if self._next is None else self._next
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
        return round(max(expected - reach, min(stamp, expected + reach)))


def _run(times: list[int]) -> list[StampRun]:
    return [StampRun(np.array(times, np.int64), 0)] if times else []


def _even(stamps: npt.NDArray[np.int64]) -> bool:
    """Whether stamps, but for holes, are of samples taken evenly; see `EVEN`."""
    steps = np.diff(stamps)
    middle = float(np.median(steps))
    spread = 1.5 * float(np.median(np.abs(steps - middle)))
    ends = np.flatnonzero(steps > 1.6 * middle + 3 * spread) + 1
    longest = max(np.split(stamps, ends), key=len)
    if len(longest) < 4:
        return False
    places = np.arange(len(longest))
    times = (longest - longest[0]).astype(np.float64)
    period, first = np.polyfit(places, times, 1)
    off = float(np.std(times - period * places - first))
    alone = float(np.std(np.diff(times))) / math.sqrt(2)
    return off < EVEN[0] * period or off**2 < EVEN[1] * alone**2
