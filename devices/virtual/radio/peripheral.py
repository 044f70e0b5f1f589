"""What a virtual radio needs to know of a sensor, whatever it measures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

Send = Callable[[str, bytes], Awaitable[None]]
"""Notify or indicate (characteristic UUID, value); nothing happens where nobody subscribed."""


@dataclass(frozen=True, slots=True)
class Characteristic:
    """One value of a sensor.

    Attributes:
        uuid: In full, lower-case.
        properties: Of ``read``, ``write``, ``notify``, ``indicate``.
    """

    uuid: str
    properties: tuple[str, ...]


@dataclass(slots=True)
class Air:
    """The radio as the sensor sees it; a radio puts its own functions here.

    Attributes:
        hang_up: Break the link without a word.
        advertise: Begin or cease to advertise.
    """

    hang_up: Callable[[], None]
    advertise: Callable[[bool], None]


class Peripheral(Protocol):
    """A sensor that can be put on the air.

    Attributes:
        name: As advertised.
        address: Six hex bytes.
        mtu: Largest ATT packet it agrees to.
        advertised: 16-bit service UUIDs in its advertisement, in hex.
        services: Service UUID → its characteristics.
        air: None until a radio has taken it.
    """

    name: str
    address: str
    mtu: int
    advertised: tuple[str, ...]
    services: Mapping[str, tuple[Characteristic, ...]]
    air: Air | None

    def read(self, uuid: str) -> bytes:
        """Return the value of a characteristic."""
        ...

    def write(self, uuid: str, data: bytes) -> None:
        """Take a value."""
        ...

    async def run(self, send: Send, mtu: Callable[[], int]) -> None:
        """Serve one connection until cancelled.

        Args:
            send: To the central.
            mtu: What has been agreed on so far.
        """
        ...
