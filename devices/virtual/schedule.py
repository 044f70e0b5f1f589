"""What befalls a virtual sensor at its appointed time: silence, a lost link, an empty battery."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from innpar.devices.base import NS, HostClock
from innpar.devices.virtual.radio.peripheral import Peripheral
from innpar.devices.virtual.sensors.emotibit import VirtualEmotiBit
from innpar.devices.virtual.sensors.polar import VirtualPolar
from innpar.devices.virtual.world.faults import Faults

FADES = 10
"""Seconds before its end in which a battery is seen to go down."""


@asynccontextmanager
async def fated(
    sensor: Peripheral | VirtualEmotiBit, faults: Faults, clock: HostClock
) -> AsyncIterator[None]:
    """Let happen what `faults` appoints, counted from entering on `clock`."""
    began = clock.now()
    tasks = [
        asyncio.ensure_future(work)
        for work in (
            _stalls(faults, clock, began),
            _losses(sensor, faults, clock, began),
            _deaths(sensor, faults, clock, began),
        )
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until(clock: HostClock, began: int, seconds: float) -> None:
    if math.isinf(seconds):
        await asyncio.Event().wait()
    await clock.sleep_until(began + round(seconds * NS))


async def _stalls(faults: Faults, clock: HostClock, began: int) -> None:
    if faults.stalls is not None:
        at, length = faults.stalls
        await _until(clock, began, at)
        faults.stall = True
        await _until(clock, began, at + length)
        faults.stall = False


async def _losses(
    sensor: Peripheral | VirtualEmotiBit, faults: Faults, clock: HostClock, began: int
) -> None:
    if faults.losses is not None:
        at, length = faults.losses
        await _until(clock, began, at)
        _reachable(sensor, False)
        await _until(clock, began, at + length)
        _reachable(sensor, True)


async def _deaths(
    sensor: Peripheral | VirtualEmotiBit, faults: Faults, clock: HostClock, began: int
) -> None:
    if faults.deaths is not None:
        at, length = faults.deaths
        for left in range(min(FADES, int(at)), 0, -1):
            await _until(clock, began, at - left)
            _battery(sensor, left)
        await _until(clock, began, at)
        _powered(sensor, False)
        await _until(clock, began, at + length)
        _powered(sensor, True)


def _reachable(sensor: Peripheral | VirtualEmotiBit, on: bool) -> None:
    if isinstance(sensor, VirtualEmotiBit):
        sensor.powered = on  # its clock and numbers go on
        sensor.hang_up()
    elif sensor.air is not None:
        sensor.air.advertise(on)
        if not on:
            sensor.air.hang_up()


def _powered(sensor: Peripheral | VirtualEmotiBit, on: bool) -> None:
    if isinstance(sensor, VirtualEmotiBit | VirtualPolar):
        sensor.power(on)
    else:
        _reachable(sensor, on)


def _battery(sensor: Peripheral | VirtualEmotiBit, percent: int) -> None:
    if isinstance(sensor, VirtualPolar):
        sensor.discharge(percent)
    elif hasattr(sensor, "battery"):
        sensor.battery = percent
