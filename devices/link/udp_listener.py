"""Datagrams of one sender, received at a port of this computer."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from innpar.devices.base import NS, HostClock, OutOfReach, Refused
from innpar.devices.link.inbox import Arrival, Inbox

CHANNEL = "message"
SILENT = 3 * NS
"""ns without a datagram after which another sender may take over: two would be mixed up."""


class _Receiver(asyncio.DatagramProtocol):
    """Receiver of the datagrams of the first sender, while it sends."""

    def __init__(self, inbox: Inbox, clock: HostClock) -> None:
        self._inbox, self._clock = inbox, clock
        self._sender: Any = None
        self._last = 0

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        now = self._clock.now()
        if self._sender is not None and addr != self._sender and now - self._last < SILENT:
            return
        self._sender, self._last = addr, now
        self._inbox.post(Arrival(CHANNEL, now, data))


@asynccontextmanager
async def udp_listener(host: str, port: int, clock: HostClock) -> AsyncIterator[Inbox]:
    """Receive datagrams at a port while inside.

    Raises:
        OutOfReach: The port is in use.
        Refused: This computer has no such address, or the port may not be used.
    """
    inbox = Inbox(clock, "the port was closed")
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Receiver(inbox, clock), local_addr=(host, port)
        )
    except OSError as error:
        raise listen_error(host, port, error) from error
    try:
        yield inbox
    finally:
        transport.close()
        await asyncio.sleep(0)  # closing takes one round of the loop


def listen_error(host: str, port: int, error: OSError) -> OutOfReach | Refused:
    """Return the error of a port that cannot be listened at, with its remedy."""
    where = f"{host}:{port} cannot be listened at ({error.strerror or error})"
    if error.errno == errno.EADDRINUSE:
        return OutOfReach(f"{where}: end the program that uses it, or choose another port")
    return Refused(f"{where}: use 127.0.0.1, 0.0.0.0 or an address of this computer, and a port")
