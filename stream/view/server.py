"""HTTP and WebSocket server of the live page.

A viewer sends ``{"epoch": …, "after": N}`` when it has drawn; the answer is everything since
message N. Nothing is sent without such a request, so nothing queues for a slow or hidden page.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from innpar.stream.errors import ConfigError
from innpar.stream.view.access import Access, PageAddress, Visitor
from innpar.stream.view.board import Board
from innpar.stream.view.files import HEADERS, page_files
from innpar.stream.view.steering import CommandExecutor, Confirmable

log: logging.Logger = logging.getLogger(__name__)

PATIENCE = 1.0
"""s until an answer without news; the page takes longer silence for a lost server."""
PACE = 0.03
"""s from a request to its answer, at least."""
LARGEST = 4096
"""Bytes of a viewer's message, at most."""
VIEWERS = 64
"""Viewers at once, at most."""
PORTS = 10
"""Ports tried in a row where none was given."""

Documents = Mapping[str, Callable[[], tuple[HTTPStatus, str, bytes]]]
"""Name of a document → function that returns its status, content type and content."""

SOCKET = "live"
"""Last part of the WebSocket's path."""


class PageServer:
    """The page of one run; see `open`.

    Attributes:
        access: Rule that decides on every request.
    """

    def __init__(
        self,
        board: Board | None,
        commands: CommandExecutor | None,
        access: Access,
        documents: Documents,
    ) -> None:
        self.access = access
        self._documents = documents
        self._board = board
        self._commands = commands
        self._files = page_files() if board is not None else {}
        self._viewers = 0

    def respond(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a request for a file; None lets a WebSocket through."""
        visitor = self.access.visitor(request.path, request.headers)
        if visitor.refusal is not None:
            return _text(HTTPStatus.FORBIDDEN, visitor.refusal)
        path, _, query = request.path.partition("?")
        name = path.rpartition("/")[2]
        if name in self._documents:
            return _response(*self._documents[name]())
        if name == SOCKET and "Upgrade" in request.headers and self._board is not None:
            if request.headers.get("Origin") is None and not visitor.commands:
                return _text(HTTPStatus.FORBIDDEN, "open the page in a browser")
            if self._viewers >= VIEWERS:
                return _text(HTTPStatus.SERVICE_UNAVAILABLE, "too many viewers: close a page")
            return None
        if "token=" in query and visitor.commands:
            return self._with_cookie(name)
        file = self._files.get(name or "index.html")
        if file is None:
            return _text(HTTPStatus.NOT_FOUND, "not found")
        return _response(HTTPStatus.OK, *file)

    async def serve_viewer(self, connection: ServerConnection) -> None:
        """Answer a viewer's requests until it leaves."""
        handshake = connection.request
        visitor = self.access.visitor(handshake.path, handshake.headers) if handshake else Visitor()
        self._viewers += 1
        pending: dict[str, asyncio.Task[None]] = {}
        try:
            async for message in connection:
                request = _parsed(message)
                kind = "command" if "command" in request else "news"
                if kind in pending:  # one at a time: a viewer that sends more waits
                    await pending[kind]
                answer = self._execute if kind == "command" else self._news
                pending[kind] = asyncio.create_task(answer(connection, request, visitor))
        except ConnectionClosed:
            log.debug("a viewer has left without a goodbye")
        finally:
            self._viewers -= 1
            for task in pending.values():
                task.cancel()
            await asyncio.gather(*pending.values(), return_exceptions=True)

    async def _news(
        self, connection: ServerConnection, request: dict[str, Any], visitor: Visitor
    ) -> None:
        epoch, after = request.get("epoch"), request.get("after")
        after = after if type(after) is int and after >= 0 else 0
        if self._board is None:
            return
        await asyncio.sleep(PACE)
        answer = await self._board.answer(str(epoch), after, PATIENCE)
        allowed = visitor.commands and self._commands is not None
        with suppress(ConnectionClosed):
            await connection.send(f'{{"commands":{"true" if allowed else "false"},{answer[1:]}')

    async def _execute(
        self, connection: ServerConnection, request: dict[str, Any], visitor: Visitor
    ) -> None:
        error: str | None = "commands need the address with ?token=… that the run printed"
        if self._commands is None:
            error = "this page only looks on: send commands to the run itself"
        elif visitor.commands:
            body = json.dumps(request.get("body")).encode()
            name, device = str(request["command"]), str(request.get("device"))
            error = await self._commands.execute(name, device, body)
        confirm = isinstance(error, Confirmable)
        reply = {
            "reply": request.get("id"),
            "ok": error is None,
            "error": error,
            "confirm": confirm,
        }
        with suppress(ConnectionClosed):
            await connection.send(json.dumps(reply))

    def _with_cookie(self, name: str) -> Response:
        """Move the token from the address into a cookie that no script can read."""
        response = _response(HTTPStatus.SEE_OTHER, "text/plain; charset=utf-8", b"")
        response.headers["Location"] = f"./{name}"
        cookie = f"{self.access.cookie}={self.access.token}; HttpOnly; SameSite=Strict"
        response.headers["Set-Cookie"] = cookie
        return response


@asynccontextmanager
async def serving(
    address: PageAddress,
    board: Board | None,
    commands: CommandExecutor | None,
    documents: Documents | None = None,
    token: str | None = None,
) -> AsyncIterator[str]:
    """Serve the page inside the context.

    Args:
        address: To listen on.
        board: Content of the page; None for documents alone.
        commands: Destination of commands; None for a page that only looks on.
        documents: Served beside it, by name.
        token: Secret of the address; one of this run if not given.

    Yields:
        The page's address, with its token.

    Raises:
        ConfigError: The address is in use or not of this computer.
    """
    ports = [address.port] if address.fixed else range(address.port, address.port + PORTS)
    for port in ports:
        access = Access(address.local, port, token) if token else Access(address.local, port)
        page = PageServer(board, commands, access, documents or {})
        server = serve(
            page.serve_viewer,
            address.host,
            port,
            process_request=page.respond,
            compression=None,
            max_size=LARGEST,
            max_queue=4,
            ping_interval=20,
            server_header=None,
            logger=_quiet(),
        )
        try:
            running = await server
        except OSError as error:
            if error.errno == errno.EADDRINUSE and port != ports[-1]:
                continue
            raise ConfigError(
                f"{address.host}:{port}: {error.strerror or error}; choose another address"
            ) from None
        port = next(iter(running.sockets)).getsockname()[1]
        page.access = Access(address.local, port, page.access.token)
        host = f"[{address.host}]" if ":" in address.host else address.host
        try:
            yield f"http://{host}:{port}/?token={page.access.token}"
        finally:
            running.close(close_connections=True)
            await running.wait_closed()
        return


def _parsed(message: str | bytes) -> dict[str, Any]:
    try:
        request = json.loads(message)
    except (ValueError, RecursionError):
        request = None
    return request if isinstance(request, dict) else {}


def _quiet() -> logging.Logger:
    """Return the logger of the library, which reports every broken handshake as an error."""
    logger = logging.getLogger(f"{__name__}.websockets")
    logger.setLevel(logging.CRITICAL)
    return logger


def _text(status: HTTPStatus, text: str) -> Response:
    return _response(status, "text/plain; charset=utf-8", f"{text}\n".encode())


def _response(status: HTTPStatus, content_type: str, body: bytes) -> Response:
    headers = Headers({**HEADERS, "Content-Type": content_type})
    headers["Content-Length"] = str(len(body))
    headers["Connection"] = "close"
    return Response(status.value, status.phrase, headers, body)
