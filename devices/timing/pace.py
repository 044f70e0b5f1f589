"""Host clocks, and the pace at which a recording or a simulation is handed out."""

from __future__ import annotations

import asyncio
import math
import time as _time
from dataclasses import dataclass

from innpar.devices.base import NS, HostClock

LONGEST_WAIT = 5 * NS
"""A recorded hole longer than this is not waited out: nobody watches three hours of nothing."""


class SystemClock:
    """The computer's wall clock, read once and carried on by its monotonic clock.

    A step of the wall clock (time synchronisation, a user) never makes this time jump.
    """

    def __init__(self) -> None:
        self._offset = _time.time_ns() - _time.monotonic_ns()

    def now(self) -> int:
        """Return ns since the Unix epoch."""
        return self._offset + _time.monotonic_ns()

    async def sleep_until(self, time: int) -> None:
        """Return at or after `time`, ns since the Unix epoch."""
        # A loop, because a sleep may end a little early.
        while (left := time - self.now()) > 0:  # noqa: ASYNC110 (nobody could set an event)
            await asyncio.sleep(left / NS)


class VirtualClock:
    """A clock whose time passes only while somebody waits for it.

    Attributes:
        time: ns since the Unix epoch.
    """

    def __init__(self, time: int = 1_700_000_000 * NS) -> None:
        self.time: int = time

    def now(self) -> int:
        """Return ns since the Unix epoch."""
        return self.time

    async def sleep_until(self, time: int) -> None:
        """Make it `time` at once, after every other task had its turn."""
        await asyncio.sleep(0)
        self.time = max(self.time, time)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast and in what pieces a device without a radio delivers.

    Attributes:
        speed: Seconds of signal a second; infinity for as fast as it is taken.
        chunk_seconds: Seconds of signal a chunk; None for the device's own habit.
    """

    speed: float = 1.0
    chunk_seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"a speed is a positive number or infinity, not {self.speed}")
        if self.chunk_seconds is not None and not 0 < self.chunk_seconds < math.inf:
            raise ValueError(
                f"a chunk lasts a positive number of seconds, not {self.chunk_seconds}"
            )


REAL_TIME = Pace()


class Pacer:
    """Holds each chunk back until a real sensor would have delivered it.

    Args:
        clock: The host's.
        speed: Seconds of signal a second; infinity never waits.
        head_start: Seconds of signal at the beginning that are not waited for.
    """

    def __init__(self, clock: HostClock, speed: float, *, head_start: float = 0.0) -> None:
        self._clock = clock
        self._speed = speed
        self._head_start = int(head_start * NS)
        self._wall = 0
        self._zero: int | None = None
        self._last = 0

    async def until(self, first: int, last: int) -> None:
        """Return when a chunk from `first` to `last` is due.

        Args:
            first: Recorded time of the chunk's first sample, ns.
            last: Recorded time of its last sample, ns.
        """
        # Always: a source that never waits would otherwise starve every other task.
        await asyncio.sleep(0)
        if math.isinf(self._speed):
            return
        if self._zero is None:
            self._wall = self._clock.now()
            self._zero = first + self._head_start
        elif abs(first - self._last) > LONGEST_WAIT:
            self._zero += first - self._last
        self._last = last
        await self._clock.sleep_until(self._wall + round((last - self._zero) / self._speed))
