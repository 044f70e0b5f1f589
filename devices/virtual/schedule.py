"""The faults of a virtual sensor that have a time: silence, a lost link, an empty battery."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from innpar.devices.base import NS, HostClock
from innpar.devices.virtual.sensors.bluetooth import VirtualSensor
from innpar.devices.virtual.world.faults import Faults

FADING = 10
"""Seconds before its end in which the battery's level goes down, 1 % each."""


@asynccontextmanager
async def scheduled(sensor: VirtualSensor, faults: Faults, clock: HostClock) -> AsyncIterator[None]:
    """Carry out the timed faults, counted from entering on `clock`."""
    start = clock.now()
    tasks = [
        asyncio.ensure_future(work)
        for work in (
            _stalls(faults, clock, start),
            _losses(sensor, faults, clock, start),
            _deaths(sensor, faults, clock, start),
        )
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until(clock: HostClock, start: int, seconds: float) -> None:
    if math.isinf(seconds):
        await asyncio.Event().wait()
    await clock.sleep_until(start + round(seconds * NS))


async def _stalls(faults: Faults, clock: HostClock, start: int) -> None:
    if faults.stalls is not None:
        at, length = faults.stalls
        await _until(clock, start, at)
        faults.stall = True
        await _until(clock, start, at + length)
        faults.stall = False


async def _losses(sensor: VirtualSensor, faults: Faults, clock: HostClock, start: int) -> None:
    if faults.losses is not None:
        at, length = faults.losses
        await _until(clock, start, at)
        sensor.reachable(False)
        await _until(clock, start, at + length)
        sensor.reachable(True)


async def _deaths(sensor: VirtualSensor, faults: Faults, clock: HostClock, start: int) -> None:
    if faults.deaths is not None:
        at, length = faults.deaths
        for left in range(min(FADING, int(at)), 0, -1):
            await _until(clock, start, at - left)
            sensor.discharge(left)
        await _until(clock, start, at)
        sensor.power(False)
        await _until(clock, start, at + length)
        sensor.power(True)
