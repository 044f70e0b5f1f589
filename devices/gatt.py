"""A Bluetooth sensor that needs little dialogue: subscribe, perhaps a command, and it sends.

`Family` says what is particular to a kind of sensor, `Gatt` is the `Device`. Finding, connecting
and the queue are `ble`'s, the life of the link `gatt_session`'s, bytes to samples the family's own.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from .base import Chunk, Event, HostClock, Source, Tap
from .ble import Link, Radio, Sighting
from .gatt_session import Session
from .options import Options, short, slug

SIG = "0000{}-0000-1000-8000-00805f9b34fb".format
"""The full form of a 16-bit UUID written in hex."""

WAIT = 30.0
"""Seconds to look for a sensor before saying that it is not there."""


class Stream(Protocol):
    """Turns one sensor's notifications into chunks and events; no radio.

    Attributes:
        bad: Notifications that could not be decoded.
    """

    bad: int

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return when a notification came, ns, judging by itself and those before it.

        Raises:
            BadPacket: It cannot be decoded.
        """
        ...

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Take one notification, received at `arrival` ns since the Unix epoch.

        Raises:
            BadPacket: It cannot be decoded; it has been counted and the next one may be pushed.
        """
        ...

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Hear why samples may be missing, and whether the link was made anew."""
        ...

    def flush(self) -> list[Chunk | Event]:
        """Return what was still held back."""
        ...


Talk = Callable[[Link], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Family:
    """What is particular to a kind of sensor.

    Attributes:
        name: What ``--device`` calls it.
        names: What its advertised name begins with.
        services: Or what it advertises, UUIDs.
        notify: UUID of each characteristic to subscribe to → what its arrivals are called.
        remedy: What to do when it is not to be found; ends the sentence.
        stream: Device id → its decoder.
        polarity, site: As of `Device`.
        begin, end: What is said to it after subscribing, and before leaving.
        tick: What is said to it every `every` seconds.
        stall: Seconds of silence after which it is begun again; None where silence is its nature.
        sleeps: It is on the air only when it has something to tell, so nobody waits for it.
    """

    name: str
    names: tuple[str, ...]
    services: tuple[str, ...]
    notify: Mapping[str, str]
    remedy: str
    stream: Callable[[str], Stream]
    polarity: Literal[-1, 0, 1] = 0
    site: str = "unknown"
    begin: Talk | None = None
    end: Talk | None = None
    tick: Talk | None = None
    every: float = 0.0
    stall: float | None = 6.0
    sleeps: bool = False


class Gatt:
    """A sensor of some `Family` as a `Device`.

    Args:
        family: Its kind.
        who: Its address, or the end of its name; empty for the first one heard.
        identity: Id to use instead of one made of kind and name.
        radio: Which Bluetooth to use.
        wait: Seconds to look for it on entering.
    """

    def __init__(
        self,
        family: Family,
        who: str = "",
        *,
        identity: str | None = None,
        radio: Radio | None = None,
        wait: float = WAIT,
    ) -> None:
        self.family = family
        self.who = who
        self.radio = radio or Radio()
        self.wait = wait
        self._fixed = identity or (slug(f"{family.name}-{short(who)}") if who else None)
        self._seen: Sighting | None = None

    @property
    def id(self) -> str:
        """``muse-1a2b``; without an argument the last part comes once it is found."""
        if self._fixed or self._seen is None or self.family.sleeps:
            return self._fixed or self.family.name
        part = re.split("[ -]", self._seen.name)[-1]
        distinct = any(c.isdigit() for c in part)
        last = part if distinct else self._seen.address
        return slug(f"{self.family.name}-{short(last)}")

    @property
    def source(self) -> Source:
        """It is worn, now."""
        return "live"

    @property
    def polarity(self) -> Literal[-1, 0, 1]:
        return self.family.polarity

    @property
    def site(self) -> str:
        return self.family.site

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Find, connect, begin; see `Device.open`. A sensor that sleeps is not waited for.

        Raises:
            NotFound: Not heard for `wait` seconds, or there is no Bluetooth.
            Refused: It lacks what its family has.
        """
        session = Session(self, clock, tap)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(session.unlink)
            if not self.family.sleeps:
                await session.begin()
            yield await stack.enter_async_context(aclosing(session.items()))

    def matches(self, sighting: Sighting) -> bool:
        """Return whether what was heard is this sensor; once found, only the same one is."""
        if self._seen is not None:
            return sighting.address == self._seen.address
        family = self.family
        named = bool(family.names) and sighting.name.startswith(family.names)
        named = named or bool(set(family.services) & set(sighting.services))
        if not self.who:
            return named
        who = re.sub("[^0-9a-z]", "", self.who.lower())
        address = re.sub("[^0-9a-z]", "", sighting.address.lower())
        name = re.sub("[^0-9a-z]", "", sighting.name.lower())
        return who == address or (named and bool(who) and name.endswith(who))

    def found(self, sighting: Sighting) -> None:
        """Remember which one it is."""
        self._seen = sighting


KEYS: Mapping[str, str] = {
    "id": "what to call it in topics and files",
    "adapter": "which Bluetooth adapter, e.g. hci1",
    "wait": "seconds to look for it before giving up",
}
"""Options that every such device has."""


def create(family: Family, argument: str, given: Options) -> Gatt:
    """Make the device behind ``NAME[:WHO][?id=…&adapter=…&wait=…]``.

    Raises:
        Refused: An option makes no sense.
    """
    return Gatt(
        family,
        argument,
        identity=given.identity("") if "id" in given else None,
        radio=Radio(adapter=given.text("adapter")),
        wait=given.number("wait", 1, 86400) or WAIT,
    )
