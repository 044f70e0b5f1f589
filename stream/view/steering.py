"""Commands from the page, on the same path as those from MQTT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from innpar.stream.messages.commands import NAMES, Command, CommandError, parse_command

WAITING = 16
"""Commands that wait, at most."""
PATIENCE = 10.0
"""s until a command without an answer has failed."""


class Confirmable(str):
    """Reason of a refusal that ``confirm`` in the command would lift."""


class CommandExecutor(Protocol):
    """Destination of the viewers' commands."""

    async def execute(self, name: str, device: str, payload: bytes) -> str | None:
        """Execute a command of a viewer; return why it failed, None on success."""
        ...


class PageCommands:
    """Source of the commands that viewers send; each is answered to its sender."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Command] = asyncio.Queue(WAITING)
        self._answers: dict[int, asyncio.Future[str | None]] = {}

    async def commands(self) -> AsyncIterator[Command]:
        """Iterate over the commands; `answer` each."""
        while True:
            yield await self._waiting.get()

    def answer(self, command: Command, error: str | None = None, *, confirm: bool = False) -> None:
        """Answer a command; `error` is the reason why it failed, None on success.

        With `confirm` it would succeed if sent with ``confirm``; the page asks by itself.
        """
        future = self._answers.pop(id(command), None)
        if future is not None and not future.done():
            future.set_result(Confirmable(error) if error and confirm else error)

    async def execute(self, name: str, device: str, payload: bytes) -> str | None:
        """Execute a command of a viewer; return why it failed, None on success.

        Args:
            name: Last level of the command's topic.
            device: Id of the device it is for.
            payload: Untrusted JSON.
        """
        if name not in NAMES:
            return f"unknown command: use {', '.join(NAMES)}"
        try:
            command = parse_command(name, device, payload, None)
            self._waiting.put_nowait(command)
        except CommandError as error:
            return str(error)
        except asyncio.QueueFull:
            return "too many commands are waiting; try again"
        future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._answers[id(command)] = future
        try:
            async with asyncio.timeout(PATIENCE):
                return await future
        except TimeoutError:
            return "no answer within 10 s; look at the terminal of the run"
        finally:
            self._answers.pop(id(command), None)
