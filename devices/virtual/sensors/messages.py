"""Virtual senders of lines of JSON, by UDP and as a WebSocket client."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar, Protocol

import numpy as np

from innpar.devices.base import NS, HostClock
from innpar.devices.virtual.sensors.bluetooth import RadioKind
from innpar.devices.virtual.world.faults import Faults, Mishaps, cut
from innpar.devices.virtual.world.light import Light, pulse

RATE = 50.0
BATCH = 2
"""Lines of a message."""

COLUMNS = ("ir", "red", "green")


class ListeningDriver(Protocol):
    """The driver that listens; `host` and `port` are where."""

    host: str
    port: int


class _Sender(ABC):
    """A `VirtualSensor` that sends messages while `on_air`, and takes no commands.

    Args:
        clock: The host clock, by which it acts.
        light: Light at its sensor.
        faults: May be changed at any time.
        copies: Times that every message is sent.
        seed: Seed of its randomness.

    Attributes:
        sent: Samples taken while it was reachable.
        serial: Its name, which no driver looks for.
    """

    unsupported: ClassVar[Mapping[str, str]] = {
        "refuse": "--fault sdk: only a Polar has an SDK mode; leave it out",
        "mtu": "--fault mtu: a sender in the network has no Bluetooth; leave it out",
    }

    def __init__(
        self,
        clock: HostClock,
        light: Light = pulse,
        *,
        faults: Faults | None = None,
        copies: int = 1,
        seed: int = 0,
    ) -> None:
        self.faults: Faults = faults or Faults()
        self.sent, self.serial = 0, "sender"
        self._clock, self._light, self._copies = clock, light, copies
        self._mishaps = Mishaps(self.faults, np.random.default_rng(seed), cut)
        self._reachable = True
        self._boot()

    def _boot(self) -> None:
        self._on_at, self._next = self._clock.now(), 0

    def answer_to(self, who: str) -> None:
        """Take another name."""
        self.serial = who or self.serial

    def reachable(self, on: bool) -> None:
        """Fall silent, or come back; its clock goes on."""
        self._reachable = on

    def power(self, on: bool) -> None:
        """Switch off, or on again with its clock anew."""
        self._reachable = on
        if on:
            self._boot()

    def discharge(self, percent: int) -> None:  # noqa: B027 - part of the interface
        """Do nothing: it reports no battery."""

    @asynccontextmanager
    async def on_air(self, radio: RadioKind, driver: ListeningDriver) -> AsyncIterator[None]:
        """Send to where the driver listens."""
        sending = asyncio.ensure_future(self._run(driver.host, driver.port))
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.wait({sending})

    @abstractmethod
    async def _run(self, host: str, port: int) -> None:
        """Send for ever."""

    async def _messages(self) -> AsyncIterator[bytes]:
        """Yield each message when it is due."""
        while True:
            places = np.arange(self._next, self._next + BATCH)
            period = NS / (RATE * self.faults.off_rate)
            at = self._on_at + np.rint(places * period).astype(np.int64)
            await self._clock.sleep_until(int(at[-1]))
            if places[0] != self._next:
                continue  # switched on anew in the meantime
            self._next += BATCH
            counts = self._light(at)
            if not self._reachable:
                continue
            self.sent += BATCH
            own = np.rint((at - self._on_at) * (1 + self.faults.ppm * 1e-6) / 1e6)
            rows = zip(own.tolist(), counts.tolist(), strict=True)
            lines = (json.dumps(_record(time, row)) for time, row in rows)
            for message in self._mishaps.of("\n".join(lines).encode()):
                for _ in range(self._copies):
                    yield message


def _record(time: float, counts: list[int]) -> dict[str, Any]:
    """Return one sample, with its time in ms."""
    return {"t": int(time), **dict(zip(COLUMNS, counts, strict=False))}


class VirtualUdpSender(_Sender):
    """A board that sends each message as a datagram."""

    async def _run(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(host, port)
        )
        try:
            async for message in self._messages():
                transport.sendto(message)
        finally:
            transport.close()


class VirtualWebSocketSender(_Sender):
    """A phone that connects as a WebSocket client, and again when it was cut off."""

    async def _run(self, host: str, port: int) -> None:
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        while True:
            with suppress(OSError, WebSocketException):
                async with connect(f"ws://{host}:{port}", compression=None) as socket:
                    async for message in self._messages():
                        await socket.send(message.decode())
            await asyncio.sleep(0.1)
