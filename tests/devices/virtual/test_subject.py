"""Who wears a virtual sensor: a recording, over and over, and a cuff on the same arm."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import numpy as np
import pytest

from innpar.devices.base import NS, Chunk, Event
from innpar.devices.registry import create
from innpar.devices.sensors.cuff import CuffDevice
from innpar.devices.virtual.cuff import VirtualCuffDevice
from innpar.devices.virtual.device import virtual_device
from innpar.devices.virtual.subject import BASE, SWING, Wearer, recorded, simulated
from innpar.devices.virtual.world.light import FromChunks
from support.scaled import ScaledClock

pytest.importorskip("bumble")


def table(path: Path, wave: np.ndarray) -> str:
    """Write a recording at 50 Hz, times in seconds, with a hole of an hour in its middle."""
    times = np.arange(len(wave)) / 50 + np.where(np.arange(len(wave)) < len(wave) // 2, 0, 3600)
    path.write_text(
        "time,ppg\n" + "".join(f"{t:.3f},{v:g}\n" for t, v in zip(times, wave, strict=True))
    )
    return str(path)


def light(wearer: Wearer, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the times and the light of the first seconds that a wearer shows."""
    chunks = [c for c in itertools.islice(wearer(), 400) if isinstance(c, Chunk)]
    times = np.concatenate([c.times for c in chunks if c.signal == "ppg"])
    data = np.concatenate([c.data[:, 0] for c in chunks if c.signal == "ppg"])
    kept = times < times[0] + seconds * NS
    return times[kept], data[kept]


@pytest.mark.parametrize("polarity", [1, -1])
def test_a_recording_is_shown_as_counts_over_and_over(tmp_path: Path, polarity: int) -> None:
    wave = np.sin(np.arange(1000) / 8)
    file = table(tmp_path / "walk.csv", wave)
    times, counts = light(recorded(f"{file}?polarity={polarity}"), 100)
    steps = np.diff(times) / NS
    assert steps.min() > 0
    assert np.flatnonzero(steps > 0.5).tolist() == list(range(499, len(steps), 500))
    assert steps.max() == pytest.approx(1)  # neither the hour nor the jump back
    assert (counts[:1000] == counts[1000:2000]).all()
    assert np.corrcoef(counts[:1000], wave)[0, 1] == pytest.approx(-polarity)
    assert abs(counts - BASE).max() < SWING


def test_counts_stay_as_they_are(tmp_path: Path) -> None:
    wave = np.rint(300_000 + 2_000 * np.sin(np.arange(1000) / 8))
    file = table(tmp_path / "counts.csv", wave)
    _, counts = light(recorded(f"{file}?polarity=-1"), 10)
    assert (counts == wave[:500]).all()


async def test_the_real_driver_on_a_recording(tmp_path: Path) -> None:
    wave = np.sin(np.arange(2000) / 8)
    file = table(tmp_path / "walk.csv", wave)
    device = virtual_device(create("polar-verity?rate=55"), wearer=recorded(f"{file}?polarity=1"))
    clock = ScaledClock(15)
    times: list[np.ndarray] = []
    seen: list[np.ndarray] = []
    async with asyncio.timeout(60), device.open(clock=clock) as items:
        async for item in items:
            if isinstance(item, Chunk):
                times.append(item.times)
                seen.append(item.data[:, 0])
            if sum(map(len, seen)) > 500:
                break
    counts, at = np.concatenate(seen), np.concatenate(times)
    expected = FromChunks(iter(recorded(f"{file}?polarity=1")()))(at[:500])[:, 0]
    lags = [np.corrcoef(counts[lag : 400 + lag], expected[:400])[0, 1] for lag in range(60)]
    assert max(lags) > 0.98  # nobody knows when the sensor first looked


async def test_a_cuff_reads_the_wearers_pressure() -> None:
    clock = ScaledClock(15)
    sensor = virtual_device(create("polar-verity:8A3F1B2C"))
    asked = create("cuff:4711?for=polar-verity&user=2")
    assert isinstance(asked, CuffDevice)
    cuff = VirtualCuffDevice(asked, [virtual_device(create("muse")), sensor])
    assert (cuff.id, cuff.source) == (asked.id, "simulated")
    pressure: list[np.ndarray] = []
    readings: list[Event] = []

    async def measure() -> None:
        async with cuff.open(clock=clock) as items:
            async for item in items:
                if isinstance(item, Event) and item.kind == "cuff":
                    readings.append(item)
                    return

    async with asyncio.timeout(60), sensor.open(clock=clock) as items:
        measuring = asyncio.create_task(measure())
        async for item in items:
            if isinstance(item, Chunk) and item.signal == "abp":
                pressure.append(item.data[:, 0])
            if measuring.done():
                break
        await measuring
    (reading,) = readings
    assert reading.detail["user"] == 2
    recent = np.concatenate(pressure)[-10 * 125 :]
    assert abs(reading.detail["sbp"] - recent.max()) < 20
    assert abs(reading.detail["dbp"] - recent.min()) < 20


async def test_a_cuff_on_somebody_whose_pressure_nobody_knows() -> None:
    asked = create("cuff")
    assert isinstance(asked, CuffDevice)
    device = VirtualCuffDevice(asked, [virtual_device(create("muse"), wearer=simulated)])
    async with asyncio.timeout(60), device.open(clock=ScaledClock(20)) as items:
        async for item in items:
            if isinstance(item, Event) and item.kind == "notice":
                assert "not plausible" in item.detail["text"]
                break
