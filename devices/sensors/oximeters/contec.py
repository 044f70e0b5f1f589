"""Contec CMS50D+ finger clips (firmware 4.6 and later) on USB serial, 60 samples a second.

Nine-byte frames ``01 state … FF FF`` of which only the first byte has its top bit clear. The older
models at 19200 baud send other frames and are not read. Untested on hardware; what the state means
is the reading of a public driver (headrotor/contec_data): E0 all is valid, E1 pulse and SpO2 are
not, E2 nothing is, which is taken for no finger.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from innpar.devices.base import BadPacket, Chunk, Event
from innpar.devices.link.serial_port import Wire, Wired
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
"""Seconds between two of `KEEP`."""

VALID, NOTHING = 0xE0, 0xE2

SLOWEST = 25
"""Beats a minute. Seven bits hold a pulse, so a fast one looks like none that there is."""


@dataclass(frozen=True, slots=True)
class ContecReading:
    """One frame.

    Attributes:
        pleth: Waveform, 0 to 127; NaN where there is no pulse.
        pulse: Beats a minute; None where not known.
        spo2: Percent; None where not known.
        worn: Whether there is a finger in it.
    """

    pleth: float
    pulse: int | None
    spo2: int | None
    worn: bool = True


def parse(frame: bytes) -> ContecReading:
    """Read nine bytes."""
    pulse, spo2 = frame[5] & 0x7F, frame[6] & 0x7F
    if frame[1] != VALID:
        return ContecReading(math.nan, None, None, frame[1] != NOTHING)
    return ContecReading(
        float(frame[3] & 0x7F),
        pulse if pulse >= SLOWEST else None,
        spo2 if 0 < spo2 <= 100 else None,
    )


class ContecParser:
    """Finds frames in a stream of bytes that is cut anyhow.

    Attributes:
        skipped: Bytes that belong to no whole frame.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.skipped: int = 0

    def due(self, raw: bytes) -> int:
        """Return how many frames these bytes would complete."""
        return (len(self._rest) + len(raw)) // SIZE

    def push(self, raw: bytes) -> list[ContecReading]:
        """Take bytes; return the frames that they complete."""
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
    """Turns bytes into chunks and events; see `life.Decoder`.

    Attributes:
        bad: Reads in which nothing was a frame.
    """

    def __init__(self, device: str) -> None:
        self._lane = CountedTrack(device, ("pleth",), RATE)
        self._parser = ContecParser()
        self._told = StatusChanges(device)
        self.bad: int = 0

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return when the samples end that the bytes complete, as the count has it."""
        return self._lane.stamp + self._lane.length(self._parser.due(raw))

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Say why the next hole will be there; plugged in again, counting begins anew."""
        self._lane.interrupted(why)
        if relinked:
            self._parser = ContecParser()
            self._lane.begin()

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Take what was read.

        Raises:
            BadPacket: Nothing in it is a frame, though one was due.
        """
        before = self._parser.skipped
        readings = self._parser.push(raw)
        if not readings:
            if self._parser.skipped > before:
                self.bad += 1
                raise BadPacket("no frame of a CMS50D+", raw)
            return []
        out: list[Chunk | Event] = []
        for reading in readings:
            out += self._told.changed("wear", arrival, worn=reading.worn)
            out += self._told.vitals(arrival, reading.pulse, reading.spo2)
        rows = np.array([[r.pleth] for r in readings], np.float64)
        return out + self._lane.push(rows, arrival)

    def flush(self) -> list[Chunk | Event]:
        """Give out what waits for it to become clear whether something was lost."""
        return self._lane.flush()


WIRE = Wire("contec", BAUD, ContecDecoder, START, KEEP, EVERY, site="finger")


def create_contec(argument: str, options: Mapping[str, str], pace: Pace) -> Wired:
    """Make the device behind ``contec:PORT``.

    Raises:
        Refused: No port was named, or an option makes no sense.
    """
    from innpar.devices.sensors.boards.serial_lines import port_of

    given = Options("contec", options, {"id": "what to call it in topics and files"})
    return Wired(WIRE, port_of("contec", argument), given.identity("") if "id" in given else None)
