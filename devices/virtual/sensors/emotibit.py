"""A virtual EmotiBit: answers hellos, connects to the host that asks, and sends its light."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Protocol

import numpy as np

from innpar.devices.base import NS, HostClock
from innpar.devices.link.inbox import wait
from innpar.devices.sensors.emotibit.driver import BATTERY, LIGHT, MOTION, MS, RATE
from innpar.devices.sensors.emotibit.packet import build
from innpar.devices.virtual.sensors.bluetooth import RadioKind
from innpar.devices.virtual.world.faults import Faults, Mishaps, cut
from innpar.devices.virtual.world.light import Ints, Light, pulse

BATCHES = (2, 3, 3, 4)
"""Samples a line, drawn at random, as in a recording."""

DEAF = 10.0
"""Seconds without a greeting after which it hangs up."""

BATTERY_EVERY = 20 * NS
"""Interval of its battery lines, ns."""


class NetworkDriver(Protocol):
    """The driver of a sensor in the network; `host` and `port` are where it looks."""

    host: str
    port: int


class VirtualEmotiBit(asyncio.DatagramProtocol):
    """A `VirtualSensor` in the network, at `host` and `port` while `serving`.

    Samples lie on a grid of its clock that begins when it is switched on.

    Args:
        clock: The host clock, by which it acts.
        light: Light at its sensor; infrared, red and green are the first three channels.
        serial: Its serial number.
        host: Address to listen at; always this computer.
        faults: May be changed at any time.
        copies: Times that every datagram is sent.
        seed: Seed of its randomness.

    Attributes:
        sent: Samples of light in lines that were sent or lost on purpose.
        commands: Every command received.
        battery: Percent.
        powered: Whether it is switched on.
        answers_time: Number of answers to its request for the time.
    """

    unsupported: ClassVar[Mapping[str, str]] = {
        "refuse": "--fault sdk: only a Polar has an SDK mode; leave it out",
        "mtu": "--fault mtu: an EmotiBit has no Bluetooth; leave it out",
    }

    def __init__(
        self,
        clock: HostClock,
        light: Light = pulse,
        *,
        serial: str = "MD-V6-0000042",
        host: str = "127.0.0.1",
        faults: Faults | None = None,
        copies: int = 1,
        seed: int = 0,
    ) -> None:
        self.serial, self.host, self.port = serial, host, 0
        self.faults: Faults = faults or Faults()
        self.sent, self.battery = 0, 91
        self.commands: list[str] = []
        self.powered: bool = True
        self.answers_time: int = 0
        self._clock, self._light, self._copies = clock, light, copies
        self._rng = np.random.default_rng(seed)
        self._mishaps = Mishaps(self.faults, self._rng, cut)
        self._news = asyncio.Event()
        self._hello: asyncio.DatagramTransport | None = None
        self._control: asyncio.StreamWriter | None = None
        self._data: tuple[str, int] | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._streaming = False
        self._greeted = 0
        self._boot()

    def _boot(self) -> None:
        self.on_at: int = self._clock.now()
        self._news.set()
        self._number = int(self._rng.integers(60_000, 65_000))
        self._next = self._battery_sent = self._answers = 0

    # In the network

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[VirtualEmotiBit]:
        """Listen on entering, on a port that is free."""
        loop = asyncio.get_running_loop()
        self._hello, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(self.host, self.port)
        )
        self.port = self._hello.get_extra_info("sockname")[1]
        running = asyncio.ensure_future(self._run())
        try:
            yield self
        finally:
            tasks = [task for task in (running, self._connecting) if task is not None]
            for task in tasks:
                task.cancel()
            self.hang_up()
            self._hello.close()
            await asyncio.gather(*tasks, return_exceptions=True)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Answer a hello, a greeting, or a request to connect."""
        if not self.powered or self._hello is None:
            return
        cells = data.decode().strip().split(",")
        fields = dict(zip(cells[6::2], cells[7::2], strict=False))
        tag = cells[3]
        if tag == "HE":
            port = self._data[1] if self._data else -1
            self._hello.sendto(self._reply("HH", "DP", port, "DI", self.serial), addr)
        elif tag == "EC" and self._connecting is None and self._control is None:
            to = str(addr[0]), int(fields["CP"]), int(fields["DP"])
            self._connecting = asyncio.ensure_future(self._connect(*to))
        elif tag == "PN" and self._data and int(fields["DP"]) == self._data[1]:
            self._greeted = self._clock.now()
            self._hello.sendto(self._reply("PO", "DP", self._data[1]), addr)
        elif tag == "AK":
            self.answers_time += 1

    async def _connect(self, host: str, control: int, data: int) -> None:
        """Open the connection for commands, and obey what comes on it."""
        try:
            reader, self._control = await asyncio.open_connection(host, control)
            if not self.powered:
                return
            self._data, self._greeted = (host, data), self._clock.now()
            while line := await reader.readline():
                self.obey(line.decode().split(",")[3].strip())
        except OSError:
            return  # the host is gone
        finally:
            self.hang_up()
            self._connecting = None

    def obey(self, tag: str) -> None:
        """Take a command."""
        self.commands.append(tag)
        if tag == "ED":
            self.hang_up()
        elif tag in ("MN", "ML"):
            self._streaming = tag == "MN"

    # Events from outside

    def answer_to(self, who: str) -> None:
        """Take the serial number that the driver looks for."""
        self.serial = who or self.serial

    @asynccontextmanager
    async def on_air(self, radio: RadioKind, driver: NetworkDriver) -> AsyncIterator[None]:
        """Serve, and have the driver look here."""
        async with self.serving():
            driver.host, driver.port = self.host, self.port
            yield

    def reachable(self, on: bool) -> None:
        """Fall silent, or come back; its clock and numbers go on."""
        self.powered = on
        self.hang_up()

    def discharge(self, percent: int) -> None:
        """Set the level of the battery."""
        self.battery = percent

    def hang_up(self) -> None:
        """Close the connection."""
        control, self._control, self._data = self._control, None, None
        if control is not None:
            control.close()

    def power(self, on: bool) -> None:
        """Switch off, as with an empty battery, or on again with its clock and numbers anew."""
        self.powered = on
        self.hang_up()
        if on:
            self._boot()

    def ask_for_the_time(self) -> None:
        """Ask the host for the time, as it does now and then."""
        if self._hello is not None and self._data is not None:
            self._hello.sendto(self._line("RD", "TL", "TU"), self._data)

    # Datagrams

    @property
    def rate(self) -> float:
        """Samples a second of the host's clock."""
        return RATE * self.faults.off_rate

    def instants(self, places: Ints) -> Ints:
        """Return the times at which samples are taken, ns on the host clock."""
        times: Ints = self.on_at + np.rint(places * (NS / self.rate)).astype(np.int64)
        return times

    def _stamp(self, host: int) -> int:
        return round((host - self.on_at) * (1 + self.faults.ppm * 1e-6)) // MS

    def _reply(self, tag: str, *cells: object) -> bytes:
        """Return an answer, numbered apart from its data."""
        self._answers += 1
        return build(self._stamp(self._clock.now()), self._answers, tag, cells)

    def _line(self, tag: str, *cells: object, at: int | None = None) -> bytes:
        self._number += 1
        now = self._clock.now() if at is None else at
        return build(self._stamp(now), self._number, tag, cells)

    async def _run(self) -> None:
        batch = 3
        while True:
            due = int(self.instants(np.array([self._next + batch - 1]))[0])
            self._news.clear()
            await wait(self._news, due, self._clock)
            now = self._clock.now()
            if self._data is not None and now - self._greeted > DEAF * NS:
                self.hang_up()
            if now < due or self._news.is_set():
                continue
            self._send(batch)
            batch = int(self._rng.choice(BATCHES))

    def _send(self, batch: int) -> None:
        host = self.instants(np.arange(self._next, self._next + batch))
        self._next += batch
        seen = self._light(host)
        if self._data is None or not self._streaming or not self.powered:
            return
        self.sent += batch
        last = int(host[-1])
        light = [self._line(tag, *seen[:, c], at=last) for c, tag in enumerate(LIGHT)]
        still = np.stack([np.full(batch, g) for g in (0.012, -0.03, 0.998)], axis=1)
        moved = [self._line(tag, *still[:, c], at=last) for c, tag in enumerate(MOTION)]
        if last - self._battery_sent > BATTERY_EVERY:
            self._battery_sent = last
            moved.append(self._line(BATTERY, self.battery))
        for frame in self._mishaps.of(b"".join([*light, *moved])):
            for _ in range(self._copies):
                assert self._hello is not None
                self._hello.sendto(frame, self._data)
