"""Viatom/Wellue O2Ring and Checkme O2 (the older protocol): a ring that is asked for its waveform.

A question is ``AA command ~command number(2) length(2) payload crc8``, an answer ``55 status
~status number(2) length(2) payload crc8`` over as many notifications as it takes, little-endian.
Asked for the waveform (1B), it gives SpO2, pulse rate, battery, whether it is worn, and the samples
since it was last asked, 8 bits each, 125 a second; 156 and 246 stand for a beat that it found
there, not for a sample. Nothing is numbered and nothing tells the time.

An answer's first byte, that its status is told twice, and that what is not asked for in time is
gone are readings of others' programs; no ring has been met. The newer O2Ring-S speaks another
protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from innpar.devices.base import BadPacket, Chunk, Event
from innpar.devices.link.ble import BleLink
from innpar.devices.options import Options
from innpar.devices.sensors.family import Family
from innpar.devices.sensors.gatt import KEYS, Gatt, create
from innpar.devices.sensors.status import StatusChanges
from innpar.devices.timing.counted import CountedTrack
from innpar.devices.timing.track import Rows

if TYPE_CHECKING:
    from innpar.devices.timing.pace import Pace

SERVICE = "14839ac4-7d7e-415c-9a42-167340cf2339"
WRITE = "8b00ace7-eb0b-49b0-bbe9-9aee0a26e1a3"
NOTIFY = "0734594a-a8e7-4b1a-a6b1-cd5243059a57"
CHANNEL = "o2ring"
CHANNELS = ("pleth",)

QUESTION, ANSWER = 0xAA, 0x55
INFO, PARAMETERS, WAVE = 0x14, 0x17, 0x1B
HEAD, ENDS = 7, 8
"""Bytes before a payload, and around it."""

RATE = 125.0
MARKS = (156, 246)
MOST = 512
"""Bytes of a payload; the longest that was seen has half of that."""

ASK_EVERY = 0.5
UNANSWERED = 4
"""Turns (2 s) after which an answer is not waited for any more."""

WORN = 1


def crc8(data: bytes) -> int:
    """Return the checksum: polynomial 07, from 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return crc


def build(command: int, payload: bytes = b"", *, first: int = QUESTION, number: int = 0) -> bytes:
    """Return a frame: a question, or with `first` an answer whose status stands for the command."""
    head = struct.pack("<BBBHH", first, command, command ^ 0xFF, number, len(payload))
    return head + payload + bytes([crc8(head + payload)])


ASK = build(WAVE, b"\0")
"""For the waveform at 125 Hz."""


@dataclass(frozen=True, slots=True)
class O2RingReading:
    """What an answer to `ASK` tells.

    Attributes:
        spo2: Percent; None where not known.
        pulse: Beats a minute; None where not known.
        battery: Percent.
        worn: Whether there is a finger in it.
        samples: 0 to 255, `MARKS` among them.
    """

    spo2: int | None
    pulse: int | None
    battery: int
    worn: bool
    samples: bytes


def parse(payload: bytes) -> O2RingReading | None:
    """Read the payload of an answer; None where it answers another question.

    Raises:
        BadPacket: It ends within its samples.
    """
    if len(payload) < 12 or payload[:1] == b"{":
        return None
    spo2, pulse, battery, _, _, state, n = struct.unpack_from("<BHBBBB3xH", payload)
    if len(payload) < 12 + n:
        raise BadPacket(f"{n} samples announced, {len(payload) - 12} there", payload)
    if len(payload) > 12 + n:
        return None
    return O2RingReading(
        spo2 if 0 < spo2 <= 100 else None,
        pulse if 0 < pulse < 500 else None,
        min(battery, 100),
        state == WORN,
        payload[12:],
    )


