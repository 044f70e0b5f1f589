"""Contec CMS50D+ finger clips (firmware 4.6 and later) on USB serial, 60 samples a second.

Nine-byte frames ``01 state … FF FF`` of which only the first byte has its top bit clear. The older
models at 19200 baud send other frames and are not supported. Untested on hardware; the meaning of
the state follows a public driver (headrotor/contec_data): E0 all valid, E1 pulse and SpO2 invalid,
E2 nothing valid, taken as no finger.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from innpar.devices.base import BadPacket, Chunk, Event
from innpar.devices.link.serial_port import CHANNEL, Wire, Wired
from innpar.devices.options import Options
from innpar.devices.sensors.status import StatusChanges
from innpar.devices.timing.counted import CountedTrack

if TYPE_CHECKING:
    from innpar.devices.timing.pace import Pace

BAUD = 115_200
RATE = 60.0
SIZE = 9
START = bytes.fromhex("7d81a1808080808080")
KEEP = bytes.fromhex("7d81af808080808080")
EVERY = 5.0
"""Interval of `KEEP`, seconds."""

VALID, NOTHING = 0xE0, 0xE2

SLOWEST = 25
"""Least plausible pulse, beats a minute: seven bits hold it, so a fast one wraps around."""


@dataclass(frozen=True, slots=True)
class ContecReading:
    """One frame.

    Attributes:
        pleth: Waveform, 0 to 127; NaN if there is no pulse.
        pulse: Beats a minute; None if unknown.
        spo2: Percent; None if unknown.
        worn: Whether there is a finger in it.
    """

    pleth: float
    pulse: int | None
    spo2: int | None
    worn: bool = True


def parse(frame: bytes) -> ContecReading:
    """Parse nine bytes."""
    pulse, spo2 = frame[5] & 0x7F, frame[6] & 0x7F
    if frame[1] != VALID:
        return ContecReading(math.nan, None, None, frame[1] != NOTHING)
    return ContecReading(
        float(frame[3] & 0x7F),
        pulse if pulse >= SLOWEST else None,
        spo2 if 0 < spo2 <= 100 else None,
    )


class ContecParser:
    """Parser of frames in a stream of bytes cut at any place.

    Attributes:
        skipped: Number of bytes outside whole frames.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.skipped: int = 0

    def due(self, raw: bytes) -> int:
        """Return the number of frames that these bytes complete."""
        return (len(self._rest) + len(raw)) // SIZE

    def push(self, raw: bytes) -> list[ContecReading]:
        """Return the frames that these bytes complete."""
        data = self._rest + raw
        found: list[ContecReading] = []
        at = 0
        while at < len(data):
            frame = data[at : at + SIZE]
            ends = next((i for i in range(1, len(frame)) if not frame[i] & 0x80), len(frame))
            if frame[0] == 1 and ends == SIZE and frame[7:] == b"\xff\xff":
                found.append(parse(frame))
            elif frame[0] == 1 and at + ends == len(data) and ends < SIZE:
                break
            else:
                self.skipped += ends
            at += ends
        self._rest = data[at:]
        return found


class ContecDecoder:
    """Decoder of a CMS50D+; see `Decoder`.

    Attributes:
        bad: Number of reads without a frame.
    """

    channels = (CHANNEL,)

    def __init__(self, device: str) -> None:
        self._track = CountedTrack(device, ("pleth",), RATE)
        self._parser = ContecParser()
        self._status = StatusChanges(device)
        self.bad: int = 0

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the time of the last sample that the bytes complete, by count."""
        return self._track.stamp + self._track.length(self._parser.due(raw))

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Note the reason for the next gap; plugged in again, counting begins anew."""
        self._track.interrupted(why)
        if relinked:
            self._parser = ContecParser()
            self._track.begin()

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Decode the bytes of one read.

        Raises:
            BadPacket: They hold no frame, though one was due.
        """
        before = self._parser.skipped
        readings = self._parser.push(raw)
        if not readings:
            if self._parser.skipped > before:
                self.bad += 1
                raise BadPacket("not a frame of a CMS50D+", raw)
            return []
        out: list[Chunk | Event] = []
        for reading in readings:
            out += self._status.changed("wear", arrival, worn=reading.worn)
            out += self._status.vitals(arrival, reading.pulse, reading.spo2)
        rows = np.array([[r.pleth] for r in readings], np.float64)
        return out + self._track.push(rows, arrival)

    def flush(self) -> list[Chunk | Event]:
        """Return the samples still held back until losses are known."""
        return self._track.flush()


WIRE = Wire("contec", BAUD, ContecDecoder, START, KEEP, EVERY, site="finger")


def create_contec(argument: str, options: Mapping[str, str], pace: Pace) -> Wired:
    """Return the device for ``contec:PORT``.

    Raises:
        Refused: No port is given, or an option is invalid.
    """
    from innpar.devices.sensors.boards.serial_lines import port_of

    given = Options("contec", options, {"id": "name in topics and files"})
    return Wired(WIRE, port_of("contec", argument), given.identity("") if "id" in given else None)
