"""BerryMed finger clips (BM1000 and its like) and what else speaks the BCI protocol.

Version 1.2 sends five-byte packets, 100 a second, cut into notifications anyhow; only the first
byte of a packet has its top bit set. Version 1.5 sends twenty-byte packets. Both begin to send as
soon as somebody subscribes, and neither numbers its samples or tells the time.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .base import NS, BadPacket, Chunk, Event
from .counted import CountedLane
from .gatt import KEYS, Family, Gatt, create
from .lane import Rows
from .options import Options
from .told import VITALS_EVERY, Told

if TYPE_CHECKING:
    from .pace import Pace

SERVICE = "49535343-fe7d-4ae5-8fa9-9fafd205e455"
NOTIFY = "49535343-1e4d-4bd9-ba61-23c647249616"
CHANNEL = "bci"

RATE = 100.0
RATES = (50, 100, 200)
"""What version 1.5 can be set to beside one a second, which shows no pulse."""

MARK = b"\xff\xaa"
SIZE = 20


@dataclass(frozen=True, slots=True)
class Reading:
    """One packet.

    Attributes:
        pleth: Waveform, 1 to 100; NaN where there is none.
        adc: Raw counts; None in version 1.2.
        rate: Packets a second; None in version 1.2, where they are 100.
        spo2: Percent, None where not known.
        pulse: Beats a minute, None where not known.
        worn: Whether there is a finger; None where the packet does not say.
        battery: Percent; None in version 1.2.
    """

    pleth: float
    adc: int | None
    rate: int | None
    spo2: int | None
    pulse: int | None
    worn: bool | None
    battery: int | None = None


class Parser:
    """Finds packets in a stream of bytes that is cut anyhow.

    Attributes:
        skipped: Bytes that belong to no whole packet.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._long = False  # version 1.5: its mark cannot occur in version 1.2
        self._short = False  # version 1.2: two packets have followed on each other
        self._checked = False
        self.skipped = 0

    def due(self, raw: bytes) -> int:
        """Return about how many packets these bytes would complete."""
        data = self._rest + raw
        return len(data) // (SIZE if self._long or MARK in data else 5)

    def push(self, raw: bytes) -> list[Reading]:
        """Take bytes; return the packets that they complete."""
        data, self._rest = self._rest + raw, b""
        self._long |= MARK in data
        return self._longs(data, len(raw)) if self._long else self._shorts(data)

    def _longs(self, data: bytes, whole: int) -> list[Reading]:
        """Read packets of version 1.5 and keep the beginning of one."""
        found: list[Reading] = []
        while (at := data.find(MARK)) >= 0 and len(data) >= at + SIZE:
            self.skipped += at
            packet = data[at : at + SIZE]
            # One in 256 torn packets sums rightly with the beginning of the next, which then does
            # so whole.
            inner = data.find(MARK, at + 2, at + SIZE)
            right = _sums(packet) and not (inner >= 0 and _sums(data[inner : inner + SIZE]))
            # Some devices are said to sum wrongly: then only a whole notification is believed.
            if right or (not self._checked and len(data) == whole == SIZE):
                self._checked |= right
                reading = parse_long(packet)
                found += [] if reading is None else [reading]
                data = data[at + SIZE :]
            else:
                self.skipped += 2
                data = data[at + 2 :]
        keep = at if at >= 0 else len(data) - data.endswith(MARK[:1])
        self.skipped += keep
        self._rest = data[keep:]
        return found

    def _shorts(self, data: bytes) -> list[Reading]:
        """Read packets of version 1.2 and keep the beginning of one."""
        found: list[Reading] = []
        at = 0
        while at < len(data):
            packet = data[at : at + 5]
            ends = next((i for i in range(1, len(packet)) if packet[i] & 0x80), len(packet))
            if packet[0] & 0x80 and ends == 5 and self._believe(data, at + 5):
                found.append(parse_short(packet))
            elif packet[0] & 0x80 and at + ends == len(data):
                self._rest = packet
                break
            else:
                ends = ends if packet[0] & 0x80 else 1
                self.skipped += ends
            at += ends
        return found

    def _believe(self, data: bytes, after: int) -> bool:
        """Whether a packet of version 1.2 is one: the first only where the next begins after it.

        A stream of version 1.5 that was joined halfway may look like one.
        """
        self._short |= data[after : after + 1] >= b"\x80"
        return self._short


def _sums(packet: bytes) -> bool:
    return len(packet) == SIZE and sum(packet[:-1]) & 0xFF == packet[-1]


