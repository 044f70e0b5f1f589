"""The embedded broker's process: ``python -m innpar.stream.embedded``.

Writes the port on standard output once it listens, and ends when standard input does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from amqtt.broker import Broker  # type: ignore[import-untyped]
from amqtt.contexts import BrokerConfig, ListenerConfig  # type: ignore[import-untyped]
from amqtt.errors import BrokerError  # type: ignore[import-untyped]

from .broker import FIRST_PORT, HOST, PORTS

_LAST_WORDS = 0.2
"""s for messages that are still on their way to subscribers."""


async def _listen() -> tuple[Broker, int]:
    """Start on the first free port."""
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        broker = Broker(
            BrokerConfig(
                listeners={"default": ListenerConfig(bind=f"{HOST}:{port}")},
                plugins={
                    "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
                },
            )
        )
        try:
            await broker.start()
        except BrokerError:
            continue  # taken
        return broker, port
    raise SystemExit(1)


async def _parent_ends() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def main() -> None:
    """Serve until the parent ends."""
    _, port = await _listen()
    print(port, flush=True)
    await _parent_ends()
    await asyncio.sleep(_LAST_WORDS)
    # Nothing is kept, so nothing needs closing, and no lingering session may hold us up.
    os._exit(0)


if __name__ == "__main__":
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    logging.getLogger("transitions").setLevel(logging.CRITICAL)
    asyncio.run(main())
