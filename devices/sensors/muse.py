"""Muse 2 and Muse S (classic) headbands: three optodes on the forehead, 64 samples a second.

Each optode sends packets of six samples with a sequence number that all three share; there is no
clock. Often only two of the three carry a signal. The battery comes in telemetry packets, read as
muse-lsl and muse-js do. The Muse S Athena has another protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from innpar.devices.base import NS, BadPacket, Chunk, Event
from innpar.devices.link.ble import BleLink, sig
from innpar.devices.options import Options
from innpar.devices.sensors.family import Family
from innpar.devices.sensors.gatt import KEYS, Gatt, create
from innpar.devices.sensors.status import StatusChanges
from innpar.devices.timing.timeline import Timeline
from innpar.devices.timing.track import Rows, SignalTrack, stated

if TYPE_CHECKING:
    from innpar.devices.timing.pace import Pace

_UUID = "273e{}-4c4d-454d-96be-f03bac821358".format
SERVICE = sig("fe8d")
CONTROL = _UUID("0001")
OPTODES = {_UUID("0010"): "infrared", _UUID("0011"): "red", _UUID("000f"): "ambient"}
CHANNELS = tuple(OPTODES.values())
TELEMETRY = {_UUID("000b"): "telemetry"}

RATE = 64.0
SAMPLES = 6
SIZE = 20
NUMBERS = 1 << 16

RESET = 32
"""Packets (3 s). A sequence number this far back is a new start, not a late packet."""

QUIET = 4
"""Number of packets without an optode after which it is not waited for."""

KEEP_ALIVE = 10.0
"""Interval of the command that keeps the headband awake, seconds."""

PRESETS = ("p50", "p60", "p51", "p61")
"""Presets that include light: p50 and p51 on a Muse 2, p60 and p61 on a Muse S."""


def command(text: str) -> bytes:
    """Return the bytes of a command: its length, the text, a newline."""
    return bytes([len(text) + 1]) + text.encode() + b"\n"


def parse(raw: bytes) -> tuple[int, tuple[int, ...]]:
    """Return sequence number and the six samples, 24-bit counts, of one optode's packet.

    Raises:
        BadPacket: It does not have twenty bytes.
    """
    if len(raw) != SIZE:
        raise BadPacket(f"a packet of light has {SIZE} bytes, not {len(raw)}", raw)
    samples = tuple(int.from_bytes(raw[i : i + 3], "big") for i in range(2, SIZE, 3))
    return int(struct.unpack_from(">H", raw)[0]), samples


def parse_battery(raw: bytes) -> int:
    """Return the battery level, percent, of a telemetry packet.

    Its 16-bit numbers are: sequence number, battery in 1/512 %, voltages, temperature.

    Raises:
        BadPacket: It is shorter than those five numbers.
    """
    if len(raw) < 10:
        raise BadPacket(f"a packet of telemetry has at least 10 bytes, not {len(raw)}", raw)
    return min(round(int(struct.unpack_from(">H", raw, 2)[0]) / 512), 100)


def build(number: int, samples: tuple[int, ...]) -> bytes:
    """Return the packet of six samples."""
    return struct.pack(">H", number % NUMBERS) + b"".join(s.to_bytes(3, "big") for s in samples)


class Optodes:
    """Joiner of the packets of three optodes, by their numbers.

    Attributes:
        late: Number of packets that came after their place had been given out.
    """

    def __init__(self) -> None:
        self._newest: int | None = None
        self._given: int | None = None
        self._pending: dict[int, Rows] = {}
        self._missed = [0] * len(CHANNELS)
        self.late: int = 0

    def place(self, number: int) -> int:
        """Return a sequence number unwrapped."""
        if self._newest is None:
            return number
        ahead = (number - self._newest) % NUMBERS
        return self._newest + (ahead if ahead < NUMBERS // 2 else ahead - NUMBERS)

    def push(self, column: int, number: int, samples: tuple[int, ...]) -> list[tuple[int, Rows]]:
        """Take one packet; return (place, (6, channels) counts) of those that are complete."""
        at = self.place(number)
        out: list[tuple[int, Rows]] = []
        if self._newest is not None and at < self._newest - RESET:
            out, self._given, self._newest = self.flush(), None, None
        if self._given is not None and at <= self._given:
            self.late += 1
            return out
        self._newest = at if self._newest is None else max(self._newest, at)
        rows = self._pending.setdefault(at, np.full((SAMPLES, len(CHANNELS)), np.nan))
        rows[:, column] = samples
        self._missed[column] = 0
        full = [p for p, held in self._pending.items() if self._is_full(held)]
        return out + self._give(max([*full, self._newest - 2]))

    def flush(self) -> list[tuple[int, Rows]]:
        """Return the packets still held back."""
        return self._give(max(self._pending)) if self._pending else []

    def _is_full(self, rows: Rows) -> bool:
        missing = np.isnan(rows[0])
        return not any(m and self._missed[c] < QUIET for c, m in enumerate(missing))

    def _give(self, last: int) -> list[tuple[int, Rows]]:
        ready = sorted(at for at in self._pending if at <= last)
        out = [(at, self._pending.pop(at)) for at in ready]
        for at, rows in out:
            self._given = at
            for column in np.flatnonzero(np.isnan(rows[0])).tolist():
                self._missed[column] += 1
        return out


class MuseDialogue:
    """Commands to the headband; tries presets until one makes it send light.

    Args:
        preset: One of `PRESETS`; None to try them in turn.

    Attributes:
        has_light: Whether light has come since the last start.
    """

    def __init__(self, preset: str | None = None) -> None:
        self._presets = (preset,) if preset else PRESETS
        self._tried = 0
        self.has_light: bool = True

    async def begin(self, link: BleLink) -> None:
        """Halt, choose a preset, start; take the next preset if the last one gave no light."""
        self._tried += not self.has_light
        self.has_light = False
        preset = self._presets[self._tried % len(self._presets)]
        for text in ("h", preset, "d"):
            await link.write(CONTROL, command(text), response=False)

    async def end(self, link: BleLink) -> None:
        """Halt."""
        await link.write(CONTROL, command("h"), response=False)

    async def tick(self, link: BleLink) -> None:
        """Keep the headband awake."""
        await link.write(CONTROL, command("k"), response=False)


class MuseDecoder:
    """Decoder of a Muse's notifications; see `Decoder`.

    Args:
        device: Id to put on everything.
        dialogue: Learns that light has come.

    Attributes:
        bad: Number of packets that could not be decoded.
    """

    channels = (*CHANNELS, *TELEMETRY.values())

    def __init__(self, device: str, dialogue: MuseDialogue | None = None) -> None:
        self._dialogue = dialogue
        self._track = SignalTrack(device, CHANNELS)
        self._optodes = Optodes()
        self._timeline: Timeline[Rows] = Timeline((RATE,))
        self._arrival = 0
        self._status = StatusChanges(device)
        self.bad: int = 0

    @property
    def lost(self) -> int:
        """Samples known to be missing."""
        return self._track.lost

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the time of the last sample, by the sequence number."""
        if channel not in CHANNELS:
            return self._arrival
        return _stamp(self._optodes.place(parse(raw)[0]))

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Note the reason for the next gap; on a new link the numbers may begin anew."""
        self._track.interrupted(why)
        if relinked:
            self._optodes, self._timeline = Optodes(), Timeline((RATE,))
            self._track.anew()

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Decode one notification.

        Raises:
            BadPacket: It is not a packet of its channel.
        """
        try:
            if channel not in CHANNELS:
                return [*self._status.changed("battery", arrival, percent=parse_battery(raw))]
            number, samples = parse(raw)
        except BadPacket:
            self.bad += 1
            raise
        if self._dialogue is not None:
            self._dialogue.has_light = True
        return self._place(self._optodes.push(CHANNELS.index(channel), number, samples), arrival)

    def flush(self) -> list[Chunk | Event]:
        """Return the samples still held back, with the arrival of the last packet."""
        left = self._place(self._optodes.flush(), None)
        return left + self._track.give(self._timeline.flush(), self._rate)

    def _place(self, ready: list[tuple[int, Rows]], arrival: int | None) -> list[Chunk | Event]:
        out: list[Chunk | Event] = []
        for at, rows in ready:
            self._arrival = self._arrival if arrival is None else arrival
            placed = self._timeline.push(_stamp(at), SAMPLES, rows, self._arrival)
            out += self._track.give(placed, self._rate)
        return out

    @property
    def _rate(self) -> float:
        return stated(self._timeline.rate, (RATE,))


