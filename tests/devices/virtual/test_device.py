"""Virtual sensors as a product: the real driver on a wearer who is not there, and eight at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from innpar.devices.base import NS, Chunk, Event, Refused
from innpar.devices.registry import create
from innpar.devices.virtual.device import virtual_device
from innpar.devices.virtual.sensors.bluetooth import RadioKind
from innpar.devices.virtual.world.light import FromChunks
from support.scaled import ScaledClock

pytest.importorskip("bumble")
pytest.importorskip("dbus_fast")


@pytest.mark.parametrize("air", ["bumble", "bluez"])
async def test_the_real_driver_on_the_simulated_wearer(air: RadioKind) -> None:
    clock = ScaledClock(15)
    device = virtual_device(create("polar-verity:DEADBEEF?rate=135"), radio=air)
    assert device.id == "polar-verity-deadbeef"
    assert (device.source, device.polarity, device.site) == ("simulated", -1, "wrist")
    chunks: dict[str, list[Chunk]] = {"ppg": [], "abp": []}
    async with asyncio.timeout(30), device.open(clock=clock) as items:
        async for item in items:
            if isinstance(item, Chunk):
                chunks[item.signal].append(item)
            if sum(len(c) for c in chunks["ppg"]) > 20 * 135:
                break
    assert {c.device for found in chunks.values() for c in found} == {device.id}
    light = np.concatenate([c.data[:, 0] for c in chunks["ppg"]])
    pressure = np.concatenate([c.data[:, 0] for c in chunks["abp"]])
    assert 50 < pressure.min() < pressure.max() < 220
    lit = np.concatenate([c.times for c in chunks["ppg"]])
    pressed = np.concatenate([c.times for c in chunks["abp"]])
    assert abs(lit[-1] - pressed[-1]) < 2 * NS
    # Systole is a minimum of the light, soon after a maximum of the pressure.
    at = np.arange(max(lit[0], pressed[0]) + NS, min(lit[-1], pressed[-1]) - NS, NS // 100)
    seen = -np.diff(np.interp(at, lit, light))
    felt = np.diff(np.interp(at, pressed, pressure))
    lags = range(-40, 80)
    together = [np.corrcoef(seen[200:-200], np.roll(felt, lag)[200:-200])[0, 1] for lag in lags]
    assert max(together) > 0.4
    assert 0 <= lags[int(np.argmax(together))] < 60


def test_only_polar_sensors_are_made() -> None:
    with pytest.raises(Refused, match="there is no virtual sensor for demo"):
        virtual_device(create("demo"))


def ramp(pieces: list[int]) -> Iterator[Chunk | Event]:
    """Yield chunks at 50 Hz whose value is 1000 times the seconds."""
    k = 0
    for n in pieces:
        at = np.arange(k, k + n)
        data = np.stack([at * 20.0, at * 20.0 + 1], axis=1)
        data[n // 2] = np.nan
        yield Chunk("r", "ppg", ("green", "ambient"), 50, at * (NS // 50) + 7, data)
        k += n


def test_light_from_chunks_is_interpolated_and_then_held() -> None:
    light = FromChunks(ramp([10, 20, 30]))
    times = np.arange(0, NS, NS // 100) + 10**18
    counts = np.concatenate([light(part) for part in np.array_split(times, 7)])
    assert counts[:, 0].tolist() == list(range(0, 1000, 10))
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, 3] == counts[:, 0] + 1).all()
    assert light(times[-1:] + 5 * NS).tolist() == [[1180, 1180, 1180, 1181]]
    with pytest.raises(ValueError, match="no PPG"):
        FromChunks(iter([]))(times)
