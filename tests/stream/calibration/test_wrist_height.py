"""The height of the sensor above the heart: what is added, and when nothing is."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from innpar.devices import NS, Chunk, Event
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace, VirtualClock
from innpar.stream.app.settings import load
from innpar.stream.calibration.tracker import HYDROSTATIC
from innpar.stream.calibration.types import CuffReading, PlannedCuff
from innpar.stream.errors import ConfigError
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.wearer import enrol
from innpar.stream.results import Beat, Item, Waveform
from support.harness import Keep, estimates, shipped, stream_all

START = 1_700_000_000 * NS


class Moving:
    """A wearer with the given events, each at its second of signal."""

    def __init__(self, wearer: Simulated, told: Sequence[tuple[float, Event]]) -> None:
        self._wearer, self._told = wearer, told
        self.id, self.source = wearer.id, wearer.source
        self.polarity, self.site = wearer.polarity, wearer.site

    @asynccontextmanager
    async def open(self, **how: Any) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        async with self._wearer.open(**how) as items:

            async def with_told() -> AsyncIterator[Chunk | Event]:
                left = list(self._told)
                async for item in items:
                    last = item.times[-1] if isinstance(item, Chunk) else START
                    while left and START + left[0][0] * NS <= last:
                        yield left.pop(0)[1]
                    yield item

            yield with_told()


def wearer(seconds: float = 2.0, *told: tuple[float, Event]) -> Moving:
    simulated = Simulated(
        pace=Pace(math.inf, seconds),
        start=START,
        duration=60.0,
        cuff=False,
        motion=False,
        dropouts=False,
    )
    return Moving(simulated, told)


def posture(at: float, height: float) -> tuple[float, Event]:
    time = START + round(at * NS)
    return at, Event("demo", "posture", time, time, {"wrist_height": height})


async def streamed(
    device: Moving, height: float | None, cuffs: Sequence[PlannedCuff] = ()
) -> tuple[list[Item], CuffReading | None]:
    clock, engine, keep = VirtualClock(START), Engine(shipped()), Keep()
    one = enrol(device, engine, clock, cuffs=cuffs, wrist_height=height)
    await run([one], engine, keep, clock)
    return keep.items, one.in_force


def differences(one: list[Item], other: list[Item], name: str = "map_") -> np.ndarray:
    ours = {b.peak: getattr(b, name) for b in estimates(one) if b.valid}
    theirs = {b.peak: getattr(b, name) for b in estimates(other) if b.valid}
    common = sorted(ours.keys() & theirs.keys())
    assert len(common) > 30
    return np.array([ours[peak] - theirs[peak] for peak in common])


@pytest.mark.parametrize("height", [20.0, -30.0])
@pytest.mark.parametrize("name", ["sbp", "dbp", "map_"])
async def test_without_a_reading_the_height_is_added(height: float, name: str) -> None:
    plain, _ = await streamed(wearer(), None)
    raised, _ = await streamed(wearer(), height)
    # A sensor above the heart sees too little.
    np.testing.assert_allclose(differences(raised, plain, name), HYDROSTATIC * height, atol=1e-3)
    (event,) = [i for i in raised if isinstance(i, Event) and i.kind == "posture"]
    assert event.detail == {"wrist_height": height}


async def test_the_waveform_and_the_interval_go_with_it() -> None:
    plain, _ = await streamed(wearer(), None)
    raised, _ = await streamed(wearer(), 20.0)

    def wave(items: list[Item]) -> np.ndarray:
        return np.concatenate(
            [w.samples for w in items if isinstance(w, Waveform) and w.kind == "abp"]
        )

    np.testing.assert_allclose(wave(raised) - wave(plain), HYDROSTATIC * 20, atol=1e-3)
    for one, two in zip(estimates(raised), estimates(plain), strict=True):
        if one.interval is not None and two.interval is not None:
            assert one.interval.map_[1] - two.interval.map_[1] == pytest.approx(15.4, abs=1e-3)


def after(items: list[Item], seconds: float) -> list[Beat]:
    return [b for b in estimates(items) if b.peak > START + seconds * NS and b.valid]


async def test_after_a_reading_in_the_same_posture_nothing_is_added() -> None:
    cuffs = [PlannedCuff(128, 79, None, 15.0)]
    plain, _ = await streamed(wearer(), None, cuffs)
    raised, kept = await streamed(wearer(), 20.0, cuffs)
    assert kept is not None
    assert kept.remembered is not None
    assert kept.remembered.height == 20.0
    np.testing.assert_array_equal(
        [b.map_ for b in after(raised, 30)], [b.map_ for b in after(plain, 30)]
    )


@pytest.mark.slow
async def test_a_change_since_the_reading_counts_whatever_the_chunks() -> None:
    cuffs = [PlannedCuff(128, 79, None, 15.0)]
    plain, _ = await streamed(wearer(), None, cuffs)
    lowered = [
        await streamed(wearer(seconds, posture(35.0, -10.0)), 20.0, cuffs) for seconds in (0.3, 7.0)
    ]
    ours, theirs = after(lowered[0][0], 42), after(plain, 42)
    change = [a.map_ - b.map_ for a, b in zip(ours, theirs, strict=True) if a.map_ and b.map_]
    np.testing.assert_allclose(change, HYDROSTATIC * -30, atol=1e-3)
    one, other = (
        [(b.peak, b.sbp, b.dbp, b.map_) for b in estimates(items)] for items, _ in lowered
    )
    assert one == other


async def test_a_reading_remembered_from_another_posture_counts_the_difference() -> None:
    _, kept = await streamed(wearer(), 20.0, [PlannedCuff(128, 79, None, 15.0)])
    assert kept is not None
    remembered = (0.0, kept.event("demo", START))
    same, _ = await streamed(wearer(2.0, remembered), 20.0)
    lower, _ = await streamed(wearer(2.0, remembered), None)
    np.testing.assert_allclose(differences(lower, same), HYDROSTATIC * -20, atol=1e-3)


def test_without_a_height_nothing_is_said() -> None:
    items, _, _ = stream_all([wearer()])
    assert [i for i in items if isinstance(i, Event) and i.kind == "posture"] == []


@pytest.mark.parametrize("text", ["high", "nan", "151", "inf"])
def test_heights_that_are_none(text: str) -> None:
    assert load({"wrist_height": "-12.5"}, None, {}).wrist_height == -12.5
    with pytest.raises(ConfigError, match="--wrist-height"):
        load({"wrist_height": text}, None, {})
