"""Status of a sensor beside its samples (battery, wear, vitals): one event for each change."""

from __future__ import annotations

from typing import Any

from innpar.devices.base import NS, Event, EventKind
from innpar.devices.notices import NoticeCode, notice

VITALS_EVERY = 5 * NS
"""Least interval between two heart-rate events, ns: the rate changes all the time."""


class StatusChanges:
    """Last reported status, by kind of event.

    Args:
        device: Id to put on everything.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._last: dict[EventKind, tuple[int, Any]] = {}

    def changed(self, kind: EventKind, time: int, *, every: int = 0, **detail: Any) -> list[Event]:
        """Return an event if its detail differs from the last one of its kind.

        Args:
            kind: See `Event`.
            time: ns since the Unix epoch.
            every: Least interval between two events of the kind, ns.
            detail: See `Event`.
        """
        at, last = self._last.get(kind, (time - every, None))
        if last == detail or time - at < every:
            return []
        self._last[kind] = time, detail
        return [self.event(kind, time, **detail)]

    def vitals(self, time: int, hr: int | None, spo2: int | None) -> list[Event]:
        """Return heart rate (beats a minute) and SpO2 (percent) now and then; None if unknown."""
        if hr is None and spo2 is None:
            return []
        return self.changed("vitals", time, every=VITALS_EVERY, hr=hr, spo2=spo2)

    def forget(self, kind: EventKind) -> None:
        """Report the next status of a kind even if it has not changed."""
        self._last.pop(kind, None)

    def event(self, kind: EventKind, time: int, **detail: Any) -> Event:
        """Return an event of one instant."""
        return Event(self._device, kind, time, time, detail)

    def notice(self, time: int, code: NoticeCode, text: str, **more: Any) -> Event:
        """Return a notice; see `notices.notice`."""
        return notice(self._device, time, code, text, **more)
