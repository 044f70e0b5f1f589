"""A sensor on a serial port as a `Device`. The only file that knows pyserial.

Opening, reading in a thread, and coming back when it is plugged in again; bytes to samples is the
business of the sensor's own file.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .base import (
    NS,
    BadPacket,
    Chunk,
    DeviceError,
    Event,
    EventKind,
    HostClock,
    Lost,
    NotFound,
    Refused,
    Source,
    Tap,
)
from .ble import backoff
from .gatt import Stream
from .options import slug

if TYPE_CHECKING:
    from serial import Serial  # type: ignore[import-untyped, unused-ignore]

log = logging.getLogger(__name__)

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
    stream: Callable[[str], Stream]
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
        self.id = identity or slug(f"{wire.name}-{path.replace(chr(92), '/').split('/')[-1]}")

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
        session = _Session(self, clock, tap)
        session.begin()
        try:
            async with aclosing(session.items()) as items:
                yield items
        finally:
            session.close()


class _Session:
    """One opening: the cable comes and goes, the samples' place in time stays."""

    def __init__(self, device: Wired, clock: HostClock, tap: Tap | None) -> None:
        self._device = device
        self._clock = clock
        self._tap = tap
        self._port: Serial | None = None
        self._stream = device.wire.stream(device.id)

    def begin(self) -> None:
        """Open the port, throw away what has piled up, and speak to the sensor."""
        self._port = open_port(self._device.path, self._device.wire.baud)
        self._say(self._device.wire.begin)
        log.info("%s: opened", self._device.id)

    def close(self) -> None:
        """Close the port."""
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def _say(self, text: bytes) -> None:
        assert self._port is not None
        if text:
            try:
                self._port.write(text)
            except OSError as error:
                raise Lost(f"{self._device.path} is gone ({error}): plug it in again") from error

    async def items(self) -> AsyncGenerator[Chunk | Event, None]:
        """Yield for ever; whatever happens to the cable is told and mended."""
        while True:
            wire = self._device.wire
            yield self._event("connected", model=wire.name, port=self._device.path, baud=wire.baud)
            try:
                async with aclosing(self._while_open()) as items:
                    async for item in items:
                        yield item
            except Lost as lost:
                yield self._event("disconnected", why=str(lost))
            for item in self._stream.flush():
                yield item
            self._stream.interrupted("unplugged", relinked=True)
            self.close()
            await self._again()

    async def _again(self) -> None:
        attempt = 0
        while self._port is None:
            await self._clock.sleep_until(self._clock.now() + backoff(attempt, longest=5))
            attempt += 1
            try:
                self.begin()
            except DeviceError as error:
                log.info("%s: attempt %d: %s", self._device.id, attempt, error)

    async def _while_open(self) -> AsyncGenerator[Chunk | Event, None]:
        wire = self._device.wire
        heard = kept = self._clock.now()
        while True:
            arrival, raw = await self._read()
            if wire.keep and arrival - kept >= wire.every * NS:
                kept = arrival
                self._say(wire.keep)
            if not raw:
                if arrival - heard >= STALL:
                    heard = arrival
                    self._stream.interrupted("stalled")
                    self._say(wire.begin)
                    yield self._event("notice", text=f"{self._device.path} sends nothing")
                continue
            heard = arrival
            if self._tap is not None:
                self._tap(CHANNEL, arrival, raw)
            try:
                for item in self._stream.push(CHANNEL, arrival, raw):
                    yield item
            except BadPacket as bad:
                log.info("%s: %s: %r", self._device.id, bad, bad.raw[:80])
                if self._stream.bad == 1:
                    yield self._event("notice", text=f"bytes that cannot be decoded: {bad}")

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

    def _event(self, kind: EventKind, **detail: Any) -> Event:
        now = self._clock.now()
        return Event(self._device.id, kind, now, now, detail)


def open_port(path: str, baud: int) -> Serial:
    """Open a serial port, empty.

    Raises:
        NotFound, Refused: As of `Wired.open`.
    """
    try:
        import serial  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise Refused("serial ports need pyserial: pip install 'innpar-stream[serial]'") from None
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
