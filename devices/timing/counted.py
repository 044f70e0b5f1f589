"""Times for samples without timestamps, by counting them against their arrivals. No I/O.

A radio or cable that stalls delivers late, in bursts, but completely: counting simply goes on.
Samples still late after a second show a loss; the delay gives its size, to within about the jitter,
or to the sample if the sensor numbers its samples.

Step bound: let the rate be off by e = nominal / true − 1, and delays so far differ by up to D
seconds. Within a segment, the step between samples then differs from the true period by a fraction
of at most (slew + |e| + D / 1 s) / (1 + e):

- slew is the rate at which times approach a corrected line (`COUNT`);
- |e| is the skew at the start; after s seconds its part not yet learnt is 1.5² / (s² + 1.5²);
- D / 1 s is the largest slope that delays can feign. The edge of their hull at the points' mean
  time m rises by at most D between m and the last point (or falls by it between the first and m),
  and weighs s² / (s² + 1.5²). With a point in every half second the product is largest, 1.0 D per
  second, for points at 0, 1, 1.5 and 1.5 s; beyond s = 3 s it is at most 2 D / (s − 1 s).
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
"""ns. Samples later than usual by more than this are held back until the cause is clear."""

PATIENCE = NS
"""Longest time that samples are held back for a burst to catch up."""

NEAR = 0.005
"""Relative difference within which a measured rate is taken for the nominal one."""

SURE = 10.0
"""Seconds after which a rate is reported: 30 ms of jitter are less than `NEAR` of them."""


class Counted:
    """Placement of frames in time by their number of samples.

    Args:
        rate: Nominal, Hz. Times are computed as if it were exact; `clock` learns the true one.
        clock: From those times to the host's; must observe placed samples before the next push.
        numbers: Number of distinct sample numbers, if the sensor numbers its samples; else 1.
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
        """Measured so far, Hz."""
        return self._nominal / (1 + self._clock.skew_ppm * 1e-6)

    @property
    def stamp(self) -> int | None:
        """Time of the last sample placed, ns; None before any."""
        return None if self._origin is None else self._time(self._count)

    def _time(self, count: int) -> int:
        assert self._origin is not None
        return self._origin + round(count * NS / self._nominal)

    def _late(self, count: int, arrival: int) -> int:
        """Return the excess delay of the sample number `count`, ns."""
        return arrival - int(self._clock.host(np.array([self._time(count)]))[0])

    def push(
        self, rows: Rows, arrival: int, missing: int | None = None
    ) -> list[PlacedSamples[Rows]]:
        """Take samples that arrived together; return those that can be placed.

        Args:
            rows: (samples, channels), at least one sample.
            arrival: ns on the host's clock.
            missing: Samples missing before them by the sensor's numbers, modulo `numbers`; None if
                they carry no number.
        """
        if self._origin is None:
            self._origin = arrival - round(len(rows) * NS / self._nominal)
            self._held.append((rows, arrival, 0))
            return self._release(0)
        self._quantum = 1 if missing is None else self._numbers
        missing = missing or 0
        ahead = self._count + sum(len(held) + lost for held, _, lost in self._held) + len(rows)
        if missing and missing * NS / self.rate > self._late(ahead, arrival) + LATE:
            missing = 0  # it would lie in the future: numbering has restarted
        self._held.append((rows, arrival, missing))
        if self._late(ahead + missing, arrival) <= LATE:
            return self._release(0)
        return self.flush() if arrival - self._held[0][1] > PATIENCE else []

    def too_soon(self, samples: int, arrival: int) -> bool:
        """Return whether so many more samples came faster than they can have been taken.

        They would be timed after their arrival by more than half their duration.
        """
        if self._origin is None:
            return False
        ahead = self._count + sum(len(held) + lost for held, _, lost in self._held) + samples
        first = not self._clock.known
        late = arrival - self._held[-1][1] if first else self._late(ahead, arrival)
        return late < -samples * NS / self.rate / 2

    def flush(self) -> list[PlacedSamples[Rows]]:
        """Place the samples held back: whatever was missing before them is lost."""
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
    """`SignalTrack` whose samples are timed by counting.

    Args:
        device: Device id of the chunks and events.
        channels: One label per column.
        rate: Nominal, Hz.
        promised: Whether the rate is documented, so that a different one is worth a notice.
        numbers: See `Counted`.
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
        """Time of the last sample placed, by counting, ns; 0 before any."""
        return self._places.stamp or 0

    def length(self, samples: int) -> int:
        """Return the duration of that many samples, ns."""
        return round(samples * NS / self._places.rate)

    def too_soon(self, samples: int, arrival: int) -> bool:
        """Return whether so many more samples came faster than they can have been taken."""
        return self._places.too_soon(samples, arrival)

    def begin(self, rate: float | None = None) -> None:
        """Restart counting after a loss of unknown size, possibly at another nominal rate, Hz."""
        if rate is not None and rate != self._nominal:
            self._nominal = self._stated = rate
        self._places = Counted(self._stated, self.clock, self._numbers)
        self.anew()

    def push(self, rows: Rows, arrival: int, missing: int | None = None) -> list[Chunk | Event]:
        """Take samples as `Counted.push` does; return the chunks and events that are ready."""
        return self._out(self._places.push(rows, arrival, missing))

    def flush(self) -> list[Chunk | Event]:
        """Return the samples held back, as chunks and gaps."""
        return self._out(self._places.flush())

    def _out(self, placed: list[PlacedSamples[Rows]]) -> list[Chunk | Event]:
        rate = self._places.rate
        return [*self.give(placed, self._stated, rate), *(self._true_rate(rate) if placed else ())]

    def _true_rate(self, rate: float) -> list[Event]:
        """Correct the stated rate to the measured one; return a notice the first time."""
        if self.clock.span < SURE or abs(rate / self._stated - 1) < NEAR:
            return []
        first = self._promised and self._stated == self._nominal
        near = abs(rate / self._nominal - 1) < NEAR
        self._stated = self._nominal if near else round(rate, 2)
        if not first or self.last is None:
            return []
        text = f"nominal rate {self._nominal:g} Hz, measured {rate:.1f} Hz; using the measured rate"
        return [notice(self._device, self.last, NoticeCode.RATE_CORRECTED, text)]
