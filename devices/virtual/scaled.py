"""A clock that runs fast, so that an hour of a sensor's life fits into a minute."""

from __future__ import annotations

import asyncio
import time as _time

from ..base import NS


class ScaledClock:
    """A `HostClock` in which `speed` seconds pass every second.

    Args:
        speed: At least 1.
        start: What it shows at first, ns since the Unix epoch; None for the computer's time.
    """

    def __init__(self, speed: float, start: int | None = None) -> None:
        self._speed = speed
        self._start = _time.time_ns() if start is None else start
        self._zero = _time.monotonic_ns()

    def now(self) -> int:
        """Return ns since the Unix epoch."""
        return self._start + int((_time.monotonic_ns() - self._zero) * self._speed)

    async def sleep_until(self, time: int) -> None:
        """Return at or after `time`, ns since the Unix epoch."""
        await asyncio.sleep(0)
        while (left := time - self.now()) > 0:  # noqa: ASYNC110 - time is what is waited for
            await asyncio.sleep(left / NS / self._speed)
