"""A relay in front of a broker, as gateways of the cloud are: some answer by hanging up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def relay(
    port: int, refuses: Callable[[bytes], bool], *, pause: float = 0.0
) -> AsyncIterator[int]:
    """Yield a port that leads to `port`; a packet that it refuses closes the connection.

    Args:
        port: Of the broker.
        refuses: Judge of a packet on its way there.
        pause: s that each such packet takes.
    """
    tasks = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("127.0.0.1", port)

        async def back() -> None:
            while data := await answers.read(65536):
                writer.write(data)
            writer.close()

        task = asyncio.create_task(back())
        tasks.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while not refuses(packet := await _packet(reader)):
                    requests.write(packet)
                    await asyncio.sleep(pause)
        finally:
            await asyncio.sleep(0.05)  # for the answers to what came before
            task.cancel()
            for one in (requests, writer):
                one.close()
                with suppress(OSError):
                    await one.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0.2)
        await asyncio.gather(*tasks, return_exceptions=True)


async def _packet(reader: asyncio.StreamReader) -> bytes:
    """Read one MQTT packet."""
    head = await reader.readexactly(2)
    while head[-1] & 0x80:
        head += await reader.readexactly(1)
    length = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(head[1:]))
    return head + await reader.readexactly(length)