class Frames:
    """Finds answers in bytes that are cut anyhow.

    Attributes:
        skipped: Bytes that belong to no whole answer.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.skipped: int = 0

    def push(self, raw: bytes) -> list[bytes]:
        """Take bytes; return the payloads of the answers that they complete."""
        data = self._rest + raw
        found: list[bytes] = []
        at = 0
        while (at := self._seek(data, at)) + ENDS <= len(data):
            size = ENDS + struct.unpack_from("<H", data, at + 5)[0]
            if size > ENDS + MOST:
                at += 1
                self.skipped += 1
            elif at + size > len(data):
                break
            elif crc8(data[at : at + size - 1]) != data[at + size - 1]:
                at += 1
                self.skipped += 1
            else:
                if data[at + 1] == 0:
                    found.append(data[at + HEAD : at + size - 1])
                at += size
        self._rest = data[at:]
        return found

    def _seek(self, data: bytes, at: int) -> int:
        """Return where an answer may begin."""
        begin = at
        while at < len(data):
            at = data.find(bytes([ANSWER]), at)
            if at < 0:
                at = len(data)
            elif len(data) - at < 3 or data[at + 1] ^ data[at + 2] == 0xFF:
                break
            else:
                at += 1
        self.skipped += at - begin
        return at


class O2RingDialogue:
    """Asks, and waits for the answer before it asks again."""

    def __init__(self) -> None:
        self._waiting = 0

    def answered(self) -> None:
        """Hear that an answer has come."""
        self._waiting = 0

    async def begin(self, link: BleLink) -> None:
        """Ask at once."""
        self._waiting = 1
        await link.write(WRITE, ASK, response=None)

    async def tick(self, link: BleLink) -> None:
        """Ask unless the last question is still being answered."""
        if not 0 < self._waiting < UNANSWERED:
            await self.begin(link)
        else:
            self._waiting += 1


class O2RingDecoder:
    """Turns notifications into chunks and events; see `life.Decoder`.

    Args:
        device: Id to put on everything.
        talk: Is told of answers.

    Attributes:
        bad: Notifications that ended in nothing that could be read.
    """

    def __init__(self, device: str, talk: O2RingDialogue | None = None) -> None:
        self._device = device
        self._talk = talk
        self._frames = Frames()
        self._lane = CountedTrack(device, CHANNELS, RATE)
        self._last: int | None = None
        self._told = StatusChanges(device)
        self.bad: int = 0

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the time of the last sample so far, by counting, and as many more as bytes."""
        return self._lane.stamp + self._lane.length(len(raw))

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Say why the next hole will be there; on a new link counting begins anew."""
        self._lane.interrupted(why)
        if relinked:
            self._frames = Frames()
            self._last = None
            self._lane.begin()

    def flush(self) -> list[Chunk | Event]:
        """Give out what waits for it to become clear whether something was lost."""
        return self._lane.flush()

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Take one notification.

        Raises:
            BadPacket: It made clear that something before it was no answer, and completed none.
        """
        before = self._frames.skipped
        payloads = self._frames.push(raw)
        if self._frames.skipped > before and not payloads:
            self.bad += 1
            raise BadPacket("no answer of an O2Ring", raw)
        out: list[Chunk | Event] = []
        for payload in payloads:
            try:
                reading = parse(payload)
            except BadPacket:
                self.bad += 1
                raise
            if self._talk is not None:
                self._talk.answered()
            if reading is not None:
                out += self._say(reading, arrival)
                out += self._samples(reading.samples, arrival)
        return out

    def _samples(self, samples: bytes, arrival: int) -> list[Chunk | Event]:
        values = self._unmarked(samples)
        if not len(values):
            return []
        rows: Rows = values[:, None]
        return self._lane.push(rows, arrival)

    def _unmarked(self, samples: bytes) -> Any:
        """Return samples with marks replaced by the one before; at the very first the one after."""
        values = []
        for value in samples:
            if value not in MARKS:
                self._last = value
            values.append(np.nan if self._last is None else float(self._last))
        found = np.array(values, np.float64)
        good = found[~np.isnan(found)]
        return np.where(np.isnan(found), good[0] if len(good) else 0.0, found)

    def _say(self, reading: O2RingReading, arrival: int) -> list[Event]:
        """Return events for what is not as it was told last."""
        told = self._told
        out = told.changed("wear", arrival, worn=reading.worn)
        out += told.changed("battery", arrival, percent=reading.battery)
        return out + told.vitals(arrival, reading.pulse, reading.spo2)


def family() -> Family:
    """Return what is particular to an O2Ring, with a conversation of its own."""
    talk = O2RingDialogue()
    return Family(
        name="o2ring",
        names=("O2Ring", "Checkme O2"),
        services=(),
        notify={NOTIFY: CHANNEL},
        remedy="put it on, bring it closer, and close the ViHealth app on every phone near",
        stream=lambda device: O2RingDecoder(device, talk),
        site="finger",
        begin=talk.begin,
        tick=talk.tick,
        every=ASK_EVERY,
        stall=4.0,
    )


def create_o2ring(argument: str, options: Mapping[str, str], pace: Pace) -> Gatt:
    """Make the device behind ``o2ring[:NAME or ADDRESS]``.

    Raises:
        Refused: An option makes no sense.
    """
    return create(family(), argument, Options("o2ring", options, KEYS))
