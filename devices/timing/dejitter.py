"""De-jitter sample timestamps with a delay-locked loop and find missing samples. No I/O.

Programs stamp samples late, in bursts, or exactly. A delay-locked loop (F. Adriaensen, "Using a DLL
to filter time", Linux Audio Conference 2005) predicts the next sample; a stamp near the prediction
is kept as it is, any other is moved to the nearest time within reach of it.

A stamp too late for that may belong to the first sample after a hole, or to the first sample of a
backlog that was stamped when it was sent. The next sample decides, so one sample is held back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS

REACH = 0.2
"""Largest distance of a time from the loop's, periods: two in a row never make 1.5 periods."""

HELD = 32
"""Stamps held back at the start to measure the rate; if none is stated, those of `HELD_SECONDS`."""

HELD_SECONDS = 1.5
"""Longest span, s, of the stamps held back."""

BANDWIDTH = 0.1
"""Bandwidth of the loop, Hz: slow compared with bursts, fast compared with a crystal's drift."""

SETTLING = 2 * NS
LENIENT = 0.3 * NS
"""ns by which a stamp may be late during `SETTLING`, before the sender's jitter is known."""

MULTIPLES = 0.95
"""Least share of steps that are whole multiples of the period if a sender's jitter is small."""

FEWEST = 16
"""Steps below which that is not judged."""

BACKLOG = 0.8
"""Longest step, periods, between stamps of a backlog."""

EVEN = 0.1, 2.0
"""Limits of regular sampling: stamps deviate from a line by less than so many periods, or by less
than so many times the deviation expected if each jittered independently. Stamps of an irregular
sender drift away from any line: 64 of them by some eight times as much."""

BEYOND = 1.3
"""Step of an irregular sender, in its longest usual steps, that counts as a hole."""

LONGEST = NS // 4
"""Longest step, ns, taken for usual, unless the sender is slow."""

NEAR = 0.05
"""Relative difference within which a measured rate is taken for the stated one."""


@dataclass(frozen=True, slots=True, eq=False)
class StampRun:
    """Consecutive samples without a hole.

    Attributes:
        times: (samples,) int64, ns on the sender's clock; ascending if the stamps are.
        lost: Samples missing just before the first; 0 for none.
    """

    times: npt.NDArray[np.int64]
    lost: int


