"""The HTTP server of a run: its live page, metrics and health."""

from __future__ import annotations

import asyncio
import json
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from innpar.stream.app.operations.health import health
from innpar.stream.app.operations.metrics import RunState, metrics
from innpar.stream.app.operations.prometheus import CONTENT_TYPE
from innpar.stream.app.settings import Settings
from innpar.stream.errors import ConfigError
from innpar.stream.mqtt.sink import MqttSink
from innpar.stream.session.recorders import Recorders
from innpar.stream.view.access import PageAddress
from innpar.stream.view.board import Board
from innpar.stream.view.server import Documents, serving
from innpar.stream.view.steering import PageCommands


@asynccontextmanager
async def http_server(
    settings: Settings, board: Board, commands: PageCommands, documents: Documents
) -> AsyncIterator[str | None]:
    """Serve the page, metrics and health inside the context, as the settings say.

    Args:
        settings: Of the run.
        board: Content of the page.
        commands: Destination of its commands.
        documents: Metrics and health, by name.

    Yields:
        One line with the address and its token; None without a server.

    Raises:
        ConfigError: The address cannot be used.
    """
    page = settings.view is not None or settings.open_
    if not page and settings.metrics is None:
        yield None
        return
    if page and settings.metrics:
        raise ConfigError(
            f"--metrics {settings.metrics}: the live page's server has /metrics and /health too: "
            "give the address to --view and leave it out here"
        )
    address = PageAddress.parse((settings.view if page else settings.metrics) or "")
    token, shown = _token(settings.token_file), board if page else None
    async with serving(address, shown, commands, documents, token) as url:
        if settings.open_:
            await asyncio.to_thread(webbrowser.open, url)
        yield f"live page: {url}" if page else f"metrics: {url.replace('/?', '/metrics?')}"


def operation(run: RunState) -> Documents:
    """Return the documents about a run's operation."""

    def health_document() -> tuple[HTTPStatus, str, bytes]:
        found = health(run)
        failing = found["status"] == "failing"
        status = HTTPStatus.SERVICE_UNAVAILABLE if failing else HTTPStatus.OK
        return status, "application/json", json.dumps(found).encode()

    return {
        "metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE, metrics(run).encode()),
        "health": health_document,
    }


def _token(file: Path | None) -> str | None:
    """Return the token of ``--token-file``.

    Raises:
        ConfigError: The file cannot be read, or its token is easily guessed.
    """
    if file is None:
        return None
    try:
        token = file.expanduser().read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file: {file} cannot be read ({error})") from None
    if len(token) < 16:
        raise ConfigError(f"--token-file: {file}: its first line needs at least 16 characters")
    return token


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
