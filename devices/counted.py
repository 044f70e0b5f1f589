"""Samples that bear neither time nor number: they are counted, and laid on their arrivals. Pure.

A radio or a cable that stalls delivers late, in bursts, but everything: then counting goes on. What
stays late for a second was lost, and how late it is tells how much, to about the jitter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from .base import NS
from .lane import Rows
from .timeline import Hole, Placed, spread

LATE = 300_000_000
"""ns. Later than this against the usual, samples are held back until it is clear why."""

PATIENCE = NS
"""How long they are held back for a burst to catch up."""

CREEP = 2e-3
"""How fast what is usual may rise, s a second: no crystal is slower by more."""

BEND = 1e-3
"""A rate off by more than this is corrected; less is the clock's to follow."""

STRIDE = 0.05
"""The most that a rate is corrected by at once."""

SPAN = 10 * NS
BUCKET = 2 * NS


class Counted:
    """Places frames by their number of samples.

    Args:
        rate: Nominal, Hz; corrected where the arrivals say otherwise.
        bent: Called when the rate has been corrected, so that a clock may forget the old one.

    Attributes:
        rate: As known so far, Hz.
    """

    def __init__(self, rate: float, bent: Callable[[], None] = lambda: None) -> None:
        self.rate = rate
        self._bent = bent
        self._stamp: float | None = None  # of the last sample, ns
        self._floor: float | None = None  # arrival less stamp, of what came fastest of late
        self._seen = 0
        self._held: list[tuple[Rows, int]] = []
        self._buckets: deque[tuple[float, float]] = deque()  # stamp, least arrival less stamp

    @property
    def stamp(self) -> int | None:
        """Time of the last sample that has been placed, ns; None before any."""
        return None if self._stamp is None else round(self._stamp)

    def push(self, rows: Rows, arrival: int) -> list[Placed[Rows]]:
        """Take samples, at least one, that arrived together; return what can be placed."""
        period = NS / self.rate
        if self._stamp is None:
            self._stamp = arrival - len(rows) * period
        ahead = sum(len(held) for held, _ in self._held) + len(rows)
        above = arrival - (self._stamp + ahead * period)
        self._held.append((rows, arrival))
        if self._floor is not None:
            self._floor += CREEP * max(arrival - self._seen, 0)
        self._seen = arrival
        if self._floor is None or above <= self._floor + LATE:
            self._floor = above if self._floor is None else min(self._floor, above)
            self._learn(self._stamp + ahead * period, above)
            return self._release(None)
        if arrival - self._held[0][1] <= PATIENCE:
            return []
        return self.flush()

    def flush(self) -> list[Placed[Rows]]:
        """Place what is held back: by now it is clear that something before it was lost."""
        if not self._held or self._stamp is None or self._floor is None:
            return []
        period, at, lates = NS / self.rate, self._stamp, []
        for rows, arrival in self._held:
            at += len(rows) * period
            lates.append(arrival - at - self._floor)
        lost = max(round(min(lates) / period), 0)
        if not lost:
            return self._release(None)
        hole = Hole(round(self._stamp), lost)
        self._stamp += lost * period
        self._buckets.clear()
        return self._release(hole)

    def _release(self, hole: Hole | None) -> list[Placed[Rows]]:
        assert self._stamp is not None
        held, self._held = self._held, []
        out: list[Placed[Rows]] = []
        for rows, arrival in held:
            end = self._stamp + len(rows) * NS / self.rate
            times = spread(None, round(end), len(rows), NS / self.rate)
            out.append(Placed(times.astype(np.int64), rows, arrival, hole))
            self._stamp, hole = end, None
        return out

    def _learn(self, stamp: float, above: float) -> None:
        """Correct a rate that the fastest arrivals contradict."""
        buckets = self._buckets
        if not buckets or stamp - buckets[-1][0] >= BUCKET:
            buckets.append((stamp, above))
        elif above < buckets[-1][1]:
            buckets[-1] = buckets[-1][0], above
        if len(buckets) < 3 or stamp - buckets[0][0] < SPAN:
            return
        (x0, y0), (x1, y1) = buckets[0], buckets[-2]
        buckets.popleft()
        slope = min(max((y1 - y0) / (x1 - x0), -STRIDE), STRIDE)
        if abs(slope) > BEND:
            self.rate /= 1 + slope
            buckets.clear()
            self._floor = above
            self._bent()
