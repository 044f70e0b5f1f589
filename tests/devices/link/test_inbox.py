"""The queue of a link: an arrival wakes its reader at once, and nothing else does."""

from __future__ import annotations

import asyncio

import pytest

from innpar.devices.base import NS, Lost
from innpar.devices.link.inbox import QUEUE, Arrival, Inbox


class CountingClock:
    """A clock that stands still and counts its sleepers."""

    def __init__(self) -> None:
        self.time = 0
        self.slept = 0

    def now(self) -> int:
        return self.time

    async def sleep_until(self, time: int) -> None:
        self.slept += 1
        await asyncio.get_running_loop().create_future()


def arrival(number: int) -> Arrival:
    return Arrival("data", number, b"")


async def test_a_reader_is_woken_once_an_arrival_and_leaves_no_task() -> None:
    clock = CountingClock()
    inbox = Inbox(clock, "gone")
    for number in range(5):
        reader = asyncio.create_task(inbox.next(NS))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not reader.done()
        assert clock.slept == number + 1
        inbox.post(arrival(number))
        assert (await reader) == arrival(number)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelling_and_the_end_of_the_link_leave_no_task() -> None:
    inbox = Inbox(CountingClock(), "gone")
    reader = asyncio.create_task(inbox.next(NS))
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.wait({reader})
    assert asyncio.all_tasks() == {asyncio.current_task()}
    reader = asyncio.create_task(inbox.next(NS))
    await asyncio.sleep(0)
    inbox.post(arrival(1))
    inbox.close()
    assert await reader == arrival(1)
    with pytest.raises(Lost, match="gone"):
        await inbox.next(NS)


async def test_the_deadline_ends_a_wait_and_the_oldest_are_dropped() -> None:
    class Clock(CountingClock):
        async def sleep_until(self, time: int) -> None:
            await asyncio.sleep(0)
            self.time = time

    inbox = Inbox(Clock(), "gone")
    assert await inbox.next(NS) is None
    for number in range(QUEUE + 3):
        inbox.post(arrival(number))
    assert inbox.dropped == 3
    assert await inbox.next(NS) == arrival(3)
