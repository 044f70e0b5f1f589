"""EmotiBit: three colours of light and an accelerometer, 25 samples a second, over the network.

Everything it says is lines (`emotibit_packet`), several a datagram. Infrared, red and green
(``PI``, ``PR``, ``PG``) come in lines of a few samples, stamped with the time of the last one, ms
since it was switched on; so do the axes of the acceleration (``AX``, ``AY``, ``AZ``, in g). Lines
are numbered together, modulo 65,536; a datagram may be sent several times, and may be overtaken.
Finding it and talking to it is `emotibit_session`'s.

That the number counts on across everything that is sent, and that the time is the last sample's,
was read off a recording; no EmotiBit has been met.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np

from innpar.devices.base import NS, BadPacket, Chunk, Event, HostClock, Source, Tap
from innpar.devices.options import Options, slug
from innpar.devices.sensors.emotibit.connection import (
    WAIT,
    EmotiBitConnection,
    EmotiBitSearch,
    Identity,
)
from innpar.devices.sensors.emotibit.link import PORT
from innpar.devices.sensors.emotibit.packet import (
    NUMBERS,
    PERIOD,
    Joiner,
    Moment,
    Packet,
    parse,
    split,
)
from innpar.devices.sensors.status import StatusChanges
from innpar.devices.timing.clock import SensorClock
from innpar.devices.timing.timeline import PlacedSamples, Timeline
from innpar.devices.timing.track import Rows, SignalTrack, stated

if TYPE_CHECKING:
    from innpar.devices.timing.pace import Pace

CHANNEL = "emotibit"
RATE = 25.0
MS = NS // 1000

LIGHT = {"PI": "infrared", "PR": "red", "PG": "green"}
MOTION = {"AX": "x", "AY": "y", "AZ": "z"}
BATTERY = "B%"

REACH = 64
"""Lines (0.4 s) that are waited for one that is missing: it may have been overtaken."""

RESET = 1024
"""Lines (6 s). A number this far back has not been overtaken: it was switched off and on."""


class PacketOrder:
    """Puts lines into the order of their numbers, each once, each with its own arrival.

    Attributes:
        late: Lines that came twice, or after they had been given up.
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self._held: dict[int, tuple[Packet, int]] = {}
        self.late: int = 0

    def push(self, packet: Packet, arrival: int) -> list[tuple[Packet, int]]:
        """Take a line; return those whose turn it is."""
        if self._next is None:
            self._next = packet.number
        half = NUMBERS // 2
        at = self._next + (packet.number - self._next + half) % NUMBERS - half
        if at < self._next - RESET:
            left = self.flush()
            return [*left, *self.push(packet, arrival)]
        if at < self._next or at in self._held:
            self.late += 1
            return []
        self._held[at] = packet, arrival
        out: list[tuple[Packet, int]] = []
        while self._held and (self._next in self._held or at - self._next >= REACH):
            if (ready := self._held.pop(self._next, None)) is not None:
                out.append(ready)
                self._next += 1
            else:
                self._next = min(self._held)
        return out

    def flush(self) -> list[tuple[Packet, int]]:
        """Return what is held back; whatever comes next is the beginning."""
        held, self._held, self._next = self._held, {}, None
        return [held[at] for at in sorted(held)]


class _ReadyPart:
    """One signal: its tags are brought together, placed, and given out."""

    def __init__(self, device: str, tags: Mapping[str, str], lane: SignalTrack) -> None:
        self._joiner = Joiner(tags)
        self._timeline: Timeline[Rows] = Timeline((RATE,))
        self.lane = lane

    def interrupted(self, why: str, relinked: bool) -> None:
        """As of `EmotiBitDecoder`."""
        self.lane.interrupted(why)
        if relinked:
            self._timeline.restart()

    def push(self, packet: Packet, arrival: int) -> list[Chunk | Event]:
        """Take one tag's samples; give out the moments that are whole."""
        return self._give(self._joiner.push(packet), arrival)

    def flush(self, arrival: int) -> list[Chunk | Event]:
        """Give out everything; what is missing of a moment is NaN."""
        left = self._give(self._joiner.flush(), arrival)
        return [*left, *self._place(self._timeline.flush())]

    def _give(self, moments: Sequence[Moment], arrival: int) -> list[Chunk | Event]:
        """Place moments, those that follow on each other together."""
        times = np.array([time for time, _ in moments])
        ends = np.flatnonzero(np.diff(times) > 1.5 * PERIOD) + 1
        out: list[Chunk | Event] = []
        for run in np.split(np.arange(len(moments)), ends):
            if len(run):
                rows = np.array([moments[i][1] for i in run], np.float64)
                at = round(times[run[-1]] * MS)
                out += self._place(self._timeline.push(at, len(rows), rows, arrival))
        return out

    def _place(self, placed: list[PlacedSamples[Rows]]) -> list[Chunk | Event]:
        measured = self._timeline.rate
        return self.lane.give(placed, stated(measured, (RATE,)), measured)


