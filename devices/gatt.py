"""A Bluetooth sensor that needs little dialogue: subscribe, perhaps a command, and it sends.

`Family` says what is particular to a kind of sensor, `Gatt` is the `Device`. Finding, connecting
and the queue are `ble`'s, the life of the link `gatt_session`'s, bytes to samples the family's own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from . import life
from .base import Chunk, Event, HostClock, Source, Tap
from .ble import Link, Radio
from .gatt_session import Session
from .options import Options
from .sought import Sought

SIG = "0000{}-0000-1000-8000-00805f9b34fb".format
"""The full form of a 16-bit UUID written in hex."""

WAIT = 30.0
"""Seconds to look for a sensor before saying that it is not there."""


class Stream(life.Stream, Protocol):
    """Turns one sensor's notifications into chunks and events; no radio."""

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return when a notification came, ns, judging by itself and those before it.

        Raises:
            BadPacket: It cannot be decoded.
        """
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
        extras: As `notify`, of those that it need not have: what comes there is no sign that it
            sends light.
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
    extras: Mapping[str, str] = field(default_factory=dict)


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
        self.sought = Sought(
            family.name,
            who,
            family.names,
            family.services,
            identity=identity,
            plain=family.sleeps,
        )

    @property
    def id(self) -> str:
        """As of `Sought`."""
        return self.sought.id

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
        async with Session(self, clock, tap).opened() as items:
            yield items


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
