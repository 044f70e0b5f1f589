"""State of a device at a position in a recording, from the events before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from innpar.devices.base import NS, Event
from innpar.devices.notices import NoticeCode, notice
from innpar.devices.session.contents import LASTING
from innpar.devices.session.items import LEARNT, Topic, unpack_event
from innpar.devices.session.reader import SessionFile


class CalibrationAt(NamedTuple):
    """Cuff reading with the calibration learnt from it, and when it took effect (ns since 1970)."""

    at: int
    event: Event


def calibration_at(file: SessionFile, device: str, begin: int) -> CalibrationAt | None:
    """Return the newest reading that had taken effect by `begin`, ns since the Unix epoch.

    None if there was none, or if the version that recorded it did not note calibrations.
    """
    numbers = file.numbers(str(Topic(device, LEARNT)))
    found: CalibrationAt | None = None
    for message in file.messages(file.holding(numbers)):
        if message.channel in numbers and message.time <= begin:
            event = unpack_event(device, message.data)
            found = CalibrationAt(message.time, event) if event.kind == "cuff" else None
    return found


class StateAt:
    """Filter of a device's events before a position, which keeps those still valid there.

    Args:
        begin: The position, ns since the Unix epoch.
        held: Result of `calibration_at`.
    """

    def __init__(self, begin: int, held: CalibrationAt | None) -> None:
        self._begin = begin
        self._held = held
        self._pending = held is not None
        self._waiting: Event | None = None
        self._state: dict[str, Event] = {}

    def takes(self, event: Event) -> bool:
        """Take an event; return whether it lies before the position and must not be yielded."""
        if event.start >= self._begin:
            return False
        if event.kind in LASTING:
            self._state.pop(event.kind, None)  # keep the order of the newest
            self._state[event.kind] = event
        elif event.kind == "cuff" and "remembered" in event.detail:
            if self._held is None or event.start >= self._held.at:
                self._held, self._pending = CalibrationAt(event.start, event), True
        elif event.kind == "cuff" and (self._waiting is None or event.start >= self._waiting.start):
            self._waiting = event
        elif event.kind == "cuff_undone":
            self._undo(event)
        return True

    def _undo(self, undone: Event) -> None:
        """Forget the reading that is withdrawn; `calibration_at` knows which is in force then."""
        if self._waiting is not None and _same(self._waiting, undone):
            self._waiting = None
        if self._held is None or not _same(self._held.event, undone):
            return
        if self._held.at <= undone.start:
            self._held, self._pending = None, False

    def due(self) -> Iterator[Event]:
        """Yield the events still valid at the position, in their order; nothing when repeated."""
        yield from self._state.values()
        self._state.clear()
        learnt = self._held.event if self._held is not None and self._pending else None
        waiting, self._pending, self._waiting = self._waiting, False, None
        if self._held is not None and waiting is not None and waiting.start <= _taken(self._held):
            waiting = None
        readings = [reading for reading in (learnt, waiting) if reading is not None]
        if readings:
            yield _earlier_reading(readings[-1], self._begin, learnt=waiting is None)
        yield from readings


def _same(reading: Event, undone: Event) -> bool:
    names = ("sbp", "dbp")
    return [reading.detail[name] for name in names] == [undone.detail[name] for name in names]


def _taken(held: CalibrationAt) -> int:
    """Return when a calibration's reading was taken, ns since the Unix epoch."""
    return held.event.start - round(float(held.event.detail["remembered"]["age_s"]) * NS)


def _earlier_reading(reading: Event, at: int, *, learnt: bool) -> Event:
    sbp, dbp = (float(reading.detail[name]) for name in ("sbp", "dbp"))
    how = "with its calibration" if learnt else "its calibration is learnt again"
    text = f"the earlier cuff reading {sbp:g}/{dbp:g} applies, {how}; beats may differ slightly "
    text += "from the live run"
    return notice(reading.device, at, NoticeCode.EARLIER_READING, text)
