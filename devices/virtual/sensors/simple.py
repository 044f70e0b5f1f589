"""A virtual sensor that sends the notifications posted to it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from innpar.devices.virtual.radio.peripheral import Air, Characteristic, Send
from innpar.devices.virtual.sensors.bluetooth import BluetoothSensor


class Simple(BluetoothSensor):
    """A `Peripheral` whose owner posts its notifications.

    Args:
        name: As advertised.
        services: Service UUID → its characteristics.
        advertised: 16-bit service UUIDs in its advertisement, in hex.
        address: Six hex bytes.
        values: Values of its readable characteristics.

    Attributes:
        written: Every write it received: (characteristic, value).
        obey: Called with each of them.
        silent: Whether posted notifications are discarded.
    """

    def __init__(
        self,
        name: str,
        services: Mapping[str, Sequence[Characteristic]],
        *,
        advertised: tuple[str, ...] = (),
        address: str = "C0:FF:EE:00:00:01",
        mtu: int = 247,
        values: Mapping[str, bytes] | None = None,
    ) -> None:
        self.name = name
        self.address = address
        self.mtu = mtu
        self.advertised = advertised
        self.services: Mapping[str, tuple[Characteristic, ...]] = {
            uuid: tuple(found) for uuid, found in services.items()
        }
        self.air: Air | None = None
        self.written: list[tuple[str, bytes]] = []
        self.obey: Callable[[str, bytes], None] = lambda uuid, data: None
        self.silent = False
        self._values = dict(values or {})
        self._out: deque[tuple[str, bytes]] = deque()
        self._news = asyncio.Event()

    def read(self, uuid: str) -> bytes:
        """Return the value of a characteristic."""
        return self._values.get(uuid, b"")

    def write(self, uuid: str, data: bytes) -> None:
        """Take a value."""
        self.written.append((uuid, data))
        self.obey(uuid, data)

    def post(self, uuid: str, data: bytes) -> None:
        """Send a value to the central, once it is connected and subscribed."""
        if not self.silent:
            self._out.append((uuid, data))
            self._news.set()

    async def run(self, send: Send, mtu: Callable[[], int]) -> None:
        """Serve one connection until cancelled."""
        while True:
            while self._out:
                await send(*self._out.popleft())
            self._news.clear()
            await self._news.wait()
