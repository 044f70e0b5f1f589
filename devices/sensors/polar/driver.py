"""Polar's optical sensors: Verity Sense, OH1 and others with their measurement service.

`link.ble` finds and connects, `polar.connection` keeps the connection, `polar.control` speaks to
the control point, and `polar.decoder` turns bytes into samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from innpar.devices.base import HostClock, Refused, Tap
from innpar.devices.link.ble import Radio
from innpar.devices.link.reconnect import LiveDevice
from innpar.devices.link.target import Search, Target
from innpar.devices.options import Options
from innpar.devices.sensors.gatt import KEYS as COMMON
from innpar.devices.sensors.gatt import WAIT
from innpar.devices.sensors.polar.connection import PolarConnection, Wanted

if TYPE_CHECKING:
    from innpar.devices.timing.pace import Pace

NAMES: dict[str, tuple[str, ...]] = {
    "polar-verity": ("Polar Sense",),
    "polar-oh1": ("Polar OH1",),
    "polar": ("Polar Sense", "Polar OH1", "Polar 360", "Polar Loop", "Polar Vantage", "Polar Grit"),
}
"""Device → beginnings of its advertised names."""

RATES = (28, 44, 55, 135, 176)


class Polar(LiveDevice):
    """A Polar optical sensor as a `Device`.

    Args:
        model: A key of `NAMES`.
        who: Its address, or the end of its name (printed on it); empty for the first one found.
        identity: Id to use instead of one built from model and name.
        rate: PPG sampling rate, Hz, one of `RATES`; None for that of its normal mode (55 Hz on a
            Verity Sense, 135 Hz on an OH1). SDK mode is entered where the rate needs it.
        acc: Also stream the acceleration.
        ppi: Also stream pulse intervals, which report motion and wear (not in SDK mode).
        radio: The Bluetooth adapter.
        wait: Seconds to look for it on entering.
    """

    polarity = -1  # reflected light: systole is a minimum
    site = "wrist"  # or forearm

    def __init__(
        self,
        model: str = "polar-verity",
        who: str = "",
        *,
        identity: str | None = None,
        rate: int | None = None,
        acc: bool = False,
        ppi: bool = False,
        radio: Radio | None = None,
        wait: float = WAIT,
    ) -> None:
        if model not in NAMES:
            raise ValueError(f"a Polar model is one of {', '.join(NAMES)}, not {model!r}")
        self.kind = model
        self.who = who
        self.rate = rate
        self.acc = acc
        self.ppi = ppi
        self.radio: Radio = radio or Radio()
        self.wait = wait
        self.sought: Target = Target(model, who, NAMES[model], identity=identity)

    @property
    def id(self) -> str:
        """``polar-verity-8a3f1b2c``; without an argument the last part is known once found."""
        return self.sought.id

    def _connection(self, clock: HostClock, tap: Tap | None) -> PolarConnection:
        wanted = Wanted(self.rate, self.acc, self.ppi)
        return PolarConnection(wanted, Search(self.sought, self.radio, self.wait), clock, tap)


KEYS: Mapping[str, str] = {
    "rate": "PPG sampling rate, Hz: 28, 44, 55, 135 or 176",
    "acc": "on to stream the acceleration too",
    "ppi": "on to stream pulse intervals too, which report motion and wear",
    **COMMON,
}


def create_polar(model: str, argument: str, options: Mapping[str, str], pace: Pace) -> Polar:
    """Return the device for ``polar-verity[:NAME or ADDRESS][?rate=176&…]``.

    Raises:
        Refused: An option is invalid.
    """
    given = Options(model, options, KEYS)
    rate = given.whole("rate", 1, 1000)
    if rate is not None and rate not in RATES:
        raise Refused(f"{model}: rate is one of {', '.join(map(str, RATES))}, not {rate}")
    return Polar(
        model,
        argument,
        identity=given.identity("") if "id" in given else None,
        rate=rate,
        acc=given.flag("acc", False),
        ppi=given.flag("ppi", False),
        radio=Radio(adapter=given.text("adapter")),
        wait=given.number("wait", 1, 86400) or WAIT,
    )


create_polar_verity = partial(create_polar, "polar-verity")
create_polar_oh1 = partial(create_polar, "polar-oh1")
create_any_polar = partial(create_polar, "polar")
