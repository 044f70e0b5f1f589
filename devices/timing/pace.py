"""Host clocks, and pacing of recordings and simulations."""

from __future__ import annotations

import asyncio
import math
import time as _time
from dataclasses import dataclass

from innpar.devices.base import NS, HostClock

LONGEST_WAIT = 5 * NS
"""Longest recorded hole, ns, that is waited out; longer ones are skipped."""


class SystemClock:
    """The computer's wall clock, read once and continued by its monotonic clock.

    Steps of the wall clock (time synchronisation, a user) never make this time jump.
    """

    def __init__(self) -> None:
        self._offset = _time.time_ns() - _time.monotonic_ns()

    def now(self) -> int:
        """Return ns since the Unix epoch."""
        return self._offset + _time.monotonic_ns()

    async def sleep_until(self, time: int) -> None:
        """Wait until `time`, ns since the Unix epoch."""
        # A loop, because a sleep may end a little early.
        while (left := time - self.now()) > 0:  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(left / NS)


class VirtualClock:
    """Clock whose time passes only while a task waits for it.

    Attributes:
        time: ns since the Unix epoch.
    """

    def __init__(self, time: int = 1_700_000_000 * NS) -> None:
        self.time: int = time

    def now(self) -> int:
        """Return ns since the Unix epoch."""
        return self.time

    async def sleep_until(self, time: int) -> None:
        """Advance to `time` at once, after yielding to every other task."""
        await asyncio.sleep(0)
        self.time = max(self.time, time)


@dataclass(frozen=True, slots=True)
class Pace:
    """Speed and chunk length of a device without hardware.

    Attributes:
        speed: Seconds of signal per second; infinity for as fast as it is consumed.
        chunk_seconds: Seconds of signal per chunk; None for the device's default.

    Raises:
        ValueError: Not positive, or an infinite chunk.
    """

    speed: float = 1.0
    chunk_seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"speed must be positive or infinity, not {self.speed}")
        if self.chunk_seconds is not None and not 0 < self.chunk_seconds < math.inf:
            raise ValueError(f"chunk_seconds must be positive and finite, not {self.chunk_seconds}")


REAL_TIME = Pace()


class Pacer:
    """Delay of each chunk until a real sensor would have delivered it.

    Args:
        clock: The host's.
        speed: Seconds of signal per second; infinity never waits.
        head_start: Seconds of signal at the beginning delivered without waiting.
    """

    def __init__(self, clock: HostClock, speed: float, *, head_start: float = 0.0) -> None:
        self._clock = clock
        self._speed = speed
        self._head_start = int(head_start * NS)
        self._wall = 0
        self._zero: int | None = None
        self._last = 0

    async def until(self, first: int, last: int) -> int:
        """Wait until a chunk is due, and return that time, ns on the host's clock; 0 for at once.

        Args:
            first: Recorded time of the chunk's first sample, ns.
            last: Recorded time of its last sample, ns.
        """
        # Always yield: a source that never waits would starve every other task.
        await asyncio.sleep(0)
        if math.isinf(self._speed):
            return 0
        if self._zero is None:
            self._wall = self._clock.now()
            self._zero = first + self._head_start
        elif abs(first - self._last) > LONGEST_WAIT:
            self._zero += first - self._last
        self._last = last
        due = self._wall + round((last - self._zero) / self._speed)
        await self._clock.sleep_until(due)
        return max(due, self._wall)
