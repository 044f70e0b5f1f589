"""Decoder of a Polar sensor's notifications, with the host time of every sample. No radio.

The same object serves the live device, the decoding of captured traffic, and the benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
"""Channel names of the characteristics, for the tap and for `PolarDecoder.push`."""

NOT_LIGHT = ("status",)
"""Last channels that are not light and must not be chosen as such."""


class _SignalPart:
    """One signal of the sensor: its timeline and its track."""

    def __init__(
        self, device: str, signal: Signal, rates: Sequence[float], clock: SensorClock
    ) -> None:
        self.rates = tuple(rates)
        self.timeline: Timeline[Rows] = Timeline(rates)
        self.track = SignalTrack(device, (), signal, clock)

    def push(self, frame: PpgFrame, factor: float, arrival: int) -> list[Chunk | Event]:
        """Take a frame; return what can be given out."""
        labels = tuple(name for name in frame.channels if name not in NOT_LIGHT)
        out = self.flush() if labels != self.track.channels else []
        self.track.channels = labels
        rows = (frame.samples[:, : len(labels)] * pmd.scale(frame, factor)).astype(np.float64)
        return out + self._give(self.timeline.push(frame.time, len(rows), rows, arrival))

    def flush(self) -> list[Chunk | Event]:
        """Return the samples held back until the rate is known."""
        return self._give(self.timeline.flush())

    def _give(self, placed: list[PlacedSamples[Rows]]) -> list[Chunk | Event]:
        measured = self.timeline.rate
        return self.track.give(placed, stated(measured, self.rates), measured)


class PolarDecoder:
    """Decoder of notifications into chunks and events; see `Decoder`.

    Args:
        device: Id to put on everything.
        rates: Possible PPG rates, Hz, the one promised by the sensor first.
        acc_rate: Rate of the acceleration, Hz.
        acc_factor: Factor that the sensor answered when the acceleration was started.

    Attributes:
        bad: Number of frames that could not be decoded.
        sends: PPG rate, Hz: as promised by the sensor until it has been measured.
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
        self._status = StatusChanges(device)
        self._rate_reported = False
        self.sends: float = float(rates[0])
        self.bad: int = 0

    @property
    def samples(self) -> int:
        """Number of PPG samples given out."""
        return self._ppg.track.samples

    @property
    def lost(self) -> int:
        """Number of PPG samples known to be missing between them."""
        return self._ppg.track.lost

    @property
    def rate(self) -> float:
        """PPG rate, Hz of the sensor's own clock, as measured so far."""
        return self._ppg.timeline.rate

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Note the reason for the next gap, and whether the link was made anew."""
        for part in (self._ppg, self._acc):
            part.track.interrupted(why)
            if relinked:
                part.timeline.restart()
        if relinked:  # after a new link the arm is taken to be still
            self._status.forget("motion")

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Decode one notification.

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
                return [*self._status.changed("battery", arrival, percent=min(raw[0], 100))]
            if channel == CONTROL and raw[:1] == bytes([STOPPED]):
                return self._stopped(arrival, raw)
        except BadPacket:
            self.bad += 1
            raise
        return []

    def flush(self) -> list[Chunk | Event]:
        """Return the samples still held back until the rate is known."""
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
        """Return one notice if the sensor does not send at the rate that it promised."""
        timeline, promised = self._ppg.timeline, self._ppg.rates[0]
        if self._rate_reported or not timeline.settled:
            return []
        self._rate_reported = True
        self.sends = stated(timeline.rate, self._ppg.rates)
        if self.sends == promised:
            return []
        at = int(last.times[-1]) if isinstance(last, Chunk) else last.end
        text = f"the sensor says {promised:g} Hz and sends {self.sends:.4g} Hz"
        return [self._status.notice(at, NoticeCode.RATE_CORRECTED, text, rate=self.sends)]

    def _pulses(self, arrival: int, frame: Pulses) -> list[Chunk | Event]:
        pulses = frame.pulses
        if not pulses:
            return []
        out: list[Chunk | Event] = []
        for pulse in pulses:
            out += self._status.changed("motion", arrival, moving=pulse.blocker)
            if pulse.contact is not None:
                out += self._status.changed("wear", arrival, worn=pulse.contact)
        detail = {
            "ms": [pulse.interval for pulse in pulses],
            "error_ms": [pulse.error for pulse in pulses],
            "moving": [pulse.blocker for pulse in pulses],
        }
        return [*out, self._status.event("intervals", arrival, **detail)]

    def _heart_rate(self, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Read a Heart Rate Measurement (GATT 0x2A37); in SDK mode the rate is 0."""
        wide = bool(raw[:1]) and raw[0] & 1
        if len(raw) < 2 + wide:
            raise BadPacket(f"a heart rate has at least {2 + wide} bytes", raw)
        rate = int.from_bytes(raw[1 : 2 + wide], "little")
        contact = raw[0] >> 1 & 3
        out = self._status.changed("wear", arrival, worn=contact == 3) if contact & 2 else []
        if rate:
            out += self._status.changed("vitals", arrival, every=VITALS_EVERY, hr=rate)
        return [*out]

    def _stopped(self, arrival: int, raw: bytes) -> list[Chunk | Event]:
        kinds = [
            MeasurementKind(n).name if n in set(MeasurementKind) else str(n)
            for n in parse_stopped(raw)
        ]
        if MeasurementKind.PPG in parse_stopped(raw):
            self.interrupted("stopped by the sensor")
        text = f"the sensor stopped sending {', '.join(kinds)} by itself"
        return [self._status.notice(arrival, NoticeCode.STOPPED_BY_SENSOR, text)]


def recorded_decoder(device: str, settings: Mapping[str, Any]) -> PolarDecoder:
    """Return the decoder of a recording, from the ``decoder`` detail of its ``connected`` event.

    Raises:
        KeyError, TypeError, ValueError: The settings are incomplete or invalid.
    """
    return PolarDecoder(
        device,
        settings["rates"],
        acc_rate=settings["acc_rate"],
        acc_factor=settings["acc_factor"],
    )
