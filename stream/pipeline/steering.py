"""What is asked of a run from outside enters the stream, at a place that is recorded with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from innpar.devices import NS, Event, HostClock, NoticeCode, by_clock, notice
from innpar.stream.calibration.store import LONGEST
from innpar.stream.errors import SessionError
from innpar.stream.messages.commands import Calibrate, Command, Mark, Record
from innpar.stream.messages.payload import iso
from innpar.stream.pipeline.tape import TapeDeck
from innpar.stream.pipeline.wearer import Wearer

log: logging.Logger = logging.getLogger(__name__)

FULL = "too many commands are waiting; try again"
BEGINNING = 3
"""Events with which a recording begins, at most; without room for them it does not."""
AHEAD = 5 * NS
"""ns by which somebody else's clock may be ahead of the stream's time, or behind its beginning."""


class CommandSource(Protocol):
    """Where commands come from and their answers go."""

    def commands(self) -> AsyncIterator[Command]:
        """Iterate over commands, for ever."""
        ...

    def answer(self, command: Command, error: str | None = None) -> None:
        """Answer a command: `error` says why it cannot be followed; None where it has been."""
        ...


async def run_commands(
    source: CommandSource, wearers: Sequence[Wearer], clock: HostClock, deck: TapeDeck
) -> None:
    """Put each command into the stream that it is meant for, for ever."""
    async for command in source.commands():
        try:
            await follow(command, wearers, clock, deck)
        except SessionError as error:
            source.answer(command, str(error))
        else:
            source.answer(command)


async def follow(
    command: Command, wearers: Sequence[Wearer], clock: HostClock, deck: TapeDeck
) -> None:
    """Follow a command.

    Raises:
        SessionError: It cannot be followed now; the message says why.
    """
    wearer = next((one for one in wearers if one.device.id == command.device), None)
    if wearer is None:
        raise SessionError(f"no device is called {command.device!r} here")
    if wearer.device.source == "live" and not wearer.heard:
        raise SessionError(f"{command.device} sends nothing at present; try again later")
    if wearer.first is None:
        raise SessionError(f"{command.device} has sent nothing yet; try again later")
    if isinstance(command, Record):
        now = moment(wearer, None, clock)
        if command.time is not None and abs(command.time - now) > AHEAD:
            raise SessionError("a recording begins and ends now: leave 'time' out")
        await (start(wearer, deck) if command.record else stop(wearer, deck))
        return
    if isinstance(command, Calibrate):
        at = wearer.last
        if command.time is not None:
            at = moment(wearer, command.time, clock, before=LONGEST * NS)
        detail = {"sbp": command.sbp, "dbp": command.dbp}
        put(wearer, Event(command.device, "cuff", at, at, detail))
    else:
        mark(wearer, command, clock)


def moment(wearer: Wearer, asked: int | None, clock: HostClock, *, before: int = AHEAD) -> int:
    """Return a moment on a stream's own time axis: the asked one, else now.

    Args:
        asked: ns since the Unix epoch.
        before: ns by which it may lie before the stream's beginning.

    Raises:
        SessionError: It is none of this stream.
    """
    ours = by_clock(wearer.device)
    now, first = clock.now() if ours else wearer.last, wearer.first or 0
    if asked is None:
        return now
    if asked > now + AHEAD:
        whose = "this computer's time is" if ours else f"{wearer.device.id} has its own time, now"
        raise SessionError(
            f"'time' {iso(asked)} is still to come: {whose} {iso(now)}; leave it out for now"
        )
    if asked < first - before:
        what = "long before" if before > AHEAD else "before"
        raise SessionError(f"'time' {iso(asked)} is {what} the stream's beginning, {iso(first)}")
    return asked


async def start(wearer: Wearer, deck: TapeDeck) -> None:
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
    put(wearer, notice(name, at, NoticeCode.RECORDING_STARTED, f"recording to {path}"))


async def stop(wearer: Wearer, deck: TapeDeck) -> None:
    """End the recording of a wearer.

    Raises:
        SessionError: There is none.
    """
    path, at = await deck.stop(wearer.device.id), wearer.last
    text = f"recording to {path} has ended"
    put(wearer, notice(wearer.device.id, at, NoticeCode.RECORDING_ENDED, text))


def mark(wearer: Wearer, asked: Mark, clock: HostClock) -> None:
    """Put a marker into a wearer's stream: at its time, else now, on the stream's own time axis.

    Raises:
        SessionError: There is no room for it, or its time is none of the stream.
    """
    at = moment(wearer, asked.time, clock)
    put(wearer, Event(wearer.device.id, "marker", at, at, {"text": asked.text}))


def mark_all(
    wearers: Sequence[Wearer], text: str, clock: HostClock, time: int | None = None
) -> None:
    """Put a marker into the stream of everybody who is being streamed.

    Args:
        time: ns since the Unix epoch by the host's clock; now where that is not the stream's.
    """
    for wearer in wearers:
        if wearer.first is None or (wearer.device.source == "live" and not wearer.heard):
            continue
        try:
            at = time if by_clock(wearer.device) else None
            mark(wearer, Mark(wearer.device.id, text, at), clock)
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
