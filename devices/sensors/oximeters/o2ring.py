"""Viatom/Wellue O2Ring and Checkme O2 (the older protocol): a ring polled for its waveform.

A question is ``AA command ~command number(2) length(2) payload crc8``, an answer ``55 status
~status number(2) length(2) payload crc8`` over as many notifications as it takes, little-endian.
The answer to the waveform question (1B) holds SpO2, pulse rate, battery, wear, and the samples
since the last question, 8 bits each, 125 a second; 156 and 246 mark a beat that the ring detected
and are not samples. There is no sequence number and no clock.

The first byte of an answer, its repeated status, and the loss of samples not fetched in time are
taken from other programs; untested on hardware. The newer O2Ring-S has another protocol.
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
from innpar.devices.timing.repeats import SOON, Repeats
from innpar.devices.timing.track import Rows

if TYPE_CHECKING:
    from innpar.devices.timing.pace import Pace

SERVICE = "14839ac4-7d7e-415c-9a42-167340cf2339"
WRITE = "8b00ace7-eb0b-49b0-bbe9-9aee0a26e1a3"
NOTIFY = "0734594a-a8e7-4b1a-a6b1-cd5243059a57"
NAMES = (
    "O2Ring", "Checkme O2", "CheckO2", "SleepU", "SleepO2", "WearO2", "KidsO2", "BabyO2", "Oxylink",
)  # fmt: skip
"""Names under which it is sold; others are found by the service that they advertise."""
CHANNEL = "o2ring"
CHANNELS = ("pleth",)

QUESTION, ANSWER = 0xAA, 0x55
INFO, PARAMETERS, WAVE = 0x14, 0x17, 0x1B
HEAD, ENDS = 7, 8
"""Bytes before a payload, and before and after it together."""

RATE = 125.0
MARKS = (156, 246)
MOST = 512
"""Most bytes of a payload; the longest seen has half of that."""

ASK_EVERY = 0.5
UNANSWERED = 4
"""Polls (2 s) after which an unanswered question is repeated."""

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
    """Return a frame: a question, or with `first` an answer with its status as `command`."""
    head = struct.pack("<BBBHH", first, command, command ^ 0xFF, number, len(payload))
    return head + payload + bytes([crc8(head + payload)])


ASK = build(WAVE, b"\0")
"""Question for the waveform at 125 Hz."""


@dataclass(frozen=True, slots=True)
class O2RingReading:
    """Content of an answer to `ASK`.

    Attributes:
        spo2: Percent; None if unknown.
        pulse: Beats a minute; None if unknown.
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
    """Parse the payload of an answer; None if it answers another question.

    Raises:
        BadPacket: It ends among its samples.
    """
    if len(payload) < 12 or payload[:1] == b"{":
        return None
    spo2, pulse, battery, _, _, state, n = struct.unpack_from("<BHBBBB3xH", payload)
    if len(payload) < 12 + n:
        raise BadPacket(f"{n} samples announced, {len(payload) - 12} present", payload)
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
    """Parser of answers in a stream of bytes cut at any place.

    Attributes:
        skipped: Number of bytes outside whole answers.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.skipped: int = 0

    @property
    def pending(self) -> bool:
        """Whether an answer has begun but not ended."""
        return bool(self._rest)

    def push(self, raw: bytes) -> list[bytes]:
        """Return the payloads of the answers that these bytes complete."""
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
        """Return the next place at which an answer may begin."""
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
    """Poller that waits for an answer before the next question."""

    def __init__(self) -> None:
        self._waiting = 0

    def answered(self) -> None:
        """Note that an answer has come."""
        self._waiting = 0

    async def begin(self, link: BleLink) -> None:
        """Ask immediately."""
        self._waiting = 1
        await link.write(WRITE, ASK, response=None)

    async def tick(self, link: BleLink) -> None:
        """Ask, unless an answer is still awaited."""
        if not 0 < self._waiting < UNANSWERED:
            await self.begin(link)
        else:
            self._waiting += 1


class O2RingDecoder:
    """Decoder of an O2Ring's notifications; see `Decoder`.

    Args:
        device: Id to put on everything.
        dialogue: Learns of answers.

    Attributes:
        bad: Number of notifications or answers that could not be decoded.
        repeats: Notifications that came more than once.
    """

    channels = (CHANNEL,)

    def __init__(self, device: str, dialogue: O2RingDialogue | None = None) -> None:
        self._device = device
        self._dialogue = dialogue
        self._frames = Frames()
        self._last_raw = b""
        self._last_answer = b"", -SOON  # payload and arrival
        self._doubled = False  # the first notification of this answer came twice
        self.repeats = Repeats(device)
        self._track = CountedTrack(device, CHANNELS, RATE)
        self._last: int | None = None
        self._status = StatusChanges(device)
        self.bad: int = 0

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the time by count, with one sample for each byte."""
        return self._track.stamp + self._track.length(len(raw))

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Note the reason for the next gap; on a new link counting begins anew."""
        self._track.interrupted(why)
        if relinked:
            self._frames = Frames()
            self._last, self._last_raw, self._doubled = None, b"", False
            self._last_answer = b"", -SOON
            self._track.begin()

    def flush(self) -> list[Chunk | Event]:
        """Return the samples still held back until losses are known."""
        return self._track.flush()

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Decode one notification.

        Raises:
            BadPacket: It shows that bytes before it were not an answer, and completes none.
        """
        if self._repeated(raw, arrival):
            self._last_raw = b""  # an equal one after it is no repeat
            return [*self.repeats.drop(arrival)]
        before = self._frames.skipped
        payloads = self._frames.push(raw)
        if self._frames.skipped > before and not payloads:
            self.bad += 1
            raise BadPacket("not an answer of an O2Ring", raw)
        out: list[Chunk | Event] = []
        for payload in payloads:
            self._last_answer = payload, arrival
            try:
                reading = parse(payload)
            except BadPacket:
                self.bad += 1
                raise
            if self._dialogue is not None:
                self._dialogue.answered()
            if reading is not None:
                out += self._events(reading, arrival)
                out += self._samples(reading.samples, arrival)
        return out

    def _repeated(self, raw: bytes, arrival: int) -> bool:
        """Return whether a notification came before.

        Equal ones follow each other within an answer, too, if the signal is still; but then the
        first one, with the head of the answer, is not repeated.
        """
        equal, self._last_raw = raw == self._last_raw, raw
        payload, at = self._last_answer
        head = len(raw) > ENDS and raw[0] == ANSWER and raw[1] ^ raw[2] == 0xFF
        if head:
            whole = payload and Frames().push(raw) == [payload] and arrival - at < SOON
            self._doubled = bool(equal or whole)
            return self._doubled
        after = not self._frames.pending and arrival - at < SOON and payload.endswith(raw[-9:-1])
        return equal and (self._doubled or bool(after and payload))

    def _samples(self, samples: bytes, arrival: int) -> list[Chunk | Event]:
        values = self._unmarked(samples)
        if not len(values):
            return []
        rows: Rows = values[:, None]
        return self._track.push(rows, arrival)

    def _unmarked(self, samples: bytes) -> Any:
        """Return samples with each mark replaced by the last sample, at the start by the next."""
        values = []
        for value in samples:
            if value not in MARKS:
                self._last = value
            values.append(np.nan if self._last is None else float(self._last))
        found = np.array(values, np.float64)
        good = found[~np.isnan(found)]
        return np.where(np.isnan(found), good[0] if len(good) else 0.0, found)

    def _events(self, reading: O2RingReading, arrival: int) -> list[Event]:
        """Return events for the changes of status."""
        status = self._status
        out = status.changed("wear", arrival, worn=reading.worn)
        out += status.changed("battery", arrival, percent=reading.battery)
        return out + status.vitals(arrival, reading.pulse, reading.spo2)


def family() -> Family:
    """Return the description of an O2Ring, with a dialogue of its own."""
    dialogue = O2RingDialogue()
    return Family(
        name="o2ring",
        names=NAMES,
        services=(SERVICE,),
        notify={NOTIFY: CHANNEL},
        remedy="put it on, bring it closer, and close the ViHealth app on every phone nearby",
        decoder=lambda device: O2RingDecoder(device, dialogue),
        site="finger",
        begin=dialogue.begin,
        tick=dialogue.tick,
        every=ASK_EVERY,
        stall=4.0,
    )


def create_o2ring(argument: str, options: Mapping[str, str], pace: Pace) -> Gatt:
    """Return the device for ``o2ring[:NAME or ADDRESS]``.

    Raises:
        Refused: An option is invalid.
    """
    return create(family(), argument, Options("o2ring", options, KEYS))
