"""BerryMed finger clips (BM1000 and similar) and other sensors with the BCI protocol.

Both versions (`bci`) send once a central has subscribed, and neither has a clock. Version 1.2 sends
100 samples a second without a number, cut into notifications at any place. Version 1.5 has an index
that counts on some devices: once it has been seen to count, skipped indices are lost samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from innpar.devices.base import NS, BadPacket, Chunk, Event
from innpar.devices.notices import NoticeCode
from innpar.devices.options import Options
from innpar.devices.sensors.family import Family
from innpar.devices.sensors.gatt import KEYS, Gatt, create
from innpar.devices.sensors.oximeters.bci import INDICES, RATES, BciParser, BciReading
from innpar.devices.sensors.status import StatusChanges
from innpar.devices.timing.counted import CountedTrack
from innpar.devices.timing.repeats import Repeats
from innpar.devices.timing.track import Rows

if TYPE_CHECKING:
    from innpar.devices.timing.pace import Pace

SERVICE = "49535343-fe7d-4ae5-8fa9-9fafd205e455"
NOTIFY = "49535343-1e4d-4bd9-ba61-23c647249616"
CHANNEL = "bci"

RATE = 100.0

PROOF = 8
"""Number of consecutive indices that shows that the index counts."""


class _Numbers:
    """Number of missing packets by their index, once it has been seen to count."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._run = 0

    @property
    def count(self) -> bool:
        """Whether the index has been seen to count."""
        return self._run >= PROOF

    def missing(self, index: int | None) -> int | None:
        """Return how many are missing before a packet, modulo `INDICES`; None if unknown."""
        last, self._last = self._last, index
        if index is None or last is None:
            self._run = 0
            return None
        ahead = (index - last) % INDICES
        if self._run < PROOF:
            self._run = self._run + 1 if ahead == 1 else 0
        return (ahead - 1) % INDICES if self._run >= PROOF else None


class BerryMedDecoder:
    """Decoder of a BerryMed's notifications; see `Decoder`.

    Args:
        device: Id to put on everything.

    Attributes:
        bad: Number of notifications without a packet.
        repeats: Notifications that came more than once.
    """

    channels = (CHANNEL,)

    def __init__(self, device: str) -> None:
        self._device = device
        self._parser, self._numbers = BciParser(), _Numbers()
        self._track: CountedTrack | None = None
        self._nominal = RATE
        self._status = StatusChanges(device)
        self._slow = False
        self.repeats = Repeats(device)
        self.bad: int = 0

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the time of the last sample that the bytes complete, by count."""
        n = self._parser.due(raw)
        return self._track.stamp + self._track.length(n) if self._track else round(n * NS / RATE)

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Note the reason for the next gap; on a new link counting begins anew."""
        if self._track is None:
            return
        self._track.interrupted(why)
        if relinked:
            self.repeats.forget()
            self._parser, self._numbers = BciParser(), _Numbers()
            self._track.begin()

    def flush(self) -> list[Chunk | Event]:
        """Return the samples still held back until losses are known."""
        return self._track.flush() if self._track else []

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Decode one notification.

        Raises:
            BadPacket: It holds no packet, though packets were due.
        """
        if self._repeated(channel, arrival, raw):
            return [*self.repeats.drop(arrival)]
        before = self._parser.skipped
        readings = self._parser.push(raw)
        if self._parser.skipped > before and not readings:
            self.bad += 1
            raise BadPacket("not a packet of a BerryMed", raw)
        out: list[Chunk | Event] = []
        for reading in readings:
            out += self._events(reading, arrival)
        counted = [(r, self._numbers.missing(r.index)) for r in readings]
        rows = [(r, n) for r, n in counted if r.rate is None or r.rate in RATES]
        while rows:
            kind, missing = _kind(rows[0][0]), rows[0][1]
            n = 1
            while n < len(rows) and _kind(rows[n][0]) == kind and not rows[n][1]:
                n += 1
            out += self._samples([r for r, _ in rows[:n]], arrival, missing)
            rows = rows[n:]
        return out

    def _repeated(self, channel: str, arrival: int, raw: bytes) -> bool:
        """Return whether a notification came before: equal bytes show it if the index counts."""
        equal, n = self.repeats.equal(channel, arrival, raw), self._parser.due(raw)
        if not equal or self._track is None or not n:
            return False
        return self._numbers.count or self._track.too_soon(n, arrival)

    def _samples(
        self, readings: list[BciReading], arrival: int, missing: int | None
    ) -> list[Chunk | Event]:
        version, rate = _kind(readings[0])
        channels = ("adc", "pleth") if version else ("pleth",)
        if self._track is None or channels != self._track.channels:
            self._track = CountedTrack(self._device, channels, rate, numbers=INDICES)
            self._nominal = rate
        if rate != self._nominal:
            self._nominal = rate
            self._track.begin(rate)
        rows: Rows = np.array(
            [[r.adc, r.pleth] if version else [r.pleth] for r in readings], np.float64
        )
        return self._track.push(rows, arrival, missing)

    def _events(self, reading: BciReading, arrival: int) -> list[Event]:
        status = self._status
        out: list[Event] = []
        if reading.worn is not None:
            out += status.changed("wear", arrival, worn=reading.worn)
        out += status.vitals(arrival, reading.pulse, reading.spo2)
        if reading.battery is not None:
            out += status.changed("battery", arrival, percent=reading.battery)
        if reading.rate is not None and reading.rate not in RATES and not self._slow:
            self._slow = True
            text = f"it sends {reading.rate} packets a second, too few to show a pulse"
            out.append(status.notice(arrival, NoticeCode.RATE_UNUSABLE, text))
        return out


def _kind(reading: BciReading) -> tuple[bool, float]:
    """Return whether the packet is of version 1.5, and its rate, Hz."""
    return reading.rate is not None, RATE if reading.rate is None else float(reading.rate)


FAMILY = Family(
    name="berrymed",
    names=("BerryMed",),
    services=(),
    notify={NOTIFY: CHANNEL},
    remedy="put a finger in it, bring it closer, and close every app that may be connected to it",
    decoder=BerryMedDecoder,
    site="finger",
)


def create_berrymed(argument: str, options: Mapping[str, str], pace: Pace) -> Gatt:
    """Return the device for ``berrymed[:ADDRESS]``."""
    return create(FAMILY, argument, Options("berrymed", options, KEYS))
