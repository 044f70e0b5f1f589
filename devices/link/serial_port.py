"""A sensor on a serial port as a `Device`. The only file that imports pyserial.

The port is read in a thread and opened again when the sensor is plugged in again; the sensor's own
file turns bytes into samples.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from innpar.devices.base import (
    NS,
    Chunk,
    DeviceError,
    Event,
    HostClock,
    Lost,
    OutOfReach,
    Refused,
    Tap,
)
from innpar.devices.link.decoder import TimedDecoder
from innpar.devices.link.inbox import Arrival
from innpar.devices.link.reconnect import LiveDevice, ReconnectingDevice
from innpar.devices.options import slug

if TYPE_CHECKING:
    from serial import Serial  # type: ignore[import-untyped, unused-ignore]

CHANNEL = "serial"
READ = 0.1
"""Time a read waits for the first byte, seconds."""

MOST = 65536
"""Bytes of one read."""

STALL = 5 * NS


@dataclass(frozen=True, slots=True)
class Wire:
    """One kind of sensor on a serial port.

    Attributes:
        name: Its name in ``--device``.
        baud: Bits a second.
        decoder: Device id → its decoder.
        begin: Command after opening, and again when the sensor falls silent.
        keep: Command every `every` seconds.
        polarity, site: See `Device`.
    """

    name: str
    baud: int
    decoder: Callable[[str], TimedDecoder]
    begin: bytes = b""
    keep: bytes = b""
    every: float = 0.0
    polarity: Literal[-1, 0, 1] = 0
    site: str = "unknown"


class Wired(LiveDevice):
    """A sensor of some `Wire` as a `Device`; opening opens the port.

    Args:
        wire: Its kind.
        path: Of the port, such as ``/dev/ttyUSB0`` or ``COM3``.
        identity: Id to use instead of one built from kind and path.
    """

    def __init__(self, wire: Wire, path: str, identity: str | None = None) -> None:
        self.wire = wire
        self.kind = wire.name
        self.polarity = wire.polarity
        self.site = wire.site
        self.who = self.path = path
        self._id = identity or slug(f"{wire.name}-{path.replace(chr(92), '/').split('/')[-1]}")

    @property
    def id(self) -> str:
        """``serial-ttyusb0``."""
        return self._id

    def _connection(self, clock: HostClock, tap: Tap | None) -> _SerialConnection:
        return _SerialConnection(self, clock, tap)


class _SerialConnection(ReconnectingDevice):
    """One opening: the cable comes and goes."""

    def __init__(self, device: Wired, clock: HostClock, tap: Tap | None) -> None:
        wire = device.wire
        every = wire.every if wire.keep else 0.0
        # Opening a port anew resets an Arduino: silence is reported, and the port left open.
        super().__init__(
            device, clock, tap, stall=STALL / NS, every=every, patience=None, longest=5.0
        )
        self.silence_text = f"{device.path} sends nothing"
        self.useless_text = (
            f"{device.path} sends, but nothing that can be read as samples: the speed may be "
            f"another than {wire.baud} baud (?baud=…), or the sensor another than {wire.name}"
        )
        self._device = device
        self._port: Serial | None = None
        self._timed_decoder = wire.decoder(device.id)
        self.dropped = 0
        """Always 0: unread bytes wait in the operating system."""

    async def _first_connect(self) -> None:
        await self._connect()  # waiting does not make a port appear

    async def _connect_link(self, stack: AsyncExitStack) -> _SerialConnection:
        """Open the port, discard the bytes piled up in it, and start the sensor."""
        self._port = port = open_port(self._device.path, self._device.wire.baud)
        stack.callback(port.close)
        self._write(self._device.wire.begin)
        return self

    @property
    def _decoder(self) -> TimedDecoder:
        return self._timed_decoder

    def _describe(self) -> dict[str, Any]:
        wire = self._device.wire
        return {"model": wire.name, "port": self._device.path, "baud": wire.baud}

    def _on_disconnect(self) -> list[Chunk | Event]:
        left = self._timed_decoder.flush()
        self._timed_decoder.interrupted("unplugged", relinked=True)
        return left

    async def _restart(self) -> None:
        self._write(self._device.wire.begin)

    async def _keep_alive(self) -> None:
        self._write(self._device.wire.keep)

    def _write(self, command: bytes) -> None:
        assert self._port is not None
        if command:
            try:
                self._port.write(command)
            except OSError as error:
                raise Lost(f"{self._device.path} is gone ({error}): plug it in again") from error

    async def next(self, deadline: int) -> Arrival | None:
        """Return the bytes read, or None at `deadline`.

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
        """Return arrival time and bytes; no bytes after `READ` seconds of silence."""
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
    """Open a serial port and discard its input.

    Raises:
        OutOfReach: There is no such port; the message lists those that exist.
        Refused: It may not be opened, is in use, or pyserial is not installed.
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
        raise _port_error(path, error) from error
    return port


def _port_error(path: str, error: OSError) -> DeviceError:
    from serial.tools.list_ports import (  # type: ignore[import-untyped, unused-ignore]
        comports,
    )

    if error.errno == errno.EACCES:
        return Refused(f"{path} may not be opened: add the user to the group dialout (or uucp)")
    if error.errno == errno.EBUSY:
        return Refused(f"{path} is in use: close the program that has it open")
    there = ", ".join(port.device for port in comports()) or "none"
    return OutOfReach(f"{path} cannot be opened ({error}): plug it in; existing ports: {there}")
