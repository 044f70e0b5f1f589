"""A clock that runs fast, so that an hour of a sensor's life fits into a minute."""

from __future__ import annotations

import asyncio
import time as _time

from innpar.devices.base import NS

LONGEST = NS // 50
"""Most of the computer's time that passes between two looks; what is more was a pause."""


class ScaledClock:
    """A `HostClock` in which `speed` seconds pass every second.

    It stands still while the computer is busy with something else: what runs by it is not made to
    miss what is due.

    Args:
        speed: At least 1.
        start: What it shows at first, ns since the Unix epoch; None for the computer's time.
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
