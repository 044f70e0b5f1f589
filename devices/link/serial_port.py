"""A sensor on a serial port as a `Device`. The only file that knows pyserial.

Opening, reading in a thread, and coming back when it is plugged in again; bytes to samples is the
business of the sensor's own file.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from innpar.devices.base import (
    NS,
    Chunk,
    DeviceError,
    Event,
    HostClock,
    Lost,
    NotFound,
    Refused,
    Source,
    Tap,
)
from innpar.devices.link.inbox import Arrival
from innpar.devices.link.reconnect import ReconnectingDevice, TimedDecoder
from innpar.devices.options import slug

if TYPE_CHECKING:
    from serial import Serial  # type: ignore[import-untyped, unused-ignore]

CHANNEL = "serial"
READ = 0.1
"""Seconds that a read waits for the first byte."""

MOST = 65536
"""Bytes taken at once."""

STALL = 5 * NS


@dataclass(frozen=True, slots=True)
class Wire:
    """What is particular to a kind of sensor.

    Attributes:
        name: What ``--device`` calls it.
        baud: Bits a second.
        stream: Device id → its decoder.
        begin: What is said to it at first, and again when it falls silent.
        keep: What is said to it every `every` seconds.
        polarity, site: As of `Device`.
    """

    name: str
    baud: int
    stream: Callable[[str], TimedDecoder]
    begin: bytes = b""
    keep: bytes = b""
    every: float = 0.0
    polarity: Literal[-1, 0, 1] = 0
    site: str = "unknown"


class Wired:
    """A sensor of some `Wire` as a `Device`.

    Args:
        wire: Its kind.
        path: Of the port, such as ``/dev/ttyUSB0`` or ``COM3``.
        identity: Id to use instead of one made of kind and path.
    """

    def __init__(self, wire: Wire, path: str, identity: str | None = None) -> None:
        self.wire = wire
        self.path = path
        self.id: str = identity or slug(f"{wire.name}-{path.replace(chr(92), '/').split('/')[-1]}")

    @property
    def source(self) -> Source:
        """It is worn, now."""
        return "live"

    @property
    def polarity(self) -> Literal[-1, 0, 1]:
        return self.wire.polarity

    @property
    def site(self) -> str:
        return self.wire.site

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Open the port; see `Device.open`.

        Raises:
            NotFound: No such port; the message lists those that there are.
            Refused: It may not be opened, or something else has it; or pyserial is not installed.
        """
        async with _SerialConnection(self, clock, tap).opened() as items:
            yield items


class _SerialConnection(ReconnectingDevice):
    """One opening: the cable comes and goes."""

    def __init__(self, device: Wired, clock: HostClock, tap: Tap | None) -> None:
        wire = device.wire
        every = wire.every if wire.keep else 0.0
        # Whoever opens a port anew resets an Arduino: silence is told, and the cable left alone.
        super().__init__(
            device, clock, tap, stall=STALL / NS, every=every, patience=None, longest=5.0
        )
        self.silent = f"{device.path} sends nothing"
        self._device = device
        self._port: Serial | None = None
        self._stream = device.wire.stream(device.id)
        self.dropped = 0
        """Never: what nobody has read yet waits in the system."""

    async def _begin(self) -> None:
        await self._connect()  # a port that is not there will not come by waiting

    async def _make(self, stack: AsyncExitStack) -> _SerialConnection:
        """Open the port, throw away what has piled up, and speak to the sensor."""
        self._port = port = open_port(self._device.path, self._device.wire.baud)
        stack.callback(port.close)
        self._say(self._device.wire.begin)
        return self

    @property
    def _streaming(self) -> TimedDecoder:
        return self._stream

    def _told(self) -> dict[str, Any]:
        wire = self._device.wire
        return {"model": wire.name, "port": self._device.path, "baud": wire.baud}

    def _parted(self) -> list[Chunk | Event]:
        left = self._stream.flush()
        self._stream.interrupted("unplugged", relinked=True)
        return left

    async def _again(self) -> None:
        self._say(self._device.wire.begin)

    async def _tick(self) -> None:
        self._say(self._device.wire.keep)

    def _say(self, text: bytes) -> None:
        assert self._port is not None
        if text:
            try:
                self._port.write(text)
            except OSError as error:
                raise Lost(f"{self._device.path} is gone ({error}): plug it in again") from error

    async def next(self, deadline: int) -> Arrival | None:
        """Return what has been read, or None once it is `deadline`.

        Raises:
            Lost: The port is gone.
        """
        while True:
            time, raw = await self._read()
            if raw:
                return Arrival(CHANNEL, time, raw)
            if time >= deadline:
                return None

    async def _read(self) -> tuple[int, bytes]:
        """Return what has come, and when; nothing after `READ` seconds of silence."""
        port = self._port
        assert port is not None

        def read() -> tuple[int, bytes]:
            raw = port.read(1)
            raw += port.read(min(port.in_waiting, MOST)) if raw else b""
            return self._clock.now(), raw

        reading = asyncio.get_running_loop().run_in_executor(None, read)
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            await asyncio.wait({reading})  # a port must not be closed under its reader
            reading.exception()
            raise
        except (OSError, TypeError) as error:  # pyserial's TypeError: closed underneath
            raise Lost(f"{self._device.path} is gone ({error}): plug it in again") from error


def open_port(path: str, baud: int) -> Serial:
    """Open a serial port, empty.

    Raises:
        NotFound, Refused: As of `Wired.open`.
    """
    try:
        import serial  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise Refused("serial ports need pyserial: scripts/setup serial") from None
    try:
        port = serial.Serial(path, baud, timeout=READ, write_timeout=1)
        port.reset_input_buffer()
    except ValueError as error:
        raise Refused(f"{path}: {error}") from error
    except OSError as error:
        raise _remedy(path, error) from error
    return port


def _remedy(path: str, error: OSError) -> DeviceError:
    from serial.tools.list_ports import (  # type: ignore[import-untyped, unused-ignore]
        comports,
    )

    if error.errno == errno.EACCES:
        return Refused(f"{path} may not be opened: add the user to the group dialout (or uucp)")
    if error.errno == errno.EBUSY:
        return Refused(f"{path} is in use: close the serial monitor or whatever has it open")
    there = ", ".join(port.device for port in comports()) or "none"
    return NotFound(f"{path} cannot be opened ({error}): plug it in; ports there are: {there}")
