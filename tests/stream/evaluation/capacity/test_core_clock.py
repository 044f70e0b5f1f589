"""The loop on a core of its own: idle time is skipped, its own work counts."""

from __future__ import annotations

import asyncio
import time

from innpar.devices.base import NS
from innpar.stream.evaluation.capacity.core_clock import EPOCH, CoreClock, CoreLoop


def run(work: object) -> None:
    loop = CoreLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work(loop))  # type: ignore[operator]


def test_idle_time_is_skipped_and_order_kept() -> None:
    async def work(loop: CoreLoop) -> None:
        loop.dedicate(lambda: False)
        clock, order = CoreClock(loop), list[int]()

        async def wake(seconds: int) -> None:
            await clock.sleep_until(EPOCH + seconds * NS)
            assert clock.now() >= EPOCH + seconds * NS
            order.append(seconds)

        began = time.monotonic()
        await asyncio.gather(*(wake(seconds) for seconds in (3000, 10, 7000)))
        assert order == [10, 3000, 7000]
        assert time.monotonic() - began < 600
        assert loop.idle > 6900

    run(work)


def test_work_takes_its_cpu_time() -> None:
    async def work(loop: CoreLoop) -> None:
        loop.dedicate(lambda: False)
        began, cpu = loop.time(), time.process_time()
        while time.process_time() < cpu + 0.05:
            pass
        assert 0.05 <= loop.time() - began - loop.idle < 5

    run(work)


def test_an_answer_from_outside_is_waited_for_and_costs_no_time() -> None:
    async def work(loop: CoreLoop) -> None:
        due = [True]
        loop.dedicate(lambda: due[0])
        began = loop.time()

        def answer() -> None:
            due[0] = False

        loop.run_in_executor(None, time.sleep, 0.1).add_done_callback(lambda _: answer())
        await asyncio.sleep(1000)
        assert not due[0]
        assert loop.time() - began >= 1000

    run(work)
