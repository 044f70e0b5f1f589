"""A Polar sensor's notifications → chunks and events, with every sample's host time. No radio.

The same object serves the live device, the decoding of captured traffic, and the benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import pmd
from .base import NS, BadPacket, Chunk, Event, EventKind, Signal
from .clock import SensorClock, Steady
from .pmd import Kind, Pulses, Waveform
from .pmd_control import STOPPED, parse_stopped
from .timeline import TOLERANCE, Hole, Placed, Timeline

DATA, CONTROL, HEART_RATE, BATTERY = "pmd", "control", "hr", "battery"
"""Names of the characteristics, as the tap and `PolarStream.push` know them."""

CLOCK_EVERY = 60 * NS
"""How often the state of the clock is told."""

NOT_LIGHT = ("status",)
"""Last channels that are no light and would mislead whoever chooses among them."""


class _Lane:
    """One signal of the sensor: its place in time and what was said about it."""

    def __init__(self, signal: Signal, rates: Sequence[float], clock: SensorClock) -> None:
        self.signal = signal
        self.rates = tuple(rates)
        self.timeline: Timeline[Waveform] = Timeline(rates)
        self.steady = Steady(clock)
        self.why = ""
        self.told = False

    @property
    def rate(self) -> float:
        """The rate to state, Hz: the known one that the measured one is close to."""
        measured = self.timeline.rate
        near = min(self.rates, key=lambda known: abs(known - measured))
        return near if abs(near / measured - 1) < TOLERANCE else round(measured, 2)


class PolarStream:
    """Turns notifications into chunks and events.

    Args:
        device: Id to put on everything.
        rates: What the PPG rate may be, Hz, the one the sensor promised first.
        acc_rate: Rate of the acceleration, Hz.
        acc_factor: What the sensor answered when the acceleration was started.

    Attributes:
        bad: Frames that could not be decoded.
        samples: PPG samples given out.
        lost: PPG samples known to be missing between them.
    """

    def __init__(
        self,
        device: str,
        rates: Sequence[float],
        *,
        acc_rate: float = 52.0,
        acc_factor: float = 1.0,
    ) -> None:
        self._device = device
        self._clock = SensorClock()
        self._ppg = _Lane("ppg", rates, self._clock)
        self._acc = _Lane("acc", (acc_rate,), self._clock)
        self._acc_factor = acc_factor
        self._state: dict[EventKind, Any] = {}
        self._clock_told = 0
        self.bad = 0
        self.samples = 0
        self.lost = 0

    @property
    def rate(self) -> float:
        """PPG samples a second of the sensor's own clock, as measured so far."""
        return self._ppg.timeline.rate

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Say why the next hole will be there, and whether the link was made anew."""
        for lane in (self._ppg, self._acc):
            lane.why = lane.why or why
            if relinked:
                lane.timeline.restart()

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Take one notification.

        Args:
            channel: `DATA`, `CONTROL`, `HEART_RATE` or `BATTERY`.
            arrival: ns since the Unix epoch on the host's clock.
            raw: Its bytes.

        Raises:
            BadPacket: It cannot be decoded; it has been counted and the next one may be pushed.
        """
        try:
            if channel == DATA:
                return self._data(arrival, raw)
            if channel == HEART_RATE:
                return self._heart_rate(arrival, raw)
            if channel == BATTERY and raw:
                return self._changed("battery", arrival, percent=raw[0])
            if channel == CONTROL and raw[:1] == bytes([STOPPED]):
                return self._stopped(arrival, raw)
        except BadPacket:
            self.bad += 1
            raise
        return []

    def flush(self) -> list[Chunk | Event]:
        """Give out what is still held back for the rate to become known."""
        return [
            out
            for lane in (self._ppg, self._acc)
            for out in self._place(lane, lane.timeline.flush())
        ]

    def _data(self, arrival: int, raw: bytes) -> list[Chunk | Event]:
        frame = pmd.decode(raw)
        if isinstance(frame, Pulses):
            return self._pulses(arrival, frame)
        if not isinstance(frame, Waveform):
            return []
        lane = self._ppg if frame.kind is Kind.PPG else self._acc
        placed = lane.timeline.push(frame.time, len(frame.samples), frame, arrival)
        return self._place(lane, placed)

    def _place(self, lane: _Lane, placed: list[Placed[Waveform]]) -> list[Chunk | Event]:
        if any(p.hole is not None and p.hole.start is None for p in placed):
            self._clock.reset()
            self._ppg.steady.epoch()
            self._acc.steady.epoch()
        for p in placed:
            self._clock.observe(int(p.times[-1]), p.arrival)
        out: list[Chunk | Event] = []
        for p in placed:
            before = lane.steady.last
            times = lane.steady.host(p.times)
            if p.hole is not None and before is not None:
                out.append(self._gap(lane, before, int(times[0]), p.hole))
            lane.why = ""
            out.append(self._chunk(lane, p.frame, times))
            if lane is self._ppg:
                self.samples += len(times)
        if placed and lane is self._ppg:
            out += self._remarks(int(times[-1]))
        return out

    def _chunk(self, lane: _Lane, frame: Waveform, times: npt.NDArray[np.int64]) -> Chunk:
        labels = tuple(name for name in frame.channels if name not in NOT_LIGHT)
        factor = pmd.scale(frame, 1.0 if lane is self._ppg else self._acc_factor)
        data = (frame.samples[:, : len(labels)] * factor).astype(np.float64)
        return Chunk(self._device, lane.signal, labels, lane.rate, times, data)

    def _gap(self, lane: _Lane, start: int, end: int, hole: Hole) -> Event:
        lost = hole.lost
        why = lane.why or ("notification lost" if hole.start else "the sensor's clock was set")
        if lane is self._ppg:
            self.lost += lost or 0
        detail = {"why": why, "lost": lost, "signal": lane.signal}
        return Event(self._device, "gap", start, end, detail)

    def _remarks(self, now: int) -> list[Chunk | Event]:
        """Say once what the rate really is, and now and then how the clock does."""
        out: list[Chunk | Event] = []
        lane = self._ppg
        promised = lane.rates[0]
        if not lane.timeline.settled:
            return []
        if not lane.told:
            lane.told = True
            if abs(lane.timeline.rate / promised - 1) >= TOLERANCE:
                text = f"the sensor says {promised:g} Hz and sends {lane.timeline.rate:.4g} Hz"
                out.append(self._event("notice", now, text=text))
            self._clock_told = now
        elif now - self._clock_told >= CLOCK_EVERY:
            self._clock_told = now
            skew, error = round(self._clock.skew_ppm, 1), round(self._clock.error_ms, 2)
            rate = round(lane.timeline.rate, 4)
            out.append(self._event("clock", now, skew_ppm=skew, error_ms=error, rate=rate))
        return out

    def _pulses(self, arrival: int, frame: Pulses) -> list[Chunk | Event]:
        out: list[Chunk | Event] = []
        for pulse in frame.pulses:
            out += self._changed("motion", arrival, moving=pulse.blocker)
            if pulse.contact is not None:
                out += self._changed("wear", arrival, worn=pulse.contact)
        return out

    def _heart_rate(self, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Take the skin contact out of a Heart Rate Measurement (GATT 0x2A37), where it is told."""
        if len(raw) < 2:
            raise BadPacket("a heart rate has at least two bytes", raw)
        contact = raw[0] >> 1 & 3
        return self._changed("wear", arrival, worn=contact == 3) if contact & 2 else []

    def _stopped(self, arrival: int, raw: bytes) -> list[Chunk | Event]:
        kinds = [Kind(n).name if n in set(Kind) else str(n) for n in parse_stopped(raw)]
        if Kind.PPG in parse_stopped(raw):
            self.interrupted("stopped by the sensor")
        text = f"the sensor stopped sending {', '.join(kinds)} by itself"
        return [self._event("notice", arrival, text=text)]

    def _changed(self, kind: EventKind, time: int, **detail: Any) -> list[Chunk | Event]:
        """Return an event where its detail is not what was said last."""
        if self._state.get(kind) == detail:
            return []
        self._state[kind] = detail
        return [self._event(kind, time, **detail)]

    def _event(self, kind: EventKind, time: int, **detail: Any) -> Event:
        return Event(self._device, kind, time, time, detail)
