"""Commands that come in, and the answers that go out."""

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
"""Name of a command → code of the notice that it was refused."""


class Intake:
    """A bounded queue of commands; one that is no command is answered at once.

    Args:
        bridge: Whose devices they are for.
        put: Takes what is to be published.
    """

    def __init__(self, bridge: Bridge, put: Callable[[Parcel], None]) -> None:
        self._bridge = bridge
        self._put = put
        self._waiting: asyncio.Queue[Command] = asyncio.Queue(maxsize=64)

    async def get(self) -> Command:
        return await self._waiting.get()

    def take(self, message: Received) -> None:
        """Queue what came on ``<root>/cmd/<device>/<name>``."""
        device, name = message.topic.removeprefix(f"{self._bridge.root}/cmd/").split("/")
        if message.retained:
            _log.warning("%s: a retained command is ignored; send it without", message.topic)
            return
        try:
            self._waiting.put_nowait(parse_command(name, device, message.payload, message.reply))
        except CommandError as error:
            self._tell(name, device, message.reply, str(error))
        except asyncio.QueueFull:
            self._tell(name, device, message.reply, "too many commands are waiting")

    def answer(self, command: Command, error: str | None) -> None:
        """Tell the asker how it went: on the response topic, else a failure as an event."""
        self._tell(name_of(command), command.device, command.reply, error)

    def _tell(self, name: str, device: str, reply: Reply | None, error: str | None) -> None:
        if reply is not None and self._bridge.may_answer(reply.topic):
            self._put(reply_parcel(name, device, error, reply.topic, reply.correlation))
        elif error is not None:
            now = time.time_ns()
            code = REFUSED.get(name, NoticeCode.COMMAND_REFUSED)
            text = f"{name} command refused: {error}"
            self._put(parcel(notice(device, now, code, text), self._bridge.root))
