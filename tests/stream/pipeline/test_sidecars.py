"""A cuff beside a wearer: its readings calibrate its own wearer and no other."""

from __future__ import annotations

import asyncio
import math
from datetime import datetime

import pytest

from innpar.devices.base import Event
from innpar.devices.registry import create
from innpar.devices.sensors.cuff import CuffDevice, Measurement
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace, SystemClock
from innpar.stream.errors import ConfigError
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.sidecars import assign, forward_cuff
from innpar.stream.pipeline.wearer import enrol
from innpar.stream.results import Beat
from support.harness import Keep, shipped


def test_for_whom() -> None:
    polar, demo = create("polar-verity"), create("demo")
    one = create("cuff")
    assert assign([polar, one]) == ([polar], [one])
    late = create("cuff?for=polar-verity")
    assert assign([demo, late, polar])[0] == [demo, polar]
    with pytest.raises(ConfigError, match="for which of"):
        assign([polar, demo, one])
    with pytest.raises(ConfigError, match="add the --device to calibrate"):
        assign([one])
    with pytest.raises(ConfigError, match="there is no device 'polar-oh1'"):
        assign([polar, create("cuff?for=polar-oh1")])


async def test_a_reading_from_the_air_calibrates_its_wearer_only() -> None:
    pytest.importorskip("bumble")
    from innpar.devices.virtual.radio.bumble_radio import bumble
    from innpar.devices.virtual.sensors.cuff import VirtualCuff

    clock, keep = SystemClock(), Keep()
    engine = Engine(shipped())
    wearers = [
        enrol(
            Simulated(
                name, 3, duration=90.0, cuff=False, motion=False, dropouts=False, pace=Pace(30, 0.4)
            ),
            engine,
            clock,
        )
        for name in ("left", "right")
    ]
    sensor = VirtualCuff()

    async def measure() -> None:
        while not any(  # noqa: ASYNC110 - a sink has no event to wait for
            isinstance(i, Event) and (i.device, i.kind) == ("cuff", "connected") for i in keep.items
        ):
            await asyncio.sleep(0.01)
        now = datetime.now()
        sensor.indicate(Measurement(140, 90, math.nan, now))
        sensor.indicate(Measurement(180, 90, math.nan, now, status=1))

    async with bumble([sensor]) as radio, asyncio.timeout(60):
        cuff = CuffDevice(wearer="left", radio=radio)
        aside = [
            asyncio.create_task(forward_cuff(cuff, wearers, keep, clock)),
            asyncio.create_task(measure()),
        ]
        await run(wearers, engine, keep, clock)
        for task in aside:
            task.cancel()
        await asyncio.gather(*aside, return_exceptions=True)
    last = {
        name: [i for i in keep.items if isinstance(i, Beat) and i.device == name][-1]
        for name in ("left", "right")
    }
    assert (last["left"].calibration.sbp, last["left"].calibration.dbp) == (140, 90)
    assert last["right"].calibration.state == "none"
    told = [i for i in keep.items if isinstance(i, Event) and i.device == "cuff"]
    assert "180/90 not used: the body moved" in str([e.detail.get("text") for e in told])