def _stamp(at: int) -> int:
    """Return the time of a packet's last sample by count, ns."""
    return round((at + 1) * SAMPLES * NS / RATE)


def family(preset: str | None = None) -> Family:
    """Return the description of a Muse, with a dialogue of its own."""
    dialogue = MuseDialogue(preset)
    return Family(
        name="muse",
        names=("Muse",),
        services=(SERVICE,),
        notify=OPTODES,
        extras=TELEMETRY,
        remedy="switch it on, put it on, and close the Muse app on every phone nearby",
        decoder=lambda device: MuseDecoder(device, dialogue),
        site="head",
        begin=dialogue.begin,
        end=dialogue.end,
        tick=dialogue.tick,
        every=KEEP_ALIVE,
        stall=3.0,
    )


MUSE_KEYS: Mapping[str, str] = {
    **KEYS,
    "preset": "p50 or p51 on a Muse 2, p60 or p61 on a Muse S; default: try each in turn",
}


def create_muse(argument: str, options: Mapping[str, str], pace: Pace) -> Gatt:
    """Return the device for ``muse[:NAME or ADDRESS][?preset=p50]``.

    Raises:
        Refused: An option is invalid.
    """
    given = Options("muse", options, MUSE_KEYS)
    return create(family(given.choice("preset", PRESETS)), argument, given)
