"""The live page of a run."""

from __future__ import annotations

import asyncio
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from innpar.stream.app.settings import Settings
from innpar.stream.mqtt.sink import MqttSink
from innpar.stream.session.recorders import Recorders
from innpar.stream.view.access import PageAddress
from innpar.stream.view.board import Board
from innpar.stream.view.server import serving
from innpar.stream.view.steering import PageCommands


@asynccontextmanager
async def live_page(
    settings: Settings, board: Board, commands: PageCommands
) -> AsyncIterator[str | None]:
    """Serve the page inside the context, if the settings say so.

    Args:
        settings: Of the run.
        board: Content of the page.
        commands: Destination of its commands.

    Yields:
        The page's address with its token; None without a page.

    Raises:
        ConfigError: The address cannot be used.
    """
    if settings.view is None and not settings.open_:
        yield None
        return
    async with serving(PageAddress.parse(settings.view or ""), board, commands) as url:
        if settings.open_:
            await asyncio.to_thread(webbrowser.open, url)
        yield url


def status(mqtt: MqttSink, recorders: Recorders) -> dict[str, Any]:
    """Return the broker's state and the size of each recording, for the page's last line."""
    recording = {}
    for device, path in recorders.files.items():
        size = path.stat().st_size if path.exists() else 0
        recording[device] = {"name": path.name, "bytes": size}
    return {
        "broker": "connected" if mqtt.connected else "away",
        "queued": mqtt.backlog,
        "recording": recording,
    }
