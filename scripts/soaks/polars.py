"""Eight virtual Polars at 176 Hz at once, without a sample lost: polars [SECONDS] [SPEED]

120 s of signal at 10 times real time by default; every sample carries its place on the sensor's
grid. The exit status is 1 where one is missing.
"""

from __future__ import annotations

import asyncio
import time

import numpy as np

from innpar.devices.base import NS, Event
from innpar.devices.sensors.polar.driver import Polar
from innpar.devices.virtual.radio.bumble_radio import bumble
from innpar.devices.virtual.sensors.polar import VirtualPolar
from innpar.devices.virtual.world.light import Ints, Light
from support.scaled import ScaledClock

SHORT = ("60", "10")
DEVICES = 8
RATE = 176


def counting(clock: ScaledClock) -> tuple[Light, list[int]]:
    """Return light that encodes each sample's place on the sensor's grid, and the grid's zero."""
    zero = [0]

    def light(times: Ints) -> Ints:
        place = np.rint((times - zero[0]) * (RATE / NS)).astype(np.int64)
        return np.stack([place % 2**20, place // 2**20, place * 0, place * 0], axis=1)

    return light, zero


async def listen(device: Polar, clock: ScaledClock, seconds: float) -> tuple[int, int, list[Event]]:
    """Return samples received, samples missing between them, and every untoward event."""
    samples, missing, last = 0, 0, -1
    untoward: list[Event] = []
    async with device.open(clock=clock) as items:
        async for item in items:
            if isinstance(item, Event):
                if item.kind in ("gap", "disconnected", "notice"):
                    untoward.append(item)
                continue
            places = item.data[:, 0] + item.data[:, 1] * 2**20
            whole = np.concatenate([[places[0] - 1 if last < 0 else last], places])
            missing += int((np.diff(whole) - 1).sum())
            last, samples = int(places[-1]), samples + len(item)
            if samples >= seconds * RATE:
                break
    return samples, missing, untoward


async def soak(seconds: float, speed: float) -> bool:
    """Run and print; True if nothing was lost."""
    clock = ScaledClock(speed)
    numbers = [f"0000000{i}" for i in range(DEVICES)]
    sensors = []
    for number in numbers:
        light, zero = counting(clock)
        sensors.append(VirtualPolar(clock, light, number=number))
        zero[0] = sensors[-1].on_at
    start, used = time.monotonic(), time.process_time()
    async with bumble(list(sensors)) as radio:
        devices = [Polar("polar", number, rate=RATE, radio=radio) for number in numbers]
        found = await asyncio.gather(*(listen(d, clock, seconds) for d in devices))
    samples, missing = sum(f[0] for f in found), sum(f[1] for f in found)
    untoward = [event for f in found for event in f[2]]
    print(
        f"{DEVICES} devices, {samples} samples, {missing} missing, {len(untoward)} untoward events "
        f"in {time.monotonic() - start:.0f} s ({time.process_time() - used:.0f} s of processor)"
    )
    for event in untoward[:10]:
        print(event)
    return missing == 0 and not untoward


def main(arguments: list[str]) -> int:
    """Run the eight; return 1 if a sample was lost."""
    seconds = float(arguments[0]) if arguments else 120.0
    speed = float(arguments[1]) if len(arguments) > 1 else 10.0
    return 0 if asyncio.run(soak(seconds, speed)) else 1
