"""What was told before a position in a recording and still holds there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from innpar.devices.base import NS, Event
from innpar.devices.notices import NoticeCode, notice
from innpar.devices.session.contents import LASTING
from innpar.devices.session.items import LEARNT, Topic, unpack_event
from innpar.devices.session.reader import SessionFile


class CalibrationAt(NamedTuple):
    """A cuff reading with what was learnt from it, and when that was known (ns since the epoch)."""

    at: int
    event: Event


def held(file: SessionFile, device: str, begin: int) -> CalibrationAt | None:
    """Return the newest reading that had taken effect by `begin`, ns since the Unix epoch.

    None where there was none, or the recording is of a version that did not note it.
    """
    numbers = file.numbers(str(Topic(device, LEARNT)))
    found: CalibrationAt | None = None
    for message in file.messages(file.holding(numbers)):
        if message.channel in numbers and message.time <= begin:
            found = CalibrationAt(message.time, unpack_event(device, message.data))
    return found


class StateAt:
    """Takes a device's events from before a position, and tells those that still hold.

    Args:
        begin: The position, ns since the Unix epoch.
        held: As `held` returns it.
    """

    def __init__(self, begin: int, held: CalibrationAt | None) -> None:
        self._begin = begin
        self._held = held
        self._untold = held is not None
        self._waiting: Event | None = None
        self._state: dict[str, Event] = {}

    def takes(self, event: Event) -> bool:
        """Return whether an event lies before the position, and so is no part of what follows."""
        if event.start >= self._begin:
            return False
        if event.kind in LASTING:
            self._state.pop(event.kind, None)  # the newest is the last
            self._state[event.kind] = event
        elif event.kind == "cuff" and "remembered" in event.detail:
            if self._held is None or event.start > self._held.at:
                self._held, self._untold = CalibrationAt(event.start, event), True
        elif event.kind == "cuff" and (self._waiting is None or event.start >= self._waiting.start):
            self._waiting = event
        return True

    def due(self) -> Iterator[Event]:
        """Yield what is still to be told, in the order in which it was."""
        yield from self._state.values()
        self._state.clear()
        told = self._held.event if self._held is not None and self._untold else None
        waiting, self._untold, self._waiting = self._waiting, False, None
        if self._held is not None and waiting is not None and waiting.start <= _taken(self._held):
            waiting = None
        readings = [reading for reading in (told, waiting) if reading is not None]
        if readings:
            yield _remark(readings[-1], self._begin, learnt=waiting is None)
        yield from readings


def _taken(held: CalibrationAt) -> int:
    return held.event.start - round(float(held.event.detail["remembered"]["age_s"]) * NS)


def _remark(reading: Event, at: int, *, learnt: bool) -> Event:
    sbp, dbp = (float(reading.detail[name]) for name in ("sbp", "dbp"))
    how = "with what was learnt from it" if learnt else "the pulse at it is learnt anew"
    text = f"the reading {sbp:g}/{dbp:g} from before this part holds, {how}; beats may differ a "
    text += "little from those of the live run"
    return notice(reading.device, at, NoticeCode.EARLIER_READING, text)
