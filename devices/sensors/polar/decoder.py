"""A Polar sensor's notifications → chunks and events, with every sample's host time. No radio.

The same object serves the live device, the decoding of captured traffic, and the benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from innpar.devices.base import BadPacket, Chunk, Event, Signal
from innpar.devices.notices import NoticeCode
from innpar.devices.sensors.polar import frames as pmd
from innpar.devices.sensors.polar.control_frames import STOPPED, parse_stopped
from innpar.devices.sensors.polar.frames import MeasurementKind, PpgFrame, Pulses
from innpar.devices.sensors.status import VITALS_EVERY, StatusChanges
from innpar.devices.timing.clock import SensorClock
from innpar.devices.timing.timeline import PlacedSamples, Timeline
from innpar.devices.timing.track import Rows, SignalTrack, stated

DATA, CONTROL, HEART_RATE, BATTERY = "pmd", "control", "hr", "battery"
"""Names of the characteristics, as the tap and `PolarDecoder.push` know them."""

NOT_LIGHT = ("status",)
"""Last channels that are no light and would mislead whoever chooses among them."""


class _SignalPart:
    """One signal of the sensor: its place in time, and its lane."""

    def __init__(
        self, device: str, signal: Signal, rates: Sequence[float], clock: SensorClock
    ) -> None:
        self.rates = tuple(rates)
        self.timeline: Timeline[Rows] = Timeline(rates)
        self.lane = SignalTrack(device, (), signal, clock)

    def push(self, frame: PpgFrame, factor: float, arrival: int) -> list[Chunk | Event]:
        """Take a frame; return what can be given out."""
        labels = tuple(name for name in frame.channels if name not in NOT_LIGHT)
        out = self.flush() if labels != self.lane.channels else []
        self.lane.channels = labels
        rows = (frame.samples[:, : len(labels)] * pmd.scale(frame, factor)).astype(np.float64)
        return out + self._give(self.timeline.push(frame.time, len(rows), rows, arrival))

    def flush(self) -> list[Chunk | Event]:
        """Give out what is held back for the rate to become known."""
        return self._give(self.timeline.flush())

    def _give(self, placed: list[PlacedSamples[Rows]]) -> list[Chunk | Event]:
        measured = self.timeline.rate
        return self.lane.give(placed, stated(measured, self.rates), measured)


class PolarDecoder:
    """Turns notifications into chunks and events.

    Args:
        device: Id to put on everything.
        rates: What the PPG rate may be, Hz, the one the sensor promised first.
        acc_rate: Rate of the acceleration, Hz.
        acc_factor: What the sensor answered when the acceleration was started.

    Attributes:
        bad: Frames that could not be decoded.
        sends: PPG samples a second: what the sensor promised, once measured what it sends.
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
        clock = SensorClock()
        self._ppg = _SignalPart(device, "ppg", rates, clock)
        self._acc = _SignalPart(device, "acc", (acc_rate,), clock)
        self._acc_factor = acc_factor
        self._told = StatusChanges(device)
        self._rate_told = False
        self.sends: float = float(rates[0])
        self.bad: int = 0

    @property
    def samples(self) -> int:
        """PPG samples given out."""
        return self._ppg.lane.samples

    @property
    def lost(self) -> int:
        """PPG samples known to be missing between them."""
        return self._ppg.lane.lost

    @property
    def rate(self) -> float:
        """PPG samples a second of the sensor's own clock, as measured so far."""
        return self._ppg.timeline.rate

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Say why the next hole will be there, and whether the link was made anew."""
        for part in (self._ppg, self._acc):
            part.lane.interrupted(why)
            if relinked:
                part.timeline.restart()
        if relinked:  # with a new link an arm is taken to be still
            self._told.forget("motion")

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
                return [*self._told.changed("battery", arrival, percent=min(raw[0], 100))]
            if channel == CONTROL and raw[:1] == bytes([STOPPED]):
                return self._stopped(arrival, raw)
        except BadPacket:
            self.bad += 1
            raise
        return []

    def flush(self) -> list[Chunk | Event]:
        """Give out what is still held back for the rate to become known."""
        return [*self._ppg.flush(), *self._acc.flush()]

    def _data(self, arrival: int, raw: bytes) -> list[Chunk | Event]:
        frame = pmd.decode(raw)
        if isinstance(frame, Pulses):
            return self._pulses(arrival, frame)
        if not isinstance(frame, PpgFrame):
            return []
        if frame.kind is not MeasurementKind.PPG:
            return self._acc.push(frame, self._acc_factor, arrival)
        out = self._ppg.push(frame, 1.0, arrival)
        return out + (self._true_rate(out[-1]) if out else [])

    def _true_rate(self, last: Chunk | Event) -> list[Chunk | Event]:
        """Say once where the sensor does not send at the rate that it promised."""
        timeline, promised = self._ppg.timeline, self._ppg.rates[0]
        if self._rate_told or not timeline.settled:
            return []
        self._rate_told = True
        self.sends = stated(timeline.rate, self._ppg.rates)
        if self.sends == promised:
            return []
        at = int(last.times[-1]) if isinstance(last, Chunk) else last.end
        text = f"the sensor says {promised:g} Hz and sends {self.sends:.4g} Hz"
        return [self._told.notice(at, NoticeCode.RATE_CORRECTED, text, rate=self.sends)]

    def _pulses(self, arrival: int, frame: Pulses) -> list[Chunk | Event]:
        pulses = frame.pulses
        if not pulses:
            return []
        out: list[Chunk | Event] = []
        for pulse in pulses:
            out += self._told.changed("motion", arrival, moving=pulse.blocker)
            if pulse.contact is not None:
                out += self._told.changed("wear", arrival, worn=pulse.contact)
        detail = {
            "ms": [pulse.interval for pulse in pulses],
            "error_ms": [pulse.error for pulse in pulses],
            "moving": [pulse.blocker for pulse in pulses],
        }
        return [*out, self._told.event("intervals", arrival, **detail)]

    def _heart_rate(self, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Read a Heart Rate Measurement (GATT 0x2A37); in SDK mode the rate is 0."""
        wide = bool(raw[:1]) and raw[0] & 1
        if len(raw) < 2 + wide:
            raise BadPacket(f"a heart rate has at least {2 + wide} bytes", raw)
        rate = int.from_bytes(raw[1 : 2 + wide], "little")
        contact = raw[0] >> 1 & 3
        out = self._told.changed("wear", arrival, worn=contact == 3) if contact & 2 else []
        if rate:
            out += self._told.changed("vitals", arrival, every=VITALS_EVERY, hr=rate)
        return [*out]

    def _stopped(self, arrival: int, raw: bytes) -> list[Chunk | Event]:
        kinds = [
            MeasurementKind(n).name if n in set(MeasurementKind) else str(n)
            for n in parse_stopped(raw)
        ]
        if MeasurementKind.PPG in parse_stopped(raw):
            self.interrupted("stopped by the sensor")
        text = f"the sensor stopped sending {', '.join(kinds)} by itself"
        return [self._told.notice(arrival, NoticeCode.STOPPED_BY_SENSOR, text)]
