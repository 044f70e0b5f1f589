"""Nonin 3150 wrist oximeters: twenty-five samples a packet, three packets a second.

From second-hand accounts of Nonin's specification 113142-000-02, untested on hardware. The sensor
requires bonding: pair it first with the system's Bluetooth settings. A 3230 has no waveform. The
unit of the packets' counter is not documented, so the smallest step seen is taken as one packet.
SpO2, pulse, wear and battery state come once a second, decoded as in a public decoder
(maurovm/swift-async_pulse_ox).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from innpar.devices.base import NS, BadPacket, Chunk, Event
from innpar.devices.notices import NoticeCode
from innpar.devices.options import Options
from innpar.devices.sensors.family import Family
from innpar.devices.sensors.gatt import KEYS, Gatt, create
from innpar.devices.sensors.status import StatusChanges
from innpar.devices.timing.repeats import SOON, Repeats
from innpar.devices.timing.timeline import Timeline
from innpar.devices.timing.track import Rows, SignalTrack, stated

if TYPE_CHECKING:
    from innpar.devices.timing.pace import Pace

SERVICE = "46a970e0-0d5f-11e2-8b5e-0002a5d5c51b"
LIGHT = "ec0a883a-4d24-11e7-b114-b2f933d5fe66"
CHANNEL = "df22"
OXIMETRY = {"0aad7ea0-0d60-11e2-8e3c-0002a5d5c51b": "oximetry"}

ON_FINGER, LOW_BATTERY = 0x10, 0x20
"""Bits of the state byte."""

RATE = 75.0
SAMPLES = 25
SIZE = 53
NUMBERS = 1 << 16


def parse(raw: bytes) -> tuple[int, tuple[int, ...]]:
    """Return the counter and the 25 samples, 16-bit counts.

    Raises:
        BadPacket: It does not have 53 bytes, or states another length.
    """
    if len(raw) != SIZE or raw[0] != SIZE:
        raise BadPacket(f"a packet of light has {SIZE} bytes and states so, not {len(raw)}", raw)
    *samples, counter = struct.unpack(f">{SAMPLES + 1}H", raw[1:])
    return counter, tuple(samples)


@dataclass(frozen=True, slots=True)
class NoninReading:
    """Reading of SpO2, pulse, wear and battery, once a second.

    Attributes:
        spo2: Percent; None if unknown.
        pulse: Beats a minute; None if unknown.
        worn: Whether it is on a finger.
        low: Whether the batteries are low.
    """

    spo2: int | None
    pulse: int | None
    worn: bool
    low: bool


def parse_oximetry(raw: bytes) -> NoninReading:
    """Parse length, state, voltage, amplitude (2 bytes), counter (2), SpO2, pulse (2).

    Raises:
        BadPacket: It has fewer than these ten bytes, or states another length.
    """
    if len(raw) < 10 or raw[0] != len(raw):
        raise BadPacket(f"a reading has 10 bytes and states so, not {len(raw)}", raw)
    spo2, pulse = struct.unpack_from(">BH", raw, 7)
    return NoninReading(
        spo2 if 0 < spo2 <= 100 else None,
        pulse if 0 < pulse < 500 else None,
        bool(raw[1] & ON_FINGER),
        bool(raw[1] & LOW_BATTERY),
    )


def build(counter: int, samples: tuple[int, ...]) -> bytes:
    """Return the packet of 25 samples."""
    return struct.pack(f">B{SAMPLES + 1}H", SIZE, *samples, counter % NUMBERS)


class NoninDecoder:
    """Decoder of a Nonin's notifications; see `Decoder`.

    Attributes:
        bad: Number of packets that could not be decoded.
        repeats: Packets that came more than once.
    """

    channels = (CHANNEL, *OXIMETRY.values())

    def __init__(self, device: str) -> None:
        self._track = SignalTrack(device, ("pleth",))
        self._status = StatusChanges(device)
        self._low = False
        self._step: int | None = None
        self._anew()
        self._arrival = 0  # of the last packet of light, ns
        self.repeats = Repeats(device)
        self.bad: int = 0

    def _anew(self) -> None:
        self._timeline: Timeline[Rows] = Timeline((RATE,))
        self._counter: int | None = None
        self._at = 0

    def _packets(self, counter: int) -> int | None:
        """Return the number of packets since the last one, including this; None if unknown."""
        if self._counter is None:
            return 1
        ahead = (counter - self._counter) % NUMBERS
        if not 0 < ahead < NUMBERS // 2:
            return None
        return max(round(ahead / min(self._step or ahead, ahead)), 1)

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the time of the last sample, by the counter."""
        if channel != CHANNEL:
            return _stamp(self._at)
        return _stamp(self._at + (self._packets(parse(raw)[0]) or 1))

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Note the reason for the next gap; on a new link the counter may begin anew."""
        self._track.interrupted(why)
        if relinked:
            self.repeats.forget()
            self._anew()
            self._track.anew()

    def _repeated(self, counter: int, arrival: int, equal: bool) -> bool:
        """Return whether a packet came before: its bytes did, or its counter sooner than it can."""
        if self._counter is None:
            return False
        return equal or (counter == self._counter and arrival - self._arrival < SOON // 2)

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Decode one notification.

        Raises:
            BadPacket: It is not a packet of its channel.
        """
        try:
            if channel != CHANNEL:
                return [*self._events(parse_oximetry(raw), arrival)]
            counter, samples = parse(raw)
        except BadPacket:
            self.bad += 1
            raise
        if self._repeated(counter, arrival, self.repeats.equal(channel, arrival, raw)):
            return [*self.repeats.drop(arrival)]
        self._arrival = arrival
        out: list[Chunk | Event] = []
        packets = self._packets(counter)
        if packets is None:
            out = self.flush()
            self._anew()
            self._track.anew()
            packets = 1
        elif self._counter is not None:
            ahead = (counter - self._counter) % NUMBERS
            self._step = min(self._step or ahead, ahead)
        self._counter = counter
        self._at += packets
        rows: Rows = np.array(samples, np.float64)[:, None]
        placed = self._timeline.push(_stamp(self._at), SAMPLES, rows, arrival)
        return out + self._track.give(placed, self._rate)

    def _events(self, reading: NoninReading, arrival: int) -> list[Event]:
        out = self._status.changed("wear", arrival, worn=reading.worn)
        out += self._status.vitals(arrival, reading.pulse, reading.spo2)
        if reading.low and not self._low:
            self._low = True
            text = "the batteries are low: change them"
            out.append(self._status.notice(arrival, NoticeCode.BATTERY_LOW, text))
        return out

    def flush(self) -> list[Chunk | Event]:
        """Return the samples still held back."""
        return self._track.give(self._timeline.flush(), self._rate)

    @property
    def _rate(self) -> float:
        return stated(self._timeline.rate, (RATE,))


def _stamp(at: int) -> int:
    """Return the time of a packet's last sample by count, ns."""
    return round(at * SAMPLES * NS / RATE)


FAMILY = Family(
    name="nonin",
    names=(),
    services=(SERVICE,),
    notify={LIGHT: CHANNEL},
    extras=OXIMETRY,
    remedy="put a finger in it, and pair it with the system's Bluetooth settings first",
    decoder=NoninDecoder,
    site="finger",
)


def create_nonin(argument: str, options: Mapping[str, str], pace: Pace) -> Gatt:
    """Return the device for ``nonin[:ADDRESS]``."""
    return create(FAMILY, argument, Options("nonin", options, KEYS))
