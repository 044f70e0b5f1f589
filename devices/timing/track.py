"""Conversion of one signal's placed frames to chunks and gaps at host time. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, Chunk, Event, Signal
from innpar.devices.timing.clock import MonotonicTimes, SensorClock
from innpar.devices.timing.timeline import TOLERANCE, Hole, PlacedSamples

CLOCK_EVERY = 60 * NS
"""Interval of ``clock`` events, ns."""

Rows = npt.NDArray[np.float64]
"""(samples, channels)."""


class SignalTrack:
    """Chunks of one signal at host time, with gaps and clock reports.

    Args:
        device: Device id of the chunks and events.
        channels: One label per column.
        signal: See `Chunk`.
        clock: The sensor's clock, if several signals share it; only the PPG's track reports it.

    Attributes:
        channels: As given; may be changed at a gap.
        clock: The sensor's clock relative to the host's.
        samples: Number of samples returned so far.
        lost: Number of samples known to be missing between them.
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
        self._times = MonotonicTimes(self.clock)
        self._why = ""
        self._anew = False
        self._reported = 0  # time of the last clock report, ns
        self.samples: int = 0
        self.lost: int = 0

    @property
    def last(self) -> int | None:
        """Time of the last sample returned, ns since the Unix epoch; None before any."""
        return self._times.last

    def interrupted(self, why: str) -> None:
        """Set the reason of the next gap, unless one has been set."""
        self._why = self._why or why

    def anew(self) -> None:
        """Start a new time base after a gap of unknown size."""
        self._anew = True

    def give(
        self, placed: Sequence[PlacedSamples[Rows]], rate: float, measured: float | None = None
    ) -> list[Chunk | Event]:
        """Convert placed frames to chunks and events.

        Args:
            placed: Frames with (samples,) times on the sensor's clock, ns.
            rate: Nominal rate of the chunks, Hz.
            measured: Rate by the sensor's clock, Hz, for ``clock`` events; `rate` by default.
        """
        out: list[Chunk | Event] = []
        for epoch in _epochs(placed):
            out += self._of_epoch(epoch, rate)
        now = self._times.last
        return [*out, *(self._report(now, measured or rate) if placed and now is not None else ())]

    def _of_epoch(self, placed: Sequence[PlacedSamples[Rows]], rate: float) -> list[Chunk | Event]:
        """Convert frames among which only the first may follow a set of the sensor's clock."""
        first = placed[0].hole
        if self._anew or (first is not None and first.start is None):
            self.clock.reset()
        for p in placed:
            self.clock.observe(int(p.times[-1]), p.arrival)
        out: list[Chunk | Event] = []
        for p in placed:
            before = self._times.last
            times = self._times.host(p.times)
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

    def _report(self, now: int, rate: float) -> list[Chunk | Event]:
        """Return a ``clock`` event every `CLOCK_EVERY`."""
        if self._signal != "ppg" or (self._reported and now - self._reported < CLOCK_EVERY):
            return []
        first, self._reported = not self._reported, now
        detail = {
            "skew_ppm": round(self.clock.skew_ppm, 1),
            "error_ms": round(self.clock.error_ms, 2),
            "rate": round(rate, 4),
        }
        return [] if first else [Event(self._device, "clock", now, now, detail)]


def _epochs(placed: Sequence[PlacedSamples[Rows]]) -> list[list[PlacedSamples[Rows]]]:
    """Split frames wherever the sensor's clock was set."""
    epochs: list[list[PlacedSamples[Rows]]] = []
    for p in placed:
        if not epochs or (p.hole is not None and p.hole.start is None):
            epochs.append([])
        epochs[-1].append(p)
    return epochs


def stated(measured: float, known: Sequence[float]) -> float:
    """Return the known rate close to the measured one, else the measured one rounded, Hz."""
    near = min(known, key=lambda rate: abs(rate - measured))
    return near if abs(near / measured - 1) < TOLERANCE else round(measured, 2)
