"""Decoding of blocks from an LSL inlet to chunks and events at host time. No I/O.

An LSL stamp is the sender's `local_clock`. liblsl measures its offset from ours every few seconds;
a line through these measurements (`timing.clock`) gives times that neither step nor run backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, Chunk, Event, EventKind
from innpar.devices.lsl.bound import Bound
from innpar.devices.notices import NoticeCode, notice
from innpar.devices.timing.clock import MonotonicTimes, SensorClock
from innpar.devices.timing.dejitter import Dejitter, StampRun

CLOCK_EVERY = 60 * NS
"""Interval of ``clock`` events, ns."""

PLAUSIBLE = (-60 * NS, NS)
"""Range of a stamp on LSL's clock relative to its arrival, ns; outside, it is another clock."""

MOVED = 10_000_000
"""ns. Larger offset of a new outlet's clock, at which it counts as another clock."""


@dataclass(frozen=True, slots=True, eq=False)
class LslBlock:
    """Samples pulled together.

    Attributes:
        stamps: (samples,) float64, s on the sender's clock.
        data: (samples, channels) float64.
        correction: Offset from the sender's clock to the host's, ns.
        arrival: Time of the pull, ns since the Unix epoch.
        dropped: Samples discarded before these because the reader was too slow.
    """

    stamps: npt.NDArray[np.float64]
    data: npt.NDArray[np.float64]
    correction: int
    arrival: int
    dropped: int = 0


class LslDecoder:
    """Decoder of one stream's blocks to chunks and events.

    Args:
        device: Device id of the chunks and events.
        channels: Labels of the columns to keep.
        columns: Indices of the columns to keep.
        nominal: Rate stated by the sender, Hz; 0 for irregular.

    Attributes:
        samples: Number of samples returned so far.
        lost: Number of samples known to be missing between them.
    """

    def __init__(
        self, device: str, channels: Sequence[str], columns: Sequence[int], nominal: float
    ) -> None:
        self._device = device
        self._channels = tuple(channels)
        self._columns = list(columns)
        self._clock = SensorClock()
        self._times = MonotonicTimes(self._clock)
        self._nominal = nominal
        self._dejitter = Dejitter(nominal)
        self._bound = Bound()
        self._rows = np.empty((0, len(self._columns)))  # pushed, not yet placed
        self._arrivals = np.empty(0, np.int64)  # of these rows
        self._foreign: bool | None = None
        self._why = ""
        self._lost: int | None = None
        self._clock_reported: int | None = None  # time of the last clock event, ns
        self._rate_reported = False
        self.samples: int = 0
        self.lost: int = 0

    def interrupted(self, why: str, lost: int | None = None) -> list[Chunk | Event]:
        """Return the samples held back, and set the reason of the next gap.

        Args:
            why: Reason, for a person; the first one given is kept.
            lost: Samples missing; None if unknown.
        """
        out = self._place(self._dejitter.flush())
        self._rows, self._arrivals = self._rows[:0], self._arrivals[:0]
        self._dejitter.restart()
        self._lost = lost if not self._why and lost is not None else None
        self._why = self._why or why
        return out

    def relinked(self) -> None:
        """Note a new outlet, whose clock may be another one."""
        self._foreign = None

    def push(self, block: LslBlock) -> list[Chunk | Event]:
        """Take a block; return the chunks and events that are ready."""
        out: list[Chunk | Event] = []
        if block.dropped:
            out += self.interrupted("too slow to take what came", block.dropped)
        if not len(block.stamps):
            return out
        stamps = np.rint(block.stamps * NS).astype(np.int64)
        out += self._observe(int(stamps[-1]), block)
        self._rows = np.concatenate([self._rows, block.data[:, self._columns]])
        came = np.full(len(stamps), block.arrival, np.int64)
        self._arrivals = np.concatenate([self._arrivals, came])
        out += self._place(self._dejitter.push(stamps))
        return out + self._reports()

    def _observe(self, stamp: int, block: LslBlock) -> list[Chunk | Event]:
        """Update the clock; the first block of an outlet shows whether it uses LSL's."""
        out: list[Chunk | Event] = []
        late = block.arrival - stamp - block.correction
        if self._foreign is None:
            self._foreign = not -PLAUSIBLE[1] < late < -PLAUSIBLE[0]
            if self._foreign:
                text = "the sender does not use LSL's clock; samples are timed by their arrival"
                code = NoticeCode.FOREIGN_CLOCK
                out.append(notice(self._device, block.arrival, code, text))
            host = block.arrival if self._foreign else stamp + block.correction
            if (
                self._clock.known
                and abs(int(self._clock.host(np.array([stamp]))[0]) - host) > MOVED
            ):
                self._clock.reset()
        self._clock.observe(stamp, block.arrival if self._foreign else stamp + block.correction)
        return out

    def _place(self, runs: Sequence[StampRun]) -> list[Chunk | Event]:
        out: list[Chunk | Event] = []
        for run in runs:
            n, before = len(run.times), self._bound.last
            times = self._bound.hold(self._times.host(run.times), self._arrivals[:n])
            self._arrivals = self._arrivals[n:]
            if before is not None and (run.lost or self._why):
                # After an announced interruption, stamps need not show how much is missing.
                lost = self._lost if self._why else run.lost
                self.lost += lost or 0
                detail = {"why": self._why or "samples missing", "lost": lost, "signal": "ppg"}
                out.append(Event(self._device, "gap", before, int(times[0]), detail))
            self._why = ""
            rows, self._rows = self._rows[:n], self._rows[n:]
            out.append(Chunk(self._device, "ppg", self._channels, self._dejitter.rate, times, rows))
            self.samples += n
        return out

    def _reports(self) -> list[Chunk | Event]:
        """Return a notice about a wrong rate, once, and a ``clock`` event every `CLOCK_EVERY`."""
        now = self._bound.last
        if now is None:
            return []
        out: list[Chunk | Event] = []
        rate = self._dejitter.rate
        if self._dejitter.known and not self._rate_reported:
            self._rate_reported = True
            stated = f"{self._nominal:g} Hz" if self._nominal > 0 else "no rate"
            if rate != self._nominal:
                text = (
                    f"the stream states {stated}, measured {rate:.4g} Hz; using the measured rate"
                )
                out.append(notice(self._device, now, NoticeCode.RATE_CORRECTED, text))
        if self._clock_reported is None:
            self._clock_reported = now
        elif now - self._clock_reported >= CLOCK_EVERY:
            self._clock_reported = now
            skew, error = round(self._clock.skew_ppm, 1), round(self._clock.error_ms, 2)
            out.append(self._event("clock", now, skew_ppm=skew, error_ms=error))
        return out

    def _event(self, kind: EventKind, time: int, **detail: Any) -> Event:
        return Event(self._device, kind, time, time, detail)
