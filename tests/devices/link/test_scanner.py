"""One radio shared by searches and connections, over both virtual radios."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bleak.backends.scanner import BaseBleakScanner

from innpar.devices.base import NotFound
from innpar.devices.link.ble import Radio, Sighting, connect, find, taken
from innpar.devices.sensors.polar.driver import Polar
from innpar.devices.virtual.radio.bumble_radio import bumble
from innpar.devices.virtual.sensors.polar import VirtualPolar
from support.radios import Serve
from support.scaled import ScaledClock

pytest.importorskip("bumble")
pytest.importorskip("dbus_fast")

LONG = 600.0
"""Scanning time, s, that no test waits for."""


def anything(_: Sighting) -> bool:
    return True


def nothing(_: Sighting) -> bool:
    return False


async def test_a_search_for_an_absent_sensor_delays_no_other(air: Serve) -> None:
    clock = ScaledClock(1)
    async with asyncio.timeout(60), air([VirtualPolar(clock)]) as radio:
        absent = asyncio.create_task(find(nothing, LONG, radio, ""))
        await asyncio.sleep(0.1)
        for _ in range(2):
            async with connect(await find(anything, LONG, radio, ""), radio, clock) as link:
                assert link.up
        assert not absent.done()
        absent.cancel()


async def test_a_dead_sensor_does_not_delay_anothers_reconnection() -> None:
    clock = ScaledClock(20)
    dead, alive = (VirtualPolar(clock, number=n) for n in ("11112222", "33334444"))
    async with asyncio.timeout(60), bumble([dead, alive]) as radio:
        first = Polar("polar-verity", "11112222", radio=radio, wait=LONG)
        second = Polar("polar-verity", "33334444", radio=radio, wait=LONG)
        async with first.open(clock=clock) as silent, second.open(clock=clock) as items:

            async def wait_for_ever() -> None:
                async for _ in silent:
                    pass

            waiting = asyncio.create_task(wait_for_ever())
            dead.power(False)
            await asyncio.sleep(0.2)  # the search for it has begun
            alive.hang_up()
            kinds: list[str] = []
            async for item in items:
                kinds.append(getattr(item, "kind", "chunk"))
                if kinds[-1] == "connected" and "disconnected" in kinds:
                    break
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)


async def test_two_searches_never_return_the_same_sensor(air: Serve) -> None:
    async with air([VirtualPolar(ScaledClock(1))]) as radio:
        both = [asyncio.create_task(find(anything, LONG, radio, "")) for _ in range(2)]
        done, pending = await asyncio.wait(both, return_when="FIRST_COMPLETED", timeout=60)
        (found,) = (task.result() for task in done)
        assert taken(found.address)
        await asyncio.sleep(0.2)
        assert [task.done() for task in pending] == [False]
        async with connect(found, radio, ScaledClock(1)):
            pass  # released on leaving
        assert (await asyncio.wait_for(pending.pop(), 60)).address == found.address
        async with connect(found, radio, ScaledClock(1)):
            pass
    assert not taken(found.address)


async def test_scanning_time_does_not_run_while_the_radio_is_in_use() -> None:
    async with bumble([VirtualPolar(ScaledClock(1))]) as radio:
        async with radio.shared_scanner.silent():
            looking = asyncio.create_task(find(anything, 0.5, radio, "gone"))
            await asyncio.sleep(1)
            assert not looking.done()
        async with asyncio.timeout(60), connect(await looking, radio, ScaledClock(1)):
            pass
        with pytest.raises(NotFound, match="gone"):
            await asyncio.wait_for(find(nothing, 0.1, radio, "gone"), 60)


class Slow(BaseBleakScanner):
    """A slow scanner that counts how many scans run at once."""

    on: int = 0
    most: int = 0

    def __init__(self, callback: Any, services: Any, mode: str, **_: object) -> None:
        super().__init__(callback, services)

    async def start(self) -> None:
        await asyncio.sleep(0.01)
        Slow.on += 1
        Slow.most = max(Slow.most, Slow.on)

    async def stop(self) -> None:
        await asyncio.sleep(0.01)
        Slow.on -= 1


async def test_there_is_one_scan_and_none_outlives_its_cancellation() -> None:
    radio = Radio(scanner=Slow)
    for rounds in range(30):
        before = asyncio.all_tasks()
        tasks = [asyncio.create_task(find(nothing, LONG, radio, "")) for _ in range(3)]
        for task in tasks:
            for _ in range(rounds // 3):
                await asyncio.sleep(0.002)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert Slow.on == 0
        assert asyncio.all_tasks() <= before
    assert Slow.most == 1
