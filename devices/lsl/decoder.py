"""Samples as an LSL inlet hands them over → chunks and events at host time. No network.

An LSL stamp is the sender's `local_clock`. liblsl measures how far that lies from ours every few
seconds; a line through those measurements (`clock`) gives times that neither step nor run back.
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
from innpar.devices.timing.clock import SensorClock, Steady
from innpar.devices.timing.dejitter import Dejitter, StampRun

CLOCK_EVERY = 60 * NS
"""How often the state of the clock is told."""

PLAUSIBLE = (-60 * NS, NS)
"""Where a stamp on LSL's clock may lie from its arrival; else the sender uses another clock."""

MOVED = 10_000_000
"""ns. A new outlet whose clock lies further off than this has nothing to do with the one before."""


@dataclass(frozen=True, slots=True, eq=False)
class LslBlock:
    """Samples pulled at once.

    Attributes:
        stamps: (samples,) float64 s on the sender's clock.
        data: (samples, channels) float64.
        correction: ns from the sender's clock to the host's.
        arrival: When they were pulled, ns since the Unix epoch.
        dropped: Samples thrown away before these because nobody took them in time.
    """

    stamps: npt.NDArray[np.float64]
    data: npt.NDArray[np.float64]
    correction: int
    arrival: int
    dropped: int = 0


class LslDecoder:
    """Turns blocks into chunks and events.

    Args:
        device: Id to put on everything.
        channels: Labels of the columns to keep.
        columns: Which they are.
        nominal: Rate the sender states, Hz; 0 for irregular.

    Attributes:
        samples: Samples given out.
        lost: Samples known to be missing between them.
    """

    def __init__(
        self, device: str, channels: Sequence[str], columns: Sequence[int], nominal: float
    ) -> None:
        self._device = device
        self._channels = tuple(channels)
        self._columns = list(columns)
        self._clock = SensorClock()
        self._steady = Steady(self._clock)
        self._nominal = nominal
        self._even = Dejitter(nominal)
        self._bound = Bound()
        self._rows = np.empty((0, len(self._columns)))  # pushed, not yet placed
        self._arrivals = np.empty(0, np.int64)  # of them
        self._foreign: bool | None = None
        self._why = ""
        self._lost: int | None = None
        self._clock_told: int | None = None
        self._rate_told = False
        self.samples: int = 0
        self.lost: int = 0

    def interrupted(self, why: str, lost: int | None = None) -> list[Chunk | Event]:
        """Give out what is held back; say why the next hole will be there.

        Args:
            why: In a person's words; what was said first stands.
            lost: Samples missing in it; None where nobody can know.
        """
        out = self._place(self._even.flush())
        self._rows, self._arrivals = self._rows[:0], self._arrivals[:0]
        self._even.restart()
        self._lost = lost if not self._why and lost is not None else None
        self._why = self._why or why
        return out

    def relinked(self) -> None:
        """Another outlet answers, whose clock need not be the one before."""
        self._foreign = None

    def push(self, block: LslBlock) -> list[Chunk | Event]:
        """Take what was pulled."""
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
        out += self._place(self._even.push(stamps))
        return out + self._remarks()

    def _observe(self, stamp: int, block: LslBlock) -> list[Chunk | Event]:
        """Let the clock learn; the first block of an outlet tells which clock it is on."""
        out: list[Chunk | Event] = []
        late = block.arrival - stamp - block.correction
        if self._foreign is None:
            self._foreign = not -PLAUSIBLE[1] < late < -PLAUSIBLE[0]
            if self._foreign:
                text = "its stamps are not on LSL's clock; its samples are dated by their arrival"
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
            times = self._bound.hold(self._steady.host(run.times), self._arrivals[:n])
            self._arrivals = self._arrivals[n:]
            if before is not None and (run.lost or self._why):
                # A pause that was announced tells its own length only where the clock went on.
                lost = self._lost if self._why else run.lost
                self.lost += lost or 0
                detail = {"why": self._why or "samples missing", "lost": lost, "signal": "ppg"}
                out.append(Event(self._device, "gap", before, int(times[0]), detail))
            self._why = ""
            rows, self._rows = self._rows[:n], self._rows[n:]
            out.append(Chunk(self._device, "ppg", self._channels, self._even.rate, times, rows))
            self.samples += n
        return out

    def _remarks(self) -> list[Chunk | Event]:
        """Say once what the rate really is, and now and then how the clock does."""
        now = self._bound.last
        if now is None:
            return []
        out: list[Chunk | Event] = []
        rate = self._even.rate
        if self._even.known and not self._rate_told:
            self._rate_told = True
            stated = f"{self._nominal:g} Hz" if self._nominal > 0 else "no rate"
            if rate != self._nominal:
                text = f"the stream states {stated} and sends {rate:.4g} Hz"
                out.append(notice(self._device, now, NoticeCode.RATE_CORRECTED, text))
        if self._clock_told is None:
            self._clock_told = now
        elif now - self._clock_told >= CLOCK_EVERY:
            self._clock_told = now
            skew, error = round(self._clock.skew_ppm, 1), round(self._clock.error_ms, 2)
            out.append(self._event("clock", now, skew_ppm=skew, error_ms=error))
        return out

    def _event(self, kind: EventKind, time: int, **detail: Any) -> Event:
        return Event(self._device, kind, time, time, detail)
