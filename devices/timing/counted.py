"""Samples that bear no time: they are counted, and the line of their arrivals tells when. Pure.

A radio or a cable that stalls delivers late, in bursts, but everything: then counting goes on. What
stays late for a second was lost, and how late it is tells how much, to about the jitter; where the
sensor numbers what it sends, to the sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from innpar.devices.base import NS, Chunk, Event
from innpar.devices.notices import NoticeCode, notice
from innpar.devices.timing.clock import COUNT, SensorClock
from innpar.devices.timing.timeline import Hole, PlacedSamples, spread
from innpar.devices.timing.track import Rows, SignalTrack

LATE = 300_000_000
"""ns. Later than this against the usual, samples are held back until it is clear why."""

PATIENCE = NS
"""How long they are held back for a burst to catch up."""

NEAR = 0.005
"""A rate this close to the stated one is the stated one."""

SURE = 10.0
"""Seconds after which a rate is told: 30 ms of jitter are less than `NEAR` of them."""


class Counted:
    """Places frames by their number of samples.

    Args:
        rate: Nominal, Hz: times are given as if it were true, and `clock` learns what it is.
        clock: From those times to the host's; observes what has been placed, before the next push.
        numbers: Where the sensor numbers its samples: how many it has numbers for.
    """

    def __init__(self, rate: float, clock: SensorClock, numbers: int = 1) -> None:
        self._nominal = rate
        self._clock = clock
        self._numbers, self._quantum = numbers, 1
        self._origin: int | None = None  # time of the sample before the first, ns
        self._count = 0  # samples placed or lost since
        self._held: list[tuple[Rows, int, int]] = []  # with arrival, and how many are missing

    @property
    def rate(self) -> float:
        """As known so far, Hz."""
        return self._nominal / (1 + self._clock.skew_ppm * 1e-6)

    @property
    def stamp(self) -> int | None:
        """Time of the last sample that has been placed, ns; None before any."""
        return None if self._origin is None else self._time(self._count)

    def _time(self, count: int) -> int:
        assert self._origin is not None
        return self._origin + round(count * NS / self._nominal)

    def _late(self, count: int, arrival: int) -> int:
        """Return by how much later than usual the sample of that count arrived, ns."""
        return arrival - int(self._clock.host(np.array([self._time(count)]))[0])

    def push(
        self, rows: Rows, arrival: int, missing: int | None = None
    ) -> list[PlacedSamples[Rows]]:
        """Take samples, at least one, that arrived together; return what can be placed.

        Args:
            rows: (samples, channels).
            arrival: ns on the host's clock.
            missing: Samples missing before them by the sensor's numbers; whole rounds of those it
                does not know of. None where they have no number.
        """
        if self._origin is None:
            self._origin = arrival - round(len(rows) * NS / self._nominal)
            self._held.append((rows, arrival, 0))
            return self._release(0)
        self._quantum = 1 if missing is None else self._numbers
        missing = missing or 0
        ahead = self._count + sum(len(held) + lost for held, _, lost in self._held) + len(rows)
        if missing and missing * NS / self.rate > self._late(ahead, arrival) + LATE:
            missing = 0  # it would be of the future: the numbers began anew
        self._held.append((rows, arrival, missing))
        if self._late(ahead + missing, arrival) <= LATE:
            return self._release(0)
        return self.flush() if arrival - self._held[0][1] > PATIENCE else []

    def flush(self) -> list[PlacedSamples[Rows]]:
        """Place what is held back: by now it is clear that something before it was lost."""
        at, late = self._count, []
        for rows, arrival, missing in self._held:
            at += len(rows) + missing
            late.append(self._late(at, arrival) * self.rate / NS / self._quantum)
        return self._release(max(round(min(late)), 0) * self._quantum if late else 0)

    def _release(self, lost: int) -> list[PlacedSamples[Rows]]:
        held, self._held = self._held, []
        out: list[PlacedSamples[Rows]] = []
        for rows, arrival, missing in held:
            lost += missing
            hole = Hole(self.stamp, lost) if lost else None
            self._count += lost + len(rows)
            times = spread(None, self._time(self._count), len(rows), NS / self._nominal)
            out.append(PlacedSamples(times, rows, arrival, hole))
            lost = 0
        return out


class CountedTrack(SignalTrack):
    """A `SignalTrack` whose samples are counted.

    Args:
        device: Id to put on everything.
        channels: One label a column.
        rate: Nominal, Hz.
        promised: Whether somebody said so, so that another rate is worth telling.
        numbers: As of `Counted`.
    """

    def __init__(
        self,
        device: str,
        channels: Sequence[str],
        rate: float,
        *,
        promised: bool = True,
        numbers: int = 1,
    ) -> None:
        super().__init__(device, channels, clock=SensorClock(COUNT))
        self._promised = promised
        self._nominal, self._stated, self._numbers = rate, rate, numbers
        self._places = Counted(rate, self.clock, numbers)

    @property
    def stamp(self) -> int:
        """Time of the last sample that has been placed, by counting, ns; 0 before any."""
        return self._places.stamp or 0

    def length(self, samples: int) -> int:
        """Return how long so many take, ns."""
        return round(samples * NS / self._places.rate)

    def begin(self, rate: float | None = None) -> None:
        """Count anew: nobody can know how much is missing. Another rate may be promised."""
        if rate is not None and rate != self._nominal:
            self._nominal = self._stated = rate
        self._places = Counted(self._stated, self.clock, self._numbers)
        self.anew()

    def push(self, rows: Rows, arrival: int, missing: int | None = None) -> list[Chunk | Event]:
        """Take samples as of `Counted.push`; return what can be given out."""
        return self._out(self._places.push(rows, arrival, missing))

    def flush(self) -> list[Chunk | Event]:
        """Give out what waits for it to become clear whether something was lost."""
        return self._out(self._places.flush())

    def _out(self, placed: list[PlacedSamples[Rows]]) -> list[Chunk | Event]:
        rate = self._places.rate
        return [*self.give(placed, self._stated, rate), *(self._true_rate(rate) if placed else ())]

    def _true_rate(self, rate: float) -> list[Event]:
        """State another rate where the sensor is seen to have one, and say so the first time."""
        if self.clock.span < SURE or abs(rate / self._stated - 1) < NEAR:
            return []
        first = self._promised and self._stated == self._nominal
        near = abs(rate / self._nominal - 1) < NEAR
        self._stated = self._nominal if near else round(rate, 2)
        if not first or self.last is None:
            return []
        text = f"the sensor says {self._nominal:g} Hz and sends {rate:.1f} Hz"
        return [notice(self._device, self.last, NoticeCode.RATE_CORRECTED, text)]
