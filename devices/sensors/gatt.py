"""A Bluetooth sensor that needs little dialogue: subscribe, perhaps a command, and it sends.

`Gatt` is the `Device`, `family.Family` its kind. Finding, connecting and the queue are `ble`'s,
the life of the link `gatt_session`'s, bytes to samples the family's own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Literal

from innpar.devices.base import Chunk, Event, HostClock, Source, Tap
from innpar.devices.link.ble import Radio
from innpar.devices.link.target import Search, Target
from innpar.devices.options import Options
from innpar.devices.sensors.family import Family
from innpar.devices.sensors.gatt_connection import GattConnection

WAIT = 30.0
"""Seconds to look for a sensor before saying that it is not there."""


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
        self.radio: Radio = radio or Radio()
        self.wait = wait
        self.sought: Target = Target(
            family.name,
            who,
            family.names,
            family.services,
            identity=identity,
            plain=family.sleeps,
        )

    @property
    def id(self) -> str:
        """As of `Target`."""
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
        search = Search(self.sought, self.radio, self.wait)
        async with GattConnection(self.family, search, clock, tap).opened() as items:
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
