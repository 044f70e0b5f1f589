"""What is asked of a run from outside enters the stream, at a place that is recorded with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from ..devices import Event, HostClock
from .command import Calibrate, Command, Mark, Record
from .deck import Deck
from .errors import SessionError
from .mqtt import MqttSink
from .pipeline import Wearer

log = logging.getLogger(__name__)

FULL = "too many commands are waiting; try again"
BEGINNING = 3
"""Events with which a recording begins, at most; without room for them it does not."""


async def obey(mqtt: MqttSink, wearers: Sequence[Wearer], clock: HostClock, deck: Deck) -> None:
    """Put what subscribers ask for into the stream it is meant for, for ever."""
    async for command in mqtt.commands():
        try:
            await _obey(command, wearers, clock, deck)
        except SessionError as error:
            mqtt.answer(command, str(error))
        else:
            mqtt.answer(command)


async def _obey(command: Command, wearers: Sequence[Wearer], clock: HostClock, deck: Deck) -> None:
    """Follow a command.

    Raises:
        SessionError: It cannot be followed now; the message says why.
    """
    wearer = next((one for one in wearers if one.device.id == command.device), None)
    if wearer is None:
        raise SessionError(f"no device is called {command.device!r} here")
    live = wearer.device.source == "live"
    if live and not wearer.heard:
        raise SessionError(f"{command.device} sends nothing at present; try again later")
    if wearer.first is None and not isinstance(command, Calibrate):
        raise SessionError(f"{command.device} has sent nothing yet; try again later")
    if isinstance(command, Record):
        await (start(wearer, deck) if command.record else stop(wearer, deck))
        return
    # A recording lives in its own time, where a clock on the wall means nothing.
    at = command.time if live and command.time is not None else wearer.last
    if isinstance(command, Calibrate):
        detail = {"sbp": command.sbp, "dbp": command.dbp}
        put(wearer, Event(command.device, "cuff", at, at, detail))
    else:
        mark(wearer, command, clock)


async def start(wearer: Wearer, deck: Deck) -> None:
    """Begin to record a wearer; both the run and a replay start afresh there.

    Raises:
        SessionError: That is not possible.
    """
    if wearer.orders.qsize() + BEGINNING > wearer.orders.maxsize:
        raise SessionError(FULL)
    name = wearer.device.id
    path, at = await deck.start(name, wearer.preparer.waiting), wearer.last
    detail = {"why": "a recording begins", "lost": 0}
    put(wearer, Event(name, "gap", at, at, detail))
    if (kept := wearer.in_force) is not None:
        put(wearer, kept.event(name, at))
    put(wearer, Event(name, "notice", at, at, {"text": f"recording to {path}"}))


async def stop(wearer: Wearer, deck: Deck) -> None:
    """End the recording of a wearer.

    Raises:
        SessionError: There is none.
    """
    path, at = await deck.stop(wearer.device.id), wearer.last
    detail = {"text": f"recording to {path} has ended"}
    put(wearer, Event(wearer.device.id, "notice", at, at, detail))


def mark(wearer: Wearer, asked: Mark, clock: HostClock) -> None:
    """Put a marker into a wearer's stream: at its time, else now, on the stream's own time axis.

    Raises:
        SessionError: There is no room for it.
    """
    at = wearer.last
    if wearer.device.source == "live":
        at = clock.now() if asked.time is None else asked.time
    put(wearer, Event(wearer.device.id, "marker", at, at, {"text": asked.text}))


def mark_all(
    wearers: Sequence[Wearer], text: str, clock: HostClock, time: int | None = None
) -> None:
    """Put a marker into the stream of everybody who is being streamed."""
    for wearer in wearers:
        if wearer.first is None or (wearer.device.source == "live" and not wearer.heard):
            continue
        try:
            mark(wearer, Mark(wearer.device.id, text, time), clock)
        except SessionError as error:
            log.warning("%s: the marker %r is lost: %s", wearer.device.id, text, error)


def put(wearer: Wearer, event: Event) -> None:
    """Put an event into a wearer's stream.

    Raises:
        SessionError: There is no room for it.
    """
    try:
        wearer.orders.put_nowait(event)
    except asyncio.QueueFull:
        raise SessionError(FULL) from None
