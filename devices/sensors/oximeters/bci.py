"""The BCI protocol of fingertip oximeters: packets from a stream of bytes. No I/O.

Version 1.2 sends five bytes a sample, of which only the first has its top bit set. Version 1.5
sends twenty: a mark, an index, state, SpO2, pulse, waveform, counts, battery, rate, sum.

The meaning of index and state in version 1.5 follows a public decoder (``berry_protocol.py``,
"Berry Protocol V1.5"): the index runs from 0 to 255 and begins again, and the state's lowest bits
are set when the probe is off (1) and when there is no finger (2). Untested on hardware. The same
decoder takes an index of ``S`` or ``H`` for a version packet; as samples have these numbers too,
the packet must also hold text here.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

RATES = (50, 100, 200)
"""Rates of version 1.5, Hz, except one a second, which shows no pulse."""

INDICES = 256
"""Number of indices of version 1.5."""

OFF, NO_FINGER = 1, 2
"""Bits of the state in version 1.5."""

MARK = b"\xff\xaa"
SIZE = 20


@dataclass(frozen=True, slots=True)
class BciReading:
    """One packet.

    Attributes:
        pleth: Waveform, 1 to 100; NaN if there is none.
        adc: Raw counts; None in version 1.2.
        rate: Packets a second; None in version 1.2, where they are 100.
        spo2: Percent; None if unknown.
        pulse: Beats a minute; None if unknown.
        worn: Whether there is a finger; None if the packet does not say.
        battery: Percent; None in version 1.2.
        index: 0 to 255, a packet counter on some devices; None in version 1.2.
    """

    pleth: float
    adc: int | None
    rate: int | None
    spo2: int | None
    pulse: int | None
    worn: bool | None
    battery: int | None = None
    index: int | None = None


class BciParser:
    """Parser of packets in a stream of bytes cut at any place.

    Attributes:
        skipped: Number of bytes outside whole packets.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._long = False  # version 1.5: its mark cannot occur in version 1.2
        self._short = False  # version 1.2: two packets have followed each other
        self._checked = False
        self.skipped: int = 0

    def due(self, raw: bytes) -> int:
        """Return the approximate number of packets that these bytes complete."""
        data = self._rest + raw
        return len(data) // (SIZE if self._long or MARK in data else 5)

    def push(self, raw: bytes) -> list[BciReading]:
        """Return the packets that these bytes complete."""
        data, self._rest = self._rest + raw, b""
        self._long |= MARK in data
        return self._longs(data, len(raw)) if self._long else self._shorts(data)

    def _longs(self, data: bytes, whole: int) -> list[BciReading]:
        """Parse packets of version 1.5; keep an incomplete one."""
        found: list[BciReading] = []
        while (at := data.find(MARK)) >= 0 and len(data) >= at + SIZE:
            self.skipped += at
            packet = data[at : at + SIZE]
            # One in 256 torn packets has a right sum with the beginning of the next packet, whose
            # own sum is then right as well.
            inner = data.find(MARK, at + 2, at + SIZE)
            right = _sums(packet) and not (inner >= 0 and _sums(data[inner : inner + SIZE]))
            # Some devices are said to sum wrongly: then only a whole notification is accepted.
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

    def _shorts(self, data: bytes) -> list[BciReading]:
        """Parse packets of version 1.2; keep an incomplete one."""
        found: list[BciReading] = []
        at = 0
        while at < len(data):
            packet = data[at : at + 5]
            ends = next((i for i in range(1, len(packet)) if packet[i] & 0x80), len(packet))
            if packet[0] & 0x80 and ends == 5 and self._accept(data, at + 5):
                found.append(parse_short(packet))
            elif packet[0] & 0x80 and at + ends == len(data):
                self._rest = packet
                break
            else:
                ends = ends if packet[0] & 0x80 else 1
                self.skipped += ends
            at += ends
        return found

    def _accept(self, data: bytes, after: int) -> bool:
        """Return whether to accept a packet of version 1.2: the first needs a second after it.

        A stream of version 1.5 received from the middle of a packet may look like version 1.2.
        """
        self._short |= data[after : after + 1] >= b"\x80"
        return self._short


def _sums(packet: bytes) -> bool:
    return len(packet) == SIZE and sum(packet[:-1]) & 0xFF == packet[-1]


def parse_short(packet: bytes) -> BciReading:
    """Parse five bytes of version 1.2."""
    state, pleth, bar, low, spo2 = packet
    pulse = (bar & 0x40) << 1 | low & 0x7F
    there = not (state & 0x20 or bar & 0x10)
    return BciReading(
        float(pleth) if 0 < pleth <= 100 and there else math.nan,
        None,
        None,
        None if spo2 == 0x7F else spo2,
        None if pulse == 0xFF else pulse,
        there,
    )


def parse_long(packet: bytes) -> BciReading | None:
    """Parse twenty bytes of version 1.5; None for a version packet."""
    text, _, rest = packet[3:18].partition(b"\0")
    if packet[2:3] in (b"S", b"H") and not any(rest) and all(0x20 <= c < 0x7F for c in text):
        return None
    pleth, adc, _, rate = struct.unpack_from("<BiBB", packet, 12)
    return BciReading(
        float(pleth) if 1 <= pleth <= 100 else math.nan,
        adc,
        rate,
        packet[5] if 0 < packet[5] <= 100 else None,
        packet[7] or None if packet[7] != 0xFF else None,
        not packet[3] & (OFF | NO_FINGER),
        min(packet[17] & 0x7F, 100),
        packet[2],
    )
