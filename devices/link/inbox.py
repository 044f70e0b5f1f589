"""Bounded queue of what a link has received, in order, with drops counted."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from innpar.devices.base import HostClock, Lost

QUEUE = 256
"""Most arrivals kept for a busy reader: minutes of data from any wristband."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Notification or datagram: its channel, time of receipt (ns since the epoch) and bytes."""

    channel: str
    time: int
    data: bytes


async def wait(news: asyncio.Event, deadline: int, clock: HostClock) -> None:
    """Wait until `news` is set or `clock` reaches `deadline` (ns), whichever is first."""
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
    """Queue of a link's arrivals.

    Args:
        clock: The host's.
        lost: Message of the error raised once the link is down and the queue empty.

    Attributes:
        dropped: Arrivals discarded, the oldest first, because the reader was too slow.
    """

    def __init__(self, clock: HostClock, lost: str) -> None:
        self._clock = clock
        self._lost = lost
        self._waiting: deque[Arrival] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._down = False
        self.dropped: int = 0

    @property
    def up(self) -> bool:
        """Whether the link is up."""
        return not self._down

    def post(self, arrival: Arrival) -> None:
        """Add an arrival; discard the oldest one if the queue is full."""
        if len(self._waiting) >= QUEUE:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(arrival)
        self._wake()

    def close(self) -> None:
        """Mark the link as down; what is queued can still be read."""
        self._down = True
        self._wake()

    async def next(self, deadline: int) -> Arrival | None:
        """Return the next arrival, or None once the host's clock reaches `deadline` (ns).

        Raises:
            Lost: The link is down and the queue empty.
        """
        while not self._waiting:
            if self._down:
                raise Lost(self._lost)
            if self._clock.now() >= deadline:
                return None
            await self._wait(deadline)
        return self._waiting.popleft()

    def _wake(self, _: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, deadline: int) -> None:
        """Wait for an arrival, the end of the link or `deadline`.

        An arrival resumes its reader in the next pass of the event loop: with many sensors each
        further pass would wait for the work of all others.
        """
        self._waiter = asyncio.get_running_loop().create_future()
        alarm = asyncio.ensure_future(self._clock.sleep_until(deadline))
        alarm.add_done_callback(self._wake)
        try:
            await self._waiter
        except BaseException:
            alarm.cancel()
            await asyncio.gather(alarm, return_exceptions=True)
            raise
        alarm.remove_done_callback(self._wake)  # else it would wake the next wait
        alarm.cancel()
