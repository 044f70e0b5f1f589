"""Notifications that a link delivers more than once, as some Bluetooth stacks do. No I/O."""

from __future__ import annotations

from collections import deque

from innpar.devices.base import Event
from innpar.devices.notices import NoticeCode, notice

SOON = 250_000_000
"""ns. Longest time between a notification and its repeat."""

BLUETOOTH = (
    "notifications arrive more than once: repeats are dropped; if it persists, switch Bluetooth "
    "off and on"
)

NEWEST = 4
"""Number of latest notifications of a channel among which a repeat is looked for."""


class Repeats:
    """Recognition and count of repeated notifications.

    Equal bytes alone prove nothing in a channel without numbers, where a still signal gives equal
    notifications: its decoder also checks that they came faster than the sensor can send.

    Args:
        device: Id to put on the notice.
        text: Text of the notice.

    Attributes:
        count: Number of repeats dropped.
    """

    def __init__(self, device: str, text: str = BLUETOOTH) -> None:
        self._device, self._text = device, text
        self._latest: dict[str, deque[tuple[int, bytes]]] = {}
        self._reported = False
        self.count = 0

    def equal(self, channel: str, arrival: int, raw: bytes) -> bool:
        """Return whether the same bytes came on the channel within `SOON`, and remember them."""
        latest = self._latest.setdefault(channel, deque(maxlen=NEWEST))
        found = any(raw == earlier and arrival - at < SOON for at, earlier in latest)
        if not found:
            latest.append((arrival, raw))
        return found

    def forget(self) -> None:
        """Forget the notifications of a link that is down."""
        self._latest.clear()

    def drop(self, arrival: int) -> list[Event]:
        """Count a repeat; return a notice at the first one."""
        self.count += 1
        if self._reported:
            return []
        self._reported = True
        return [notice(self._device, arrival, NoticeCode.NOTIFICATIONS_REPEATED, self._text)]