class Dejitter:
    """De-jittering of one signal's timestamps; see the module.

    Args:
        nominal: Rate stated by the sender, Hz; 0 for "irregular": stamps are then kept unless they
            prove to be regular or come in bursts.

    Attributes:
        known: Whether the rate has been measured.
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
        self._lenient = True  # whether the sender's jitter is unknown at the start
        self._settled = 0.0  # ns since the start of the loop
        self.known: bool = False

    @property
    def rate(self) -> float:
        """Rate to state, Hz; 0 while unknown. A step of 1.5 of its periods or more is a hole."""
        return self._rate

    def restart(self) -> None:
        """Start a new time base; only the rate is kept."""
        self._next = self._last = None

    def push(self, stamps: npt.NDArray[np.int64]) -> list[StampRun]:
        """Take stamps, (samples,) int64 ns; return the samples that can now be placed."""
        if self.known:
            return self._place(stamps)
        self._held += stamps.tolist()
        # Enough stamps over enough time: the rate cannot be measured from a single burst.
        span = (self._held[-1] - self._held[0]) / NS if self._held else 0.0
        if span > HELD_SECONDS and len(self._held) > 3:
            return self.flush()
        soon = self._nominal > 0 and len(self._held) >= HELD and span >= HELD_SECONDS / 3
        return self.flush() if soon else []

    def flush(self) -> list[StampRun]:
        """Place the samples held back."""
        held, self._held = np.array(self._held, np.int64), []
        if len(held) > 1:
            self._measure(held)
        elif self._period == 0.0:
            return []  # one stamp and no stated rate: it cannot be placed
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
            if len(steps) >= FEWEST and (single := self._single(steps)):
                mean = single
        mean = max(mean, 1.0)  # ns; identical stamps give no rate
        self.known = True
        self._believe = self._nominal <= 0 and not bursts and not even(stamps)
        if self._nominal > 0 and abs(NS / mean / self._nominal - 1) < NEAR:
            self._period, self._rate = NS / self._nominal, self._nominal
        else:
            self._period, self._rate = mean, NS / mean
        if bursts:  # start the loop in the middle of them
            self._next = float((stamps - self._period * np.arange(len(stamps))).mean())
        if self._believe:
            within = steps[steps < 4 * float(np.median(steps))]
            self._widen(float(within.max()) if len(within) else mean)

    def _single(self, steps: npt.NDArray[np.int64]) -> float:
        """Return the period, ns, if nearly all steps are whole multiples of it; else 0.

        A mean of all steps would take for slowness what was lost. The jitter is then known as well.
        """
        single, jitter = whole_steps(steps)
        if single:
            self._lenient, self._jitter = False, jitter
        return single

    def _from_burst_to_burst(
        self, stamps: npt.NDArray[np.int64], begins: npt.NDArray[np.intp]
    ) -> float:
        """Return the period, ns, of samples in bursts; a single burst leaves it at the stated."""
        if len(begins) > 1:
            first, last = int(begins[0]), int(begins[-1])
            return float(stamps[last] - stamps[first]) / (last - first)
        return self._period or float(stamps[-1] - stamps[0]) / (len(stamps) - 1)

    def _widen(self, usual: float) -> None:
        """Accept a step, ns, of an irregular sender as usual: slightly longer ones are no holes."""
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
        """Keep stamps as they are; a step much longer than usual is a hole."""
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
        """Return whether a stamp is later than jitter explains."""
        if self._next is None:
            return False
        unsure = self._lenient and self._settled < SETTLING
        usual = LENIENT if unsure else min(4 * self._jitter, NS)
        return stamp - self._next > max(0.6 * self._period, usual)

    def _follows(self, stamp: int) -> bool:
        """Return whether a stamp continues a backlog."""
        return stamp - self._waiting[-1] < BACKLOG * self._period

    def _ends(self, stamp: int) -> bool:
        """Return whether a stamp is of the first sample on time after a backlog."""
        return len(self._waiting) > 1 and stamp - self._waiting[-1] < 1.5 * self._period

    def _resolve(self, *, on_time: bool = False) -> list[StampRun]:
        """Place the waiting samples: evenly spaced up to the last stamp of the backlog.

        Args:
            on_time: Whether the last stamp is on time; in a backlog it may be a period late.
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
        """Return the time of a sample, ns, and update the loop with its stamp."""
        expected = stamp if self._next is None else self._next
        error = stamp - expected
        self._jitter = max(abs(error), self._jitter * 0.998)
        omega = 2 * math.pi * BANDWIDTH * self._period / NS
        if self._settled < SETTLING:
            omega *= 4
        # Time must not run backward when the sender's stamps step back.
        pull = max(-REACH * self._period, min(math.sqrt(2) * omega * error, REACH * self._period))
        self._next = expected + pull + self._period
        self._period += max(-0.01, min(omega**2 * error / self._period, 0.01)) * self._period
        self._settled += self._period
        reach = REACH * self._period
        return round(max(expected - reach, min(stamp, expected + reach)))


def whole_steps(steps: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return the period of which nearly all steps are whole multiples, and the jitter; else 0, 0.

    Args:
        steps: (n,) int64 ns, positive, at least one.
    """
    middle = float(np.median(steps))
    counts = np.maximum(np.rint(steps / middle), 1)
    off = np.abs(steps - counts * middle)
    near = off < REACH * middle
    if float(np.mean(near)) < MULTIPLES:
        return 0.0, 0.0
    return float(steps.sum() / counts.sum()), float(off[near].max())


def _run(times: list[int]) -> list[StampRun]:
    return [StampRun(np.array(times, np.int64), 0)] if times else []


def even(stamps: npt.NDArray[np.int64]) -> bool:
    """Return whether stamps, apart from holes, are regular; see `EVEN`."""
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
