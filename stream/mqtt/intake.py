"""Received commands, and their answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from innpar.devices import NoticeCode, notice
from innpar.stream.messages.commands import Command, CommandError, Reply, name_of, parse_command
from innpar.stream.messages.parcel import Parcel
from innpar.stream.messages.payload import parcel, reply_parcel
from innpar.stream.mqtt.bridge import Bridge
from innpar.stream.mqtt.connection import Received

_log = logging.getLogger(__name__)

REFUSED = {
    "calibrate": NoticeCode.CALIBRATE_REFUSED,
    "mark": NoticeCode.MARK_REFUSED,
    "record": NoticeCode.RECORD_REFUSED,
}
"""Name of a command → code of the notice of its refusal."""


class Intake:
    """A bounded queue of commands; an invalid one is answered at once.

    Args:
        bridge: This process, whose devices they address.
        put: Called with each parcel to publish.
    """

    def __init__(self, bridge: Bridge, put: Callable[[Parcel], None]) -> None:
        self._bridge = bridge
        self._put = put
        self._waiting: asyncio.Queue[Command] = asyncio.Queue(maxsize=64)

    async def get(self) -> Command:
        return await self._waiting.get()

    def take(self, message: Received) -> None:
        """Queue a message from ``<root>/cmd/<device>/<name>``."""
        device, name = message.topic.removeprefix(f"{self._bridge.root}/cmd/").split("/")
        if message.retained:
            _log.warning(
                "%s: a retained command is ignored; send it without the retain flag", message.topic
            )
            return
        try:
            self._waiting.put_nowait(parse_command(name, device, message.payload, message.reply))
        except CommandError as error:
            self._answer(name, device, message.reply, str(error))
        except asyncio.QueueFull:
            self._answer(name, device, message.reply, "too many commands are waiting; try again")

    def answer(self, command: Command, error: str | None) -> None:
        """Answer a command: on its response topic, else publish a failure as an event."""
        self._answer(name_of(command), command.device, command.reply, error)

    def _answer(self, name: str, device: str, reply: Reply | None, error: str | None) -> None:
        if reply is not None and self._bridge.may_answer(reply.topic):
            self._put(reply_parcel(name, device, error, reply.topic, reply.correlation))
        elif error is not None:
            now = time.time_ns()
            code = REFUSED.get(name, NoticeCode.COMMAND_REFUSED)
            text = f"{name} command refused: {error}"
            self._put(parcel(notice(device, now, code, text), self._bridge.root))
