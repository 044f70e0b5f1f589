"""A fast clock: an hour of a sensor's operation in a minute."""

from __future__ import annotations

import asyncio
import time as _time

from innpar.devices.base import NS

LONGEST = NS // 50
"""Most of the computer's time, ns, that counts between two readings; the rest was a pause."""


class ScaledClock:
    """A `HostClock` that advances `speed` seconds every second.

    It stops while the computer is busy elsewhere, so that a slow computer makes no deadline missed.

    Args:
        speed: At least 1.
        start: First time shown, ns since the Unix epoch; None for the computer's.
    """

    def __init__(self, speed: float, start: int | None = None) -> None:
        self._speed = speed
        self._now = _time.time_ns() if start is None else start
        self._looked = _time.monotonic_ns()

    def now(self) -> int:
        """Return ns since the Unix epoch."""
        looked = _time.monotonic_ns()
        passed, self._looked = looked - self._looked, looked
        self._now += int(min(passed, LONGEST) * self._speed)
        return self._now

    async def sleep_until(self, time: int) -> None:
        """Return at or after `time`, ns since the Unix epoch."""
        await asyncio.sleep(0)
        while (left := time - self.now()) > 0:  # noqa: ASYNC110 - time is what is waited for
            await asyncio.sleep(min(left / self._speed, LONGEST / 2) / NS)
