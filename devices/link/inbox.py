"""What a link received, in order, until somebody takes it: one bounded queue, drops counted."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from innpar.devices.base import HostClock, Lost

QUEUE = 256
"""Arrivals kept for a reader that is busy: minutes of any wristband."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One notification or datagram: on which channel, when it was received, and what it holds."""

    channel: str
    time: int
    data: bytes


async def wait(news: asyncio.Event, deadline: int, clock: HostClock) -> None:
    """Return when `news` is set or it is `deadline` on `clock`, whichever is first."""
    waits = [
        asyncio.ensure_future(news.wait()),
        asyncio.ensure_future(clock.sleep_until(deadline)),
    ]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for unfinished in waits:
            unfinished.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


class Inbox:
    """A link's arrivals.

    Args:
        clock: The host's.
        gone: What is said once the link is down and nothing is left.

    Attributes:
        dropped: Arrivals thrown away, the oldest first, because the reader was too slow.
    """

    def __init__(self, clock: HostClock, gone: str) -> None:
        self._clock = clock
        self._gone = gone
        self._waiting: deque[Arrival] = deque()
        self._news = asyncio.Event()
        self._down = False
        self.dropped: int = 0

    @property
    def up(self) -> bool:
        """Whether the link still stands."""
        return not self._down

    def post(self, arrival: Arrival) -> None:
        """Add what has just been received."""
        if len(self._waiting) >= QUEUE:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(arrival)
        self._news.set()

    def close(self) -> None:
        """Say that nothing more will come."""
        self._down = True
        self._news.set()

    async def next(self, deadline: int) -> Arrival | None:
        """Return the next arrival, or None once it is `deadline` on the host's clock.

        Raises:
            Lost: The link is gone and nothing is left to deliver.
        """
        while not self._waiting:
            if self._down:
                raise Lost(self._gone)
            self._news.clear()
            if self._clock.now() >= deadline:
                return None
            await wait(self._news, deadline, self._clock)
        return self._waiting.popleft()
