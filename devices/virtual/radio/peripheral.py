"""Interface between virtual sensors and virtual radios."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

Send = Callable[[str, bytes], Awaitable[None]]
"""Notify or indicate (characteristic UUID, value); without effect if not subscribed."""


@dataclass(frozen=True, slots=True)
class Characteristic:
    """GATT characteristic of a sensor.

    Attributes:
        uuid: Full UUID, lower-case.
        properties: Any of ``read``, ``write``, ``notify``, ``indicate``.
    """

    uuid: str
    properties: tuple[str, ...]


@dataclass(slots=True)
class Air:
    """Functions of the radio that a sensor can call.

    Attributes:
        hang_up: Break the link.
        advertise: Start or stop advertising.
    """

    hang_up: Callable[[], None]
    advertise: Callable[[bool], None]


class Peripheral(Protocol):
    """Virtual sensor that a radio can advertise and serve.

    Attributes:
        name: Advertised name.
        address: Bluetooth address, six hexadecimal bytes.
        mtu: Largest ATT packet it accepts, bytes.
        advertised: 16-bit service UUIDs in its advertisement, hexadecimal.
        services: Service UUID → its characteristics.
        air: Set by the radio; None without one.
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
        """Handle a write to a characteristic."""
        ...

    async def run(self, send: Send, mtu: Callable[[], int]) -> None:
        """Serve one connection until cancelled.

        Args:
            send: Sends a value to the central.
            mtu: Returns the ATT MTU agreed so far, bytes.
        """
        ...
