"""Commands to a running stream; each enters it at a place that is recorded with it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from innpar.devices import NS, Event, HostClock, NoticeCode, is_real_time, notice
from innpar.stream.calibration.believable import doubt
from innpar.stream.calibration.store import LONGEST
from innpar.stream.calibration.tracker import KEPT
from innpar.stream.calibration.types import CuffReading
from innpar.stream.errors import SessionError, UnconfirmedReading
from innpar.stream.messages.commands import Calibrate, Command, Mark, Moved, Record, Undo
from innpar.stream.messages.encoding import iso
from innpar.stream.pipeline.injection import FULL
from innpar.stream.pipeline.supervision import reason
from innpar.stream.pipeline.tape import RecordingControl
from innpar.stream.pipeline.wearer import Wearer

log: logging.Logger = logging.getLogger(__name__)

BEGINNING = 2 + KEPT
"""Events at the beginning of a recording, at most; without room for them it does not begin."""
AHEAD = 5 * NS
"""ns by which the sender's clock may be ahead of the stream's time, or behind its beginning."""


class CommandSource(Protocol):
    """A source of commands, and the destination of their answers."""

    def commands(self) -> AsyncIterator[Command]:
        """Iterate over commands, for ever."""
        ...

    def answer(self, command: Command, error: str | None = None, *, confirm: bool = False) -> None:
        """Answer a command.

        Args:
            command: The command.
            error: Reason why it failed; None on success.
            confirm: Whether it would succeed with ``confirm``.
        """
        ...


async def run_commands(
    source: CommandSource, wearers: Sequence[Wearer], clock: HostClock, recorders: RecordingControl
) -> None:
    """Execute the commands of a source for ever."""
    async for command in source.commands():
        try:
            await execute(command, wearers, clock, recorders)
        except UnconfirmedReading as error:
            source.answer(command, str(error), confirm=True)
        except SessionError as error:
            source.answer(command, str(error))
        except Exception as error:  # of one command; the next ones must still be executed
            log.exception("a command to %s failed", command.device)
            source.answer(command, f"it failed ({reason(error)}); try again")
        else:
            source.answer(command)


async def execute(
    command: Command, wearers: Sequence[Wearer], clock: HostClock, recorders: RecordingControl
) -> None:
    """Execute a command.

    Raises:
        SessionError: It cannot be executed now; the message names the reason.
    """
    wearer = next((one for one in wearers if one.device.id == command.device), None)
    if wearer is None:
        raise SessionError(f"there is no device {command.device!r} here; check the topic")
    if not wearer.streaming:
        when = "has sent nothing yet" if wearer.first is None else "sends nothing at present"
        raise SessionError(f"{command.device} {when}; try again later")
    if isinstance(command, Record):
        now = moment(wearer, None, clock)
        if command.time is not None and abs(command.time - now) > AHEAD:
            raise SessionError("a recording begins and ends now: leave 'time' out")
        await (start_recording if command.record else stop_recording)(wearer, recorders)
        return
    if isinstance(command, Calibrate):
        calibrate(wearer, command, clock)
    elif isinstance(command, Undo):
        undo(wearer)
    elif isinstance(command, Moved):
        moved(wearer)
    else:
        mark(wearer, command, clock)


def calibrate(wearer: Wearer, command: Calibrate, clock: HostClock) -> None:
    """Inject a cuff reading at its time, else now.

    Raises:
        UnconfirmedReading: It is far from the estimates, and not confirmed.
        SessionError: A newer one is in force, or there is no room for it, or its time is wrong.
    """
    at = wearer.last
    if command.time is not None:
        at = moment(wearer, command.time, clock, before=LONGEST * NS)
    reading = CuffReading(at, command.sbp, command.dbp)
    if (newer := newer_than(wearer, reading)) is not None:
        raise SessionError(f"{newer}; to use this one, withdraw that first")
    why = doubt(reading.sbp, reading.dbp, at, wearer.recent)
    if why is not None and not command.confirm:
        raise UnconfirmedReading(f"{why}; if it is right, send it again with confirm")
    inject(wearer, reading.event(wearer.device.id))


def newer_than(wearer: Wearer, reading: CuffReading) -> str | None:
    """Return why a reading does not count, which is that a newer one does; None if it counts."""
    newest = wearer.newest
    if newest is None or reading.time >= newest.time:
        return None
    return f"a newer cuff reading, {newest.sbp:g}/{newest.dbp:g} of {iso(newest.time)}, is in force"


def undo(wearer: Wearer) -> None:
    """Inject the withdrawal of the newest cuff reading.

    Raises:
        SessionError: There is none, or no room for the withdrawal.
    """
    newest = wearer.newest
    if newest is None:
        raise SessionError("there is no cuff reading to withdraw; enter one")
    inject(wearer, newest.undone(wearer.device.id, wearer.last))


def moved(wearer: Wearer) -> None:
    """Inject a break of the signal and the end of every reading: the sensor was moved.

    Pulse, channel and readings belong to the place where the sensor was; all begin anew.

    Raises:
        SessionError: There is no room for it.
    """
    name, at, known = wearer.device.id, wearer.last, wearer.known
    if wearer.queue.room < len(known) + 2:
        raise SessionError(FULL)
    inject(wearer, Event(name, "gap", at, at, {"why": "the sensor was moved", "lost": 0}))
    for reading in reversed(known):
        inject(wearer, reading.undone(name, at, moved=True))
    advice = "measure with a cuff"
    if known:
        advice = "earlier cuff readings no longer apply; measure again"
    inject(wearer, notice(name, at, NoticeCode.SENSOR_MOVED, f"the sensor was moved: {advice}"))


def moment(wearer: Wearer, time: int | None, clock: HostClock, *, before: int = AHEAD) -> int:
    """Return a time on a stream's own time axis: the given one, else now.

    Args:
        time: ns since the Unix epoch.
        before: ns by which it may lie before the stream's beginning.

    Raises:
        SessionError: It does not lie within this stream.
    """
    real_time = is_real_time(wearer.device)
    now, first = clock.now() if real_time else wearer.last, wearer.first or 0
    if time is None:
        return now
    if time > now + AHEAD:
        own = f"{wearer.device.id} has its own time, now"
        whose = "this computer's time is" if real_time else own
        raise SessionError(
            f"'time' {iso(time)} is still to come: {whose} {iso(now)}; leave it out for now"
        )
    if time < first - before:
        order = "long before" if before > AHEAD else "before"
        raise SessionError(f"'time' {iso(time)} is {order} the stream's beginning, {iso(first)}")
    return time


async def start_recording(wearer: Wearer, recorders: RecordingControl) -> None:
    """Begin to record a wearer; the run and its replay both start a new segment there.

    Raises:
        SessionError: It cannot be recorded.
    """
    if wearer.queue.room < BEGINNING:
        raise SessionError(FULL)
    if any(wearer.finisher.awaits(one) for one in wearer.readings[-1:]):
        raise SessionError("a cuff reading is taking effect just now; try again")
    name = wearer.device.id
    path, at = await recorders.start(name, wearer.waiting_cuffs), wearer.last
    detail = {"why": "a recording begins", "lost": 0}
    inject(wearer, Event(name, "gap", at, at, detail))
    for reading in wearer.readings:
        inject(wearer, reading.event(name, at))
    inject(wearer, notice(name, at, NoticeCode.RECORDING_STARTED, f"recording to {path}"))


async def stop_recording(wearer: Wearer, recorders: RecordingControl) -> None:
    """End the recording of a wearer.

    Raises:
        SessionError: There is none.
    """
    path, at = await recorders.stop(wearer.device.id), wearer.last
    text = f"recording to {path} has ended"
    inject(wearer, notice(wearer.device.id, at, NoticeCode.RECORDING_ENDED, text))


def mark(wearer: Wearer, command: Mark, clock: HostClock) -> None:
    """Inject a marker at its time, else now, on the stream's own time axis.

    Raises:
        SessionError: There is no room for it, or its time does not lie within the stream.
    """
    at = moment(wearer, command.time, clock)
    inject(wearer, Event(wearer.device.id, "marker", at, at, {"text": command.text}))


def mark_all(
    wearers: Sequence[Wearer], text: str, clock: HostClock, time: int | None = None
) -> None:
    """Inject a marker into the stream of every wearer that sends.

    Args:
        time: By the host's clock, ns since the Unix epoch; None, and a stream that is not in real
            time, for now.
    """
    for wearer in wearers:
        if not wearer.streaming:
            continue
        try:
            at = time if is_real_time(wearer.device) else None
            mark(wearer, Mark(wearer.device.id, text, at), clock)
        except SessionError as error:
            log.warning("%s: the marker %r is lost: %s", wearer.device.id, text, error)


def inject(wearer: Wearer, event: Event) -> None:
    """Inject an event into a wearer's stream, ahead of its next samples.

    Raises:
        SessionError: There is no room for it.
    """
    wearer.queue.put(event)


def moved_all(wearers: Sequence[Wearer]) -> None:
    """Report that the sensor of every wearer that sends was moved."""
    for wearer in wearers:
        if wearer.streaming:
            try:
                moved(wearer)
            except SessionError as error:
                log.warning("%s: %s", wearer.device.id, error)
