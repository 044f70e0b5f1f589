"""What a sensor says of itself beside its samples: told when it changes, not every time."""

from __future__ import annotations

from typing import Any

from innpar.devices.base import NS, Event, EventKind
from innpar.devices.notices import NoticeCode, notice

VITALS_EVERY = 5 * NS
"""ns between two heart rates that are told: they change all the time, and nobody counts on them."""


class StatusChanges:
    """Remembers what was told last.

    Args:
        device: Id to put on everything.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._last: dict[EventKind, tuple[int, Any]] = {}

    def changed(self, kind: EventKind, time: int, *, every: int = 0, **detail: Any) -> list[Event]:
        """Return an event where its detail is not what was told last.

        Args:
            kind: As of `Event`.
            time: ns since the Unix epoch.
            every: ns since the last one of its kind before it is told again.
            detail: As of `Event`.
        """
        at, last = self._last.get(kind, (time - every, None))
        if last == detail or time - at < every:
            return []
        self._last[kind] = time, detail
        return [self.event(kind, time, **detail)]

    def vitals(self, time: int, hr: int | None, spo2: int | None) -> list[Event]:
        """Return what an oximeter shows, beats a minute and percent, now and then; None unknown."""
        if hr is None and spo2 is None:
            return []
        return self.changed("vitals", time, every=VITALS_EVERY, hr=hr, spo2=spo2)

    def forget(self, kind: EventKind) -> None:
        """Tell it again even if it has not changed: who listens has begun anew."""
        self._last.pop(kind, None)

    def event(self, kind: EventKind, time: int, **detail: Any) -> Event:
        """Return an event of one moment."""
        return Event(self._device, kind, time, time, detail)

    def notice(self, time: int, code: NoticeCode, text: str, **more: Any) -> Event:
        """Return a notice; see `notices.notice`."""
        return notice(self._device, time, code, text, **more)
