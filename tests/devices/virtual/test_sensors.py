"""The simulated wearer with other sensors than a Polar: the real driver on a virtual radio."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from innpar.devices.base import NS, Chunk, Event, Refused
from innpar.devices.conformance import faults
from innpar.devices.registry import create
from innpar.devices.virtual.device import virtual_device
from innpar.devices.virtual.sensors.bluetooth import RadioKind
from support.scaled import ScaledClock

pytest.importorskip("bumble")
pytest.importorskip("dbus_fast")


BLUETOOTH = [
    ("muse:4C5D", "muse-4c5d", 64.0, 10),
    ("berrymed", "berrymed-891335", 100.0, 6),
    ("o2ring:0077", "o2ring-0077", 125.0, 4),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "identity", "rate", "speed", "air"),
    [
        *((*each, air) for each in BLUETOOTH for air in ("bumble", "bluez")),
        ("emotibit", "emotibit-md-v6-0000042", 25.0, 10, "bumble"),  # which does not use it
    ],
)
async def test_the_real_driver_on_the_simulated_wearer(
    spec: str, identity: str, rate: float, speed: float, air: RadioKind
) -> None:
    clock = ScaledClock(speed)
    device = virtual_device(create(spec), radio=air)
    assert device.source == "simulated"
    chunks: dict[str, list[Chunk]] = {"ppg": [], "abp": []}
    events: list[Event] = []
    async with asyncio.timeout(30), device.open(clock=clock) as items:
        async for item in items:
            if isinstance(item, Event):
                events.append(item)
                continue
            if item.signal in chunks:
                chunks[item.signal].append(item)
            if sum(len(c) for c in chunks["ppg"]) > 20 * rate:
                break
    assert device.id == identity
    assert {c.rate for c in chunks["ppg"]} == {rate}
    assert [e for e in events if e.kind == "gap"] == []
    light = np.concatenate([c.data[:, 0] for c in chunks["ppg"]])
    times = np.concatenate([c.times for c in chunks["ppg"]])
    assert (np.diff(times) > 0).all()
    assert np.ptp(light) > 50
    pressed = np.concatenate([c.times for c in chunks["abp"]])
    assert abs(times[-1] - pressed[-1]) < 2 * NS


def test_a_cuff_is_not_worn() -> None:
    twins = r"polar-verity, .*muse, json-udp, json-ws, berrymed, o2ring and emotibit"
    with pytest.raises(Refused, match=f"there is one for {twins}"):
        virtual_device(create("cuff"))


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["muse", "berrymed", "o2ring"])
async def test_they_conform(spec: str) -> None:
    assert await faults(virtual_device(create(spec)), seconds=3.0) == []