class EmotiBitDecoder:
    """Turns datagrams into chunks and events; see `life.Stream`.

    Args:
        device: Id to put on everything.

    Attributes:
        bad: Datagrams in which no line could be read.
        skipped: Lines that could not be read among others that could.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._order = PacketOrder()
        clock = SensorClock()
        light = SignalTrack(device, tuple(LIGHT.values()), "ppg", clock)
        motion = SignalTrack(device, tuple(MOTION.values()), "acc", clock)
        self._light = _ReadyPart(device, LIGHT, light)
        self._motion = _ReadyPart(device, MOTION, motion)
        self._told = StatusChanges(device)
        self._arrival = 0
        self.bad: int = 0
        self.skipped: int = 0

    @property
    def late(self) -> int:
        """Lines that came twice, or too late."""
        return self._order.late

    @property
    def lost(self) -> int:
        """Samples of light known to be missing."""
        return self._light.lane.lost

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the time of its last line by the EmotiBit's clock."""
        return max((parse(line).time for line in split(raw)), default=0) * MS

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Say why the next hole will be there; while nobody listened the numbers went on."""
        self._light.interrupted(why, relinked)
        self._motion.interrupted(why, relinked)
        if relinked:
            self._order = PacketOrder()

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Take one datagram.

        Raises:
            BadPacket: There is no line in it that could be read.
        """
        ready: list[tuple[Packet, int]] = []
        skipped: list[BadPacket] = []
        lines = split(raw)
        for line in lines:
            try:
                ready += self._order.push(parse(line), arrival)
            except BadPacket as bad:
                skipped.append(bad)
        if len(skipped) == len(lines):
            self.bad += 1
            raise skipped[0] if skipped else BadPacket("no packet of an EmotiBit", raw)
        self.skipped += len(skipped)
        return [item for packet, at in ready for item in self._take(packet, at)]

    def flush(self) -> list[Chunk | Event]:
        """Give out what is held back, with the last arrival as its own."""
        held = self._order.flush()
        out = [item for packet, at in held for item in self._take(packet, at)]
        return [*out, *self._light.flush(self._arrival), *self._motion.flush(self._arrival)]

    def _take(self, packet: Packet, arrival: int) -> list[Chunk | Event]:
        self._arrival = arrival
        if packet.tag in LIGHT:
            return self._light.push(packet, arrival)
        if packet.tag in MOTION:
            return self._motion.push(packet, arrival)
        if packet.tag == BATTERY:
            percent = min(max(round(packet.values[0]), 0), 100)
            return [*self._told.changed("battery", arrival, percent=percent)]
        return []


class EmotiBit:
    """An EmotiBit in the same network as a `Device`.

    Args:
        host: Its address; empty for whichever answers a broadcast.
        serial: As it calls itself, or the end of it; empty for any.
        identity: Id to use instead of one made of its serial number.
        port: On which it listens.
        wait: Seconds to look for it on entering.
    """

    def __init__(
        self,
        host: str = "",
        *,
        serial: str = "",
        identity: str | None = None,
        port: int = PORT,
        wait: float = WAIT,
    ) -> None:
        self.host = host
        self.serial = serial
        self.port = port
        self.wait = wait
        who = serial or host
        self._identity = Identity(identity or (slug(f"emotibit-{who}") if who else None))

    @property
    def id(self) -> str:
        """``emotibit-md-v5-0000042``; where nothing says which, known once it is found."""
        return self._identity.id

    @property
    def source(self) -> Source:
        """It is worn, now."""
        return "live"

    @property
    def polarity(self) -> Literal[-1, 0, 1]:
        """Reflected light: systole is a minimum."""
        return -1

    @property
    def site(self) -> str:
        """It can be strapped to anything."""
        return "unknown"

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Find, connect, start; see `Device.open`.

        Raises:
            NotFound: None answers, or there is no network.
            Refused: The network may not be used.
        """
        search = EmotiBitSearch(self.host, self.serial, self.port, self.wait)
        session = EmotiBitConnection(self._identity, search, EmotiBitDecoder, CHANNEL, clock, tap)
        async with session.opened() as items:
            yield items


KEYS: Mapping[str, str] = {
    "serial": "its serial number or the end of it, where several answer",
    "port": "on which it listens (3131)",
    "id": "what to call it in topics and files",
    "wait": "seconds to look for it before giving up",
}


def create_emotibit(argument: str, options: Mapping[str, str], pace: Pace) -> EmotiBit:
    """Make the device behind ``emotibit[:ADDRESS][?serial=…]``.

    Raises:
        Refused: An option makes no sense.
    """
    given = Options("emotibit", options, KEYS)
    return EmotiBit(
        argument,
        serial=given.text("serial") or "",
        identity=given.identity("") if "id" in given else None,
        port=given.whole("port", 1, 65535) or PORT,
        wait=given.number("wait", 1, 86400) or WAIT,
    )
