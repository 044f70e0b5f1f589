"""Muse 2 and Muse S (classic) headbands: three optodes on the forehead, 64 samples a second.

Each optode sends packets of six samples with a sequence number that all three share; there is no
clock. Often only two of the three carry anything. The battery is told beside them, in a packet as
muse-lsl and muse-js read it. The Muse S Athena speaks another protocol.
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
"""Packets (3 s). A sequence number this far back has not been overtaken but begun anew."""

QUIET = 4
"""After so many packets without it an optode is not waited for."""

KEEP_ALIVE = 10.0
"""Seconds."""

PRESETS = ("p50", "p60", "p51", "p61")
"""That include light: p50 and p51 on a Muse 2, p60 and p61 on a Muse S."""


def command(text: str) -> bytes:
    """Return a command as the headband wants it: its length, the text, a newline."""
    return bytes([len(text) + 1]) + text.encode() + b"\n"


def parse(raw: bytes) -> tuple[int, tuple[int, ...]]:
    """Return sequence number and the six samples, 24-bit counts, of one optode's packet.

    Raises:
        BadPacket: Not twenty bytes.
    """
    if len(raw) != SIZE:
        raise BadPacket(f"a packet of light has {SIZE} bytes, not {len(raw)}", raw)
    samples = tuple(int.from_bytes(raw[i : i + 3], "big") for i in range(2, SIZE, 3))
    return int(struct.unpack_from(">H", raw)[0]), samples


def parse_battery(raw: bytes) -> int:
    """Return percent from a packet of telemetry: number, battery in 1/512 %, voltages, temperature.

    Raises:
        BadPacket: It is shorter than those five 16-bit numbers.
    """
    if len(raw) < 10:
        raise BadPacket(f"a packet of telemetry has at least 10 bytes, not {len(raw)}", raw)
    return min(round(int(struct.unpack_from(">H", raw, 2)[0]) / 512), 100)


def build(number: int, samples: tuple[int, ...]) -> bytes:
    """Return the packet of six samples."""
    return struct.pack(">H", number % NUMBERS) + b"".join(s.to_bytes(3, "big") for s in samples)


class Optodes:
    """Brings the packets of three optodes together by their numbers.

    Attributes:
        late: Packets that came after their place had been given out.
    """

    def __init__(self) -> None:
        self._newest: int | None = None
        self._given: int | None = None
        self._pending: dict[int, Rows] = {}
        self._missed = [0] * len(CHANNELS)
        self.late: int = 0

    def place(self, number: int) -> int:
        """Return a sequence number counted on across its wraps."""
        if self._newest is None:
            return number
        ahead = (number - self._newest) % NUMBERS
        return self._newest + (ahead if ahead < NUMBERS // 2 else ahead - NUMBERS)

    def push(self, column: int, number: int, samples: tuple[int, ...]) -> list[tuple[int, Rows]]:
        """Take one packet; return places and (6, channels) counts that are as full as they get."""
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
        """Return what is held back."""
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
    """What is said to the headband; finds out by itself which preset makes it send light.

    Args:
        preset: One of `PRESETS`; None to try them.
    """

    def __init__(self, preset: str | None = None) -> None:
        self._presets = (preset,) if preset else PRESETS
        self._tried = 0
        self.heard: bool = True

    async def begin(self, link: BleLink) -> None:
        """Halt, choose, start; with the next preset where nothing was heard."""
        self._tried += not self.heard
        self.heard = False
        preset = self._presets[self._tried % len(self._presets)]
        for text in ("h", preset, "d"):
            await link.write(CONTROL, command(text), response=False)

    async def end(self, link: BleLink) -> None:
        """Halt."""
        await link.write(CONTROL, command("h"), response=False)

    async def tick(self, link: BleLink) -> None:
        """Keep it from falling asleep."""
        await link.write(CONTROL, command("k"), response=False)


class MuseDecoder:
    """Turns notifications into chunks and events; see `life.Decoder`.

    Args:
        device: Id to put on everything.
        talk: Is told that light has come.

    Attributes:
        bad: Packets that could not be decoded.
    """

    def __init__(self, device: str, talk: MuseDialogue | None = None) -> None:
        self._talk = talk
        self._lane = SignalTrack(device, CHANNELS)
        self._optodes = Optodes()
        self._timeline: Timeline[Rows] = Timeline((RATE,))
        self._arrival = 0
        self._told = StatusChanges(device)
        self.bad: int = 0

    @property
    def lost(self) -> int:
        """Samples known to be missing."""
        return self._lane.lost

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the time of its last sample by the sequence number."""
        if channel not in CHANNELS:
            return self._arrival
        return _stamp(self._optodes.place(parse(raw)[0]))

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Say why the next hole will be there; on a new link the numbers may begin anew."""
        self._lane.interrupted(why)
        if relinked:
            self._optodes, self._timeline = Optodes(), Timeline((RATE,))
            self._lane.anew()

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Take one notification.

        Raises:
            BadPacket: It is not one of what the channel is for.
        """
        try:
            if channel not in CHANNELS:
                return [*self._told.changed("battery", arrival, percent=parse_battery(raw))]
            number, samples = parse(raw)
        except BadPacket:
            self.bad += 1
            raise
        if self._talk is not None:
            self._talk.heard = True
        return self._place(self._optodes.push(CHANNELS.index(channel), number, samples), arrival)

    def flush(self) -> list[Chunk | Event]:
        """Give out what is held back, with the last one's arrival as its own."""
        left = self._place(self._optodes.flush(), None)
        return left + self._lane.give(self._timeline.flush(), self._rate)

    def _place(self, ready: list[tuple[int, Rows]], arrival: int | None) -> list[Chunk | Event]:
        out: list[Chunk | Event] = []
        for at, rows in ready:
            self._arrival = self._arrival if arrival is None else arrival
            placed = self._timeline.push(_stamp(at), SAMPLES, rows, self._arrival)
            out += self._lane.give(placed, self._rate)
        return out

    @property
    def _rate(self) -> float:
        return stated(self._timeline.rate, (RATE,))


def _stamp(at: int) -> int:
    """Return the time of a packet's last sample by counting, ns."""
    return round((at + 1) * SAMPLES * NS / RATE)


def family(preset: str | None = None) -> Family:
    """Return what is particular to a Muse, with a conversation of its own."""
    talk = MuseDialogue(preset)
    return Family(
        name="muse",
        names=("Muse",),
        services=(SERVICE,),
        notify=OPTODES,
        extras=TELEMETRY,
        remedy="switch it on, put it on, and close the Muse app on every phone near",
        stream=lambda device: MuseDecoder(device, talk),
        site="head",
        begin=talk.begin,
        end=talk.end,
        tick=talk.tick,
        every=KEEP_ALIVE,
        stall=3.0,
    )


MUSE_KEYS: Mapping[str, str] = {
    **KEYS,
    "preset": "which to use: p50 or p51 on a Muse 2, p60 or p61 on a Muse S; tried in turn else",
}


def create_muse(argument: str, options: Mapping[str, str], pace: Pace) -> Gatt:
    """Make the device behind ``muse[:NAME or ADDRESS][?preset=p50]``.

    Raises:
        Refused: An option makes no sense.
    """
    given = Options("muse", options, MUSE_KEYS)
    return create(family(given.choice("preset", PRESETS)), argument, given)
