"""Polar's optical sensors: Verity Sense, OH1 and what else speaks their measurement service.

Finding and connecting is `ble`'s, the life of the link `polar_session`'s, the dialogue
`polar_control`'s, bytes to samples `polar_stream`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from innpar.devices.base import Chunk, Event, HostClock, Refused, Source, Tap
from innpar.devices.link.ble import Radio
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
"""Device → how what it looks for is called on the air."""

RATES = (28, 44, 55, 135, 176)


class Polar:
    """A Polar optical sensor as a `Device`.

    Args:
        model: A key of `NAMES`.
        who: Its address, or the end of its name (printed on it); empty for the first one heard.
        identity: Id to use instead of one made of model and name.
        rate: PPG samples a second, one of `RATES`; None for what its normal mode has (55 Hz on a
            Verity Sense, 135 Hz on an OH1). SDK mode is entered where the rate needs it.
        acc: Also stream the acceleration.
        ppi: Also stream pulse intervals, which tell motion and wear (not in SDK mode).
        radio: Which Bluetooth to use.
        wait: Seconds to look for it on entering.
    """

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
        self.model = model
        self.who = who
        self.rate = rate
        self.acc = acc
        self.ppi = ppi
        self.radio: Radio = radio or Radio()
        self.wait = wait
        self.sought: Target = Target(model, who, NAMES[model], identity=identity)

    @property
    def id(self) -> str:
        """``polar-verity-8a3f1b2c``; without an argument the last part comes once it is found."""
        return self.sought.id

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
        """Forearm or wrist."""
        return "wrist"

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Find, connect, start; see `Device.open`.

        Raises:
            NotFound: Not heard for `wait` seconds, or there is no Bluetooth.
            Refused: It is in its charger, lacks the rate, or is held by something else.
        """
        wanted = Wanted(self.rate, self.acc, self.ppi)
        search = Search(self.sought, self.radio, self.wait)
        async with PolarConnection(wanted, search, clock, tap).opened() as items:
            yield items


KEYS: Mapping[str, str] = {
    "rate": "PPG samples a second: 28, 44, 55, 135 or 176",
    "acc": "on to stream the acceleration too",
    "ppi": "on to stream pulse intervals too, which tell motion and wear",
    **COMMON,
}


def create_polar(model: str, argument: str, options: Mapping[str, str], pace: Pace) -> Polar:
    """Make the device behind ``polar-verity[:NAME or ADDRESS][?rate=176&…]``.

    Raises:
        Refused: An option makes no sense.
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
