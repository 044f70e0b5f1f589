"""EmotiBit: three colours of light and an accelerometer, 25 samples a second, over the network.

It sends lines (`packet`), several a datagram. Infrared, red and green (``PI``, ``PR``, ``PG``) come
in lines of a few samples, stamped with the time of the last one, ms since it was switched on; so do
the axes of the acceleration (``AX``, ``AY``, ``AZ``, in g). Lines share one sequence number, modulo
65,536; a datagram may be sent several times, and may be overtaken. `connection` finds the EmotiBit
and keeps it connected.

That all lines share the number, and that the time is the last sample's, was inferred from a
recording; untested on hardware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from innpar.devices.base import NS, BadPacket, Chunk, Event, HostClock, Tap
from innpar.devices.link.reconnect import LiveDevice
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
"""Number of lines (0.4 s) to wait for a missing one, which may have been overtaken."""

RESET = 1024
"""Lines (6 s). A number this far back means that the EmotiBit was switched off and on."""


class PacketOrder:
    """Reordering buffer: lines in the order of their numbers, each once, with its arrival.

    Attributes:
        late: Number of lines that came twice, or after they had been given up.
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self._held: dict[int, tuple[Packet, int]] = {}
        self.late: int = 0

    def push(self, packet: Packet, arrival: int) -> list[tuple[Packet, int]]:
        """Take a line; return those now in order."""
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
        """Return the lines still held back; the next line begins the order anew."""
        held, self._held, self._next = self._held, {}, None
        return [held[at] for at in sorted(held)]


class _ReadyPart:
    """One signal: its tags are joined, placed in time, and given out."""

    def __init__(self, device: str, tags: Mapping[str, str], track: SignalTrack) -> None:
        self._joiner = Joiner(tags)
        self._timeline: Timeline[Rows] = Timeline((RATE,))
        self.track = track

    def interrupted(self, why: str, relinked: bool) -> None:
        """Note the reason for the next gap; see `EmotiBitDecoder`."""
        self.track.interrupted(why)
        if relinked:
            self._timeline.restart()

    def push(self, packet: Packet, arrival: int) -> list[Chunk | Event]:
        """Take the samples of one tag; return the complete moments."""
        return self._give(self._joiner.push(packet), arrival)

    def flush(self, arrival: int) -> list[Chunk | Event]:
        """Return all samples; missing values are NaN."""
        left = self._give(self._joiner.flush(), arrival)
        return [*left, *self._place(self._timeline.flush())]

    def _give(self, moments: Sequence[Moment], arrival: int) -> list[Chunk | Event]:
        """Place moments, consecutive ones together."""
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
        return self.track.give(placed, stated(measured, (RATE,)), measured)


class EmotiBitDecoder:
    """Decoder of an EmotiBit's datagrams; see `Decoder`.

    Args:
        device: Id to put on everything.

    Attributes:
        bad: Number of datagrams without a valid line.
        skipped: Number of invalid lines among valid ones.
    """

    channels = (CHANNEL,)

    def __init__(self, device: str) -> None:
        self._device = device
        self._order = PacketOrder()
        clock = SensorClock()
        light = SignalTrack(device, tuple(LIGHT.values()), "ppg", clock)
        motion = SignalTrack(device, tuple(MOTION.values()), "acc", clock)
        self._light = _ReadyPart(device, LIGHT, light)
        self._motion = _ReadyPart(device, MOTION, motion)
        self._status = StatusChanges(device)
        self._arrival = 0
        self.bad: int = 0
        self.skipped: int = 0

    @property
    def late(self) -> int:
        """Number of lines that came twice, or too late."""
        return self._order.late

    @property
    def lost(self) -> int:
        """Number of light samples known to be missing."""
        return self._light.track.lost

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the time of the last line, by the EmotiBit's clock."""
        return max((parse(line).time for line in split(raw)), default=0) * MS

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Note the reason for the next gap; without a link the numbers go on."""
        self._light.interrupted(why, relinked)
        self._motion.interrupted(why, relinked)
        if relinked:
            self._order = PacketOrder()

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Decode one datagram.

        Raises:
            BadPacket: It holds no valid line.
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
            raise skipped[0] if skipped else BadPacket("not a packet of an EmotiBit", raw)
        self.skipped += len(skipped)
        return [item for packet, at in ready for item in self._take(packet, at)]

    def flush(self) -> list[Chunk | Event]:
        """Return the samples still held back, with the last arrival."""
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
            return [*self._status.changed("battery", arrival, percent=percent)]
        return []


class EmotiBit(LiveDevice):
    """An EmotiBit in the same network as a `Device`.

    Args:
        host: Its address; empty for any that answers a broadcast.
        serial: Its serial number or the end of it; empty for any.
        identity: Id to use instead of one built from its serial number.
        port: Its UDP port.
        wait: Seconds to look for it on entering.
    """

    kind = "emotibit"
    polarity = -1  # reflected light: systole is a minimum

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
        self.who = serial
        self.port = port
        self.wait = wait
        name = serial or host
        self._identity = Identity(identity or (slug(f"emotibit-{name}") if name else None))

    @property
    def id(self) -> str:
        """``emotibit-md-v5-0000042``; without an argument known once the EmotiBit is found."""
        return self._identity.id

    def _connection(self, clock: HostClock, tap: Tap | None) -> EmotiBitConnection:
        search = EmotiBitSearch(self.host, self.who, self.port, self.wait)
        return EmotiBitConnection(self._identity, search, EmotiBitDecoder, CHANNEL, clock, tap)


KEYS: Mapping[str, str] = {
    "serial": "its serial number or the end of it, if several answer",
    "port": "its UDP port (3131)",
    "id": "name in topics and files",
    "wait": "seconds to look for it before giving up",
}


def create_emotibit(argument: str, options: Mapping[str, str], pace: Pace) -> EmotiBit:
    """Return the device for ``emotibit[:ADDRESS][?serial=…]``.

    Raises:
        Refused: An option is invalid.
    """
    given = Options("emotibit", options, KEYS)
    return EmotiBit(
        argument,
        serial=given.text("serial") or "",
        identity=given.identity("") if "id" in given else None,
        port=given.whole("port", 1, 65535) or PORT,
        wait=given.number("wait", 1, 86400) or WAIT,
    )
