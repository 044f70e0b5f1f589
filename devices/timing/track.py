"""One signal of a sensor on its way from placed frames to chunks and gaps at host time. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, Chunk, Event, Signal
from innpar.devices.timing.clock import SensorClock, Steady
from innpar.devices.timing.timeline import TOLERANCE, Hole, PlacedSamples

CLOCK_EVERY = 60 * NS
"""How often the state of the clock is told."""

Rows = npt.NDArray[np.float64]
"""(samples, channels)."""


class SignalTrack:
    """Gives samples their host times, and says what is missing between them.

    Args:
        device: Id to put on everything.
        channels: One label a column.
        signal: As of `Chunk`.
        clock: The sensor's, where several signals are stamped by it; its state is then told by the
            PPG's lane alone.

    Attributes:
        channels: May be changed at a gap.
        clock: The sensor's clock against the host's.
        samples: Given out so far.
        lost: Samples known to be missing between them.
    """

    def __init__(
        self,
        device: str,
        channels: Sequence[str],
        signal: Signal = "ppg",
        clock: SensorClock | None = None,
    ) -> None:
        self._device = device
        self.channels: tuple[str, ...] = tuple(channels)
        self._signal: Signal = signal
        self.clock: SensorClock = clock or SensorClock()
        self._steady = Steady(self.clock)
        self._why = ""
        self._anew = False
        self._told = 0
        self.samples: int = 0
        self.lost: int = 0

    @property
    def last(self) -> int | None:
        """The last time given out, ns since the Unix epoch."""
        return self._steady.last

    def interrupted(self, why: str) -> None:
        """Say why the next hole will be there."""
        self._why = self._why or why

    def anew(self) -> None:
        """What comes next has another time base: how much is missing before it nobody can know."""
        self._anew = True

    def give(
        self, placed: Sequence[PlacedSamples[Rows]], rate: float, measured: float | None = None
    ) -> list[Chunk | Event]:
        """Return what placed frames amount to.

        Args:
            placed: Their times on the sensor's clock, ns.
            rate: To state, Hz.
            measured: What it is by the sensor's clock, told with the state of the clock.
        """
        out: list[Chunk | Event] = []
        for epoch in _epochs(placed):
            out += self._of_epoch(epoch, rate)
        now = self._steady.last
        return [*out, *(self._state(now, measured or rate) if placed and now is not None else ())]

    def _of_epoch(self, placed: Sequence[PlacedSamples[Rows]], rate: float) -> list[Chunk | Event]:
        """Return what frames amount to of which only the first may be of a clock that was set."""
        first = placed[0].hole
        if self._anew or (first is not None and first.start is None):
            self.clock.reset()
        for p in placed:
            self.clock.observe(int(p.times[-1]), p.arrival)
        out: list[Chunk | Event] = []
        for p in placed:
            before = self._steady.last
            times = self._steady.host(p.times)
            hole = Hole(None, None) if self._anew else p.hole
            if hole is not None and before is not None:
                out.append(self._gap(before, int(times[0]), hole))
            self._why, self._anew = "", False
            out.append(Chunk(self._device, self._signal, self.channels, rate, times, p.frame))
            self.samples += len(times)
        return out

    def _gap(self, start: int, end: int, hole: Hole) -> Event:
        why = self._why or (
            "the sensor began anew" if hole.start is None else "samples did not arrive"
        )
        self.lost += hole.lost or 0
        detail = {"why": why, "lost": hole.lost, "signal": self._signal}
        return Event(self._device, "gap", start, end, detail)

    def _state(self, now: int, rate: float) -> list[Chunk | Event]:
        """Say now and then how the sensor's clock does."""
        if self._signal != "ppg" or (self._told and now - self._told < CLOCK_EVERY):
            return []
        first, self._told = not self._told, now
        detail = {
            "skew_ppm": round(self.clock.skew_ppm, 1),
            "error_ms": round(self.clock.error_ms, 2),
            "rate": round(rate, 4),
        }
        return [] if first else [Event(self._device, "clock", now, now, detail)]


def _epochs(placed: Sequence[PlacedSamples[Rows]]) -> list[list[PlacedSamples[Rows]]]:
    """Split frames where the sensor's clock was set."""
    epochs: list[list[PlacedSamples[Rows]]] = []
    for p in placed:
        if not epochs or (p.hole is not None and p.hole.start is None):
            epochs.append([])
        epochs[-1].append(p)
    return epochs


def stated(measured: float, known: Sequence[float]) -> float:
    """Return the known rate that a measured one is close to, else the measured one, Hz."""
    near = min(known, key=lambda rate: abs(rate - measured))
    return near if abs(near / measured - 1) < TOLERANCE else round(measured, 2)
