"""Messages of one WebSocket client, received at a port of this computer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from innpar.devices.base import HostClock
from innpar.devices.link.inbox import Arrival, Inbox
from innpar.devices.link.udp_listener import CHANNEL, listen_error

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.typing import Origin

LARGEST = 65536
"""Most bytes of a message."""

TRY_AGAIN_LATER = 1013

_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.setLevel(logging.CRITICAL)  # a broken handshake is the client's


@asynccontextmanager
async def websocket_listener(
    host: str, port: int, origin: str | None, clock: HostClock
) -> AsyncIterator[Inbox]:
    """Take one client and receive its messages; the inbox is closed when it hangs up.

    Args:
        host, port: Where to listen.
        origin: Address of the web page whose scripts may connect; None for programs only.
        clock: The host's.

    Raises:
        OutOfReach, Refused: As for `udp_listener`.
    """
    from websockets.asyncio.server import serve

    inbox = Inbox(clock, "the sender hung up")
    taken: list[ServerConnection] = []

    async def receive(client: ServerConnection) -> None:
        if taken:
            await client.close(TRY_AGAIN_LATER, "another sender is connected")
            return
        taken.append(client)
        try:
            async for message in client:
                data = message.encode() if isinstance(message, str) else message
                inbox.post(Arrival(CHANNEL, clock.now(), data))
        finally:
            inbox.close()

    try:
        server = await serve(
            receive,
            host,
            port,
            origins=[None] if origin is None else [None, cast("Origin", origin)],
            max_size=LARGEST,
            max_queue=16,
            compression=None,
            close_timeout=0.2,
            server_header=None,
            logger=_quiet,
        )
    except OSError as error:
        raise listen_error(host, port, error) from error
    try:
        yield inbox
    finally:
        # Python 3.11 leaks a connection that it accepts in the very pass that closes the server.
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        try:
            await asyncio.sleep(0)
        finally:
            server.close()
            closing = asyncio.ensure_future(server.wait_closed())
            await asyncio.wait({closing})
