"""An event loop on a core of its own: its time is this process's CPU time, idle time skipped.

On a busy computer the wall clock measures the other programs. Here an idle loop jumps to its next
timer and a busy one is late by its own work alone, as on a core that serves nothing else. The
answers of the broker are waited for and cost no time.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable

from innpar.devices.base import NS

EPOCH = 1_800_000_000 * NS
"""Time at which the clock begins, ns since the Unix epoch."""
_SAMPLE = 2000
"""Readings that measure the cost of one."""
PATIENCE = 2.0
"""s of wall time for an answer of the broker."""


class CoreLoop(asyncio.SelectorEventLoop):
    """Event loop that runs on the wall clock until `dedicate`, then on its own CPU time.

    Attributes:
        idle: Seconds skipped so far.
        reading: CPU time of all readings of the clock so far, s, which the system makes dear.
    """

    def __init__(self) -> None:
        super().__init__(_SkippingSelector(self))
        self.idle = 0.0
        self.is_dedicated = False
        self._readings = 0
        self._cost = 0.0
        self.is_awaiting: Callable[[], bool] = lambda: False
        self._base = 0.0

    def time(self) -> float:
        """Return the time, s."""
        if not self.is_dedicated:
            return time.monotonic()
        self._readings += 1
        return self._base + time.process_time() + self.idle

    @property
    def reading(self) -> float:
        return self._cost * self._readings

    def dedicate(self, is_awaiting: Callable[[], bool]) -> None:
        """Count CPU time from now on.

        Args:
            is_awaiting: Whether an answer from outside is due, so that idle time is not skipped.
        """
        began = time.process_time()
        for _ in range(_SAMPLE):
            last = time.process_time()
        self._cost = (last - began) / _SAMPLE
        self._base = time.monotonic() - time.process_time()
        self.is_awaiting = is_awaiting
        self.is_dedicated = True


class _SkippingSelector(selectors.DefaultSelector):
    """Selector that skips the wait for a timer."""

    def __init__(self, loop: CoreLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the descriptors that are ready."""
        if not self._loop.is_dedicated or timeout is None or timeout <= 0:
            return super().select(timeout)
        found = super().select(0)
        if not found and self._loop.is_awaiting():
            found = super().select(PATIENCE)
        if not found:
            self._loop.idle += timeout
        return found


class CoreClock:
    """The host clock of a loop with a time of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._zero = loop.time()

    def now(self) -> int:
        """Return ns since the Unix epoch."""
        return EPOCH + round((self._loop.time() - self._zero) * NS)

    def at(self, time: int) -> float:
        """Return the loop's time at `time`, ns since the Unix epoch."""
        return self._zero + (time - EPOCH) / NS

    async def sleep_until(self, time: int) -> None:
        """Wait until `time`, ns since the Unix epoch."""
        while (rest := time - self.now()) > 0:  # noqa: ASYNC110 - a sleep may end early
            await asyncio.sleep(rest / NS)