def parse_short(packet: bytes) -> Reading:
    """Read five bytes of version 1.2."""
    state, pleth, bar, low, spo2 = packet
    pulse = (bar & 0x40) << 1 | low & 0x7F
    there = not (state & 0x20 or bar & 0x10)
    return Reading(
        float(pleth) if 0 < pleth <= 100 and there else math.nan,
        None,
        None,
        None if spo2 == 0x7F else spo2,
        None if pulse == 0xFF else pulse,
        there,
    )


def parse_long(packet: bytes) -> Reading | None:
    """Read twenty bytes of version 1.5; None for those that tell a version."""
    if packet[2:3] in (b"S", b"H"):
        return None
    pleth, adc, _, rate = struct.unpack_from("<BiBB", packet, 12)
    return Reading(
        float(pleth) if 1 <= pleth <= 100 else math.nan,
        adc,
        rate,
        packet[5] if 0 < packet[5] <= 100 else None,
        packet[7] or None if packet[7] != 0xFF else None,
        None,
        min(packet[17] & 0x7F, 100),
    )


class BerryMedStream:
    """Turns notifications into chunks and events.

    Args:
        device: Id to put on everything.

    Attributes:
        bad: Notifications in which nothing was a packet.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._parser = Parser()
        self._lane: CountedLane | None = None
        self._nominal = RATE
        self._told = Told(device)
        self._slow = False
        self.bad = 0

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return when the samples end that the bytes complete, as the count has it."""
        n = self._parser.due(raw)
        return self._lane.stamp + self._lane.length(n) if self._lane else round(n * NS / RATE)

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Say why the next hole will be there; on a new link counting begins anew."""
        if self._lane is None:
            return
        self._lane.interrupted(why)
        if relinked:
            self._parser = Parser()
            self._lane.begin()

    def flush(self) -> list[Chunk | Event]:
        """Give out what waits for it to become clear whether something was lost."""
        return self._lane.flush() if self._lane else []

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Take one notification.

        Raises:
            BadPacket: Nothing in it is a packet, though packets were due.
        """
        before = self._parser.skipped
        readings = self._parser.push(raw)
        if self._parser.skipped > before and not readings:
            self.bad += 1
            raise BadPacket("no packet of a BerryMed", raw)
        out: list[Chunk | Event] = []
        for reading in readings:
            out += self._say(reading, arrival)
        rows = [r for r in readings if r.rate is None or r.rate in RATES]
        while rows:
            n = next((i for i, r in enumerate(rows) if _kind(r) != _kind(rows[0])), len(rows))
            out += self._samples(rows[:n], arrival)
            rows = rows[n:]
        return out

    def _samples(self, readings: list[Reading], arrival: int) -> list[Chunk | Event]:
        version, rate = _kind(readings[0])
        channels = ("adc", "pleth") if version else ("pleth",)
        if self._lane is None or channels != self._lane.channels:
            self._lane, self._nominal = CountedLane(self._device, channels, rate), rate
        if rate != self._nominal:
            self._nominal = rate
            self._lane.begin(rate)
        rows: Rows = np.array(
            [[r.adc, r.pleth] if version else [r.pleth] for r in readings], np.float64
        )
        return self._lane.push(rows, arrival)

    def _say(self, reading: Reading, arrival: int) -> list[Event]:
        told = self._told
        out: list[Event] = []
        if reading.worn is not None:
            out += told.changed("wear", arrival, worn=reading.worn)
        if reading.pulse is not None or reading.spo2 is not None:
            vitals = {"hr": reading.pulse, "spo2": reading.spo2}
            out += told.changed("vitals", arrival, every=VITALS_EVERY, **vitals)
        if reading.battery is not None:
            out += told.changed("battery", arrival, percent=reading.battery)
        if reading.rate is not None and reading.rate not in RATES and not self._slow:
            self._slow = True
            text = f"it sends {reading.rate} packets a second, which shows no pulse"
            out.append(told.event("notice", arrival, text=text))
        return out


def _kind(reading: Reading) -> tuple[bool, float]:
    """Return whether it is of version 1.5, and the rate."""
    return reading.rate is not None, RATE if reading.rate is None else float(reading.rate)


FAMILY = Family(
    name="berrymed",
    names=("BerryMed",),
    services=(),
    notify={NOTIFY: CHANNEL},
    remedy="put a finger in it, bring it closer, and close every app that may hold it",
    stream=BerryMedStream,
    site="finger",
)


def create_berrymed(argument: str, options: Mapping[str, str], pace: Pace) -> Gatt:
    """Make the device behind ``berrymed[:ADDRESS]``."""
    return create(FAMILY, argument, Options("berrymed", options, KEYS))
