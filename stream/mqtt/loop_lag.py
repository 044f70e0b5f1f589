"""A watchdog of the event loop: how late it comes back to a task that only sleeps."""

from __future__ import annotations

import asyncio
import logging
import time

WINDOW = 15.0
_EVERY = 0.1
"""s between two measurements."""
_STALLED = 2.0
"""s of delay that are reported at once."""

_log = logging.getLogger(__name__)


class LoopLag:
    """The longest delay of the event loop in the last `WINDOW` seconds, or up to twice as many."""

    def __init__(self) -> None:
        self._now = self._before = 0.0
        self._since = time.monotonic()

    @property
    def longest(self) -> float:
        """The longest delay, s."""
        return max(self._now, self._before)

    async def measure(self) -> None:
        """Measure until cancelled."""
        while True:
            due = time.monotonic() + _EVERY
            await asyncio.sleep(_EVERY)
            late = time.monotonic() - due
            if due - self._since > WINDOW:
                self._now, self._before, self._since = 0.0, self._now, due
            self._now = max(self._now, late)
            if late > _STALLED:
                _log.warning(
                    "streaming stood still for %.1f s: the computer is overloaded or was suspended",
                    late,
                )
