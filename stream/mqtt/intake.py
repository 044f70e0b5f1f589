"""Received commands, and their answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

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
    "moved": NoticeCode.MOVED_REFUSED,
}
"""Name of a command → code of the notice of its refusal."""

WAITING = 64
"""Commands that wait to be executed, at most."""
RATE, BURST = 20.0, 40.0
"""Commands a second of one commander, and at once; the rest is refused."""
ANSWERS, ANSWERS_AT_ONCE = 60.0, 160.0
"""Refusals a second that are answered, and at once: fewer than the queue of the answers holds.
The rest is counted."""
COMMANDERS = 64
"""Commanders whose rate is known; more share the rate of new ones."""


@dataclass(slots=True)
class _Allowance:
    """Actions allowed at a rate, with some at once (a token bucket).

    Attributes:
        rate: Actions a second.
        left: Actions allowed now.
        most: Actions at once.
        since: When `left` was true, s on the monotonic clock.
    """

    rate: float
    left: float
    most: float
    since: float

    def take(self, now: float) -> bool:
        """Return whether one more action is allowed, and count it."""
        self.left = min(self.most, self.left + (now - self.since) * self.rate)
        self.since = now
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


class Intake:
    """A bounded queue of commands; an invalid one is answered at once.

    Every command is answered or counted: ``received = done + refused + unanswered`` once none
    waits. MQTT does not name the sender of a message, so a commander is a response topic, or the
    device where there is none.

    Args:
        bridge: This process, whose devices they address.
        put: Called with each parcel to publish.
        clock: Function that returns the time, s on the monotonic clock.
    """

    def __init__(
        self,
        bridge: Bridge,
        put: Callable[[Parcel], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bridge = bridge
        self._put = put
        self._clock = clock
        self._waiting: asyncio.Queue[Command] = asyncio.Queue(maxsize=WAITING)
        self._allowances: OrderedDict[tuple[str, str], _Allowance] = OrderedDict()
        self._answers = _Allowance(ANSWERS, ANSWERS_AT_ONCE, ANSWERS_AT_ONCE, clock())
        self._ignored: set[str] = set()  # bounded: topics of this process's own devices
        self._received = self._done = self._refused = self._unanswered = 0

    @property
    def counts(self) -> dict[str, int]:
        """Commands received, carried out, refused with an answer, and refused without."""
        return {
            "commands": self._received,
            "commands_done": self._done,
            "commands_refused": self._refused,
            "commands_unanswered": self._unanswered,
        }

    async def get(self) -> Command:
        return await self._waiting.get()

    def missed(self, count: int) -> None:
        """Count messages that were lost because they arrived faster than they were read."""
        self._received += count
        self._unanswered += count

    def take(self, message: Received) -> None:
        """Queue a message from ``<root>/cmd/<device>/<name>``."""
        self._received += 1
        device, name = message.topic.removeprefix(f"{self._bridge.root}/cmd/").split("/")
        reply = message.reply
        if message.retained:
            self._ignore(message.topic)
            return
        try:
            self._check(device, reply)
            self._waiting.put_nowait(parse_command(name, device, message.payload, reply))
        except CommandError as error:
            self._refuse(name, device, reply, str(error))
        except asyncio.QueueFull:
            self._refuse(name, device, reply, "too many commands are waiting; try again")

    def answer(self, command: Command, error: str | None, *, confirm: bool = False) -> None:
        """Answer a command: on its response topic, else publish a failure as an event.

        Args:
            command: The command.
            error: Reason why it is refused; None if it was carried out.
            confirm: Whether it would be carried out with ``confirm``.
        """
        name, device = name_of(command), command.device
        if error is not None:
            self._refuse(name, device, command.reply, error, confirm=confirm)
            return
        self._done += 1
        if command.reply is not None:
            topic, correlation = command.reply.topic, command.reply.correlation
            self._put(reply_parcel(name, device, None, topic, correlation))

    def _ignore(self, topic: str) -> None:
        """Count a retained command; its sender may be long gone."""
        self._unanswered += 1
        if topic not in self._ignored:
            self._ignored.add(topic)
            _log.warning(
                "%s: a retained command is ignored; send it without the retain flag", topic
            )

    def _check(self, device: str, reply: Reply | None) -> None:
        """Refuse a command for its sender, before its content is read.

        Raises:
            CommandError: It comes too fast, or wants its answer outside the root.
        """
        topic = "" if reply is None else reply.topic
        if not self._allowance(device, topic).take(self._clock()):
            raise CommandError(f"more than {RATE:g} commands a second; send fewer")
        if reply is not None and not self._bridge.may_answer(topic):
            root = self._bridge.root
            raise CommandError(
                f"the response topic must lie under {root}/: use one such as {root}/reply/1"
            )

    def _allowance(self, device: str, topic: str) -> _Allowance:
        key = (device, topic)
        if key not in self._allowances:
            oldest = None
            if len(self._allowances) >= COMMANDERS:
                # A sender that changes its response topic each time gains nothing by it.
                _, oldest = self._allowances.popitem(last=False)
            self._allowances[key] = oldest or _Allowance(RATE, BURST, BURST, self._clock())
        self._allowances.move_to_end(key)
        return self._allowances[key]

    def _refuse(
        self, name: str, device: str, reply: Reply | None, error: str, *, confirm: bool = False
    ) -> None:
        """Answer a refusal while answers are not too many; count it either way."""
        if not self._answers.take(self._clock()):
            self._unanswered += 1
            return
        self._refused += 1
        if reply is not None and self._bridge.may_answer(reply.topic):
            topic, correlation = reply.topic, reply.correlation
            self._put(reply_parcel(name, device, error, topic, correlation, confirm=confirm))
            return
        code = REFUSED.get(name, NoticeCode.COMMAND_REFUSED)
        text = f"{name} command refused: {error}"
        more = {"confirm": True} if confirm else {}
        event = notice(device, time.time_ns(), code, text, **more)
        # Of interest now or never, so it neither fills the spool nor pushes beats out of it.
        self._put(replace(parcel(event, self._bridge.root), durable=False))
