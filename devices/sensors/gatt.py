"""A Bluetooth sensor that needs few commands: subscribe, perhaps start it, and it sends.

`Gatt` is the `Device`, `family.Family` describes its kind; `link.ble` finds and connects,
`gatt_connection` keeps the connection, and the family's decoder turns bytes into samples.
"""

from __future__ import annotations

from collections.abc import Mapping

from innpar.devices.base import HostClock, Tap
from innpar.devices.link.ble import Radio
from innpar.devices.link.reconnect import LiveDevice
from innpar.devices.link.target import Search, Target
from innpar.devices.options import Options
from innpar.devices.sensors.family import Family
from innpar.devices.sensors.gatt_connection import GattConnection

WAIT = 30.0
"""Seconds to look for a sensor on opening."""


class Gatt(LiveDevice):
    """A sensor of some `Family` as a `Device`; one that sleeps is not waited for on opening.

    Args:
        family: Its kind.
        who: Its address, or the end of its name; empty for the first one found.
        identity: Id to use instead of one built from kind and name.
        radio: The Bluetooth adapter.
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
        self.kind = family.name
        self.polarity = family.polarity
        self.site = family.site
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
        """``muse-1a2b``; without an argument the last part is known once the sensor is found."""
        return self.sought.id

    def _connection(self, clock: HostClock, tap: Tap | None) -> GattConnection:
        search = Search(self.sought, self.radio, self.wait)
        return GattConnection(self.family, search, clock, tap)


KEYS: Mapping[str, str] = {
    "id": "name in topics and files",
    "adapter": "Bluetooth adapter, e.g. hci1",
    "wait": "seconds to look for it before giving up",
}
"""Options of every such device."""


def create(family: Family, argument: str, given: Options) -> Gatt:
    """Return the device for ``NAME[:WHO][?id=…&adapter=…&wait=…]``.

    Raises:
        Refused: An option is invalid.
    """
    return Gatt(
        family,
        argument,
        identity=given.identity("") if "id" in given else None,
        radio=Radio(adapter=given.text("adapter")),
        wait=given.number("wait", 1, 86400) or WAIT,
    )
