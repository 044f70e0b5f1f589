"""`innpar.stream.run`: devices into sinks of one's own."""

from __future__ import annotations

import asyncio

import pytest

from innpar.devices import Device, NotFound
from innpar.stream import Beat, FanOut, Item, Sink, Waveform, run
from support.harness import Keep, estimates, same, shipped, stream_all
from support.sessions import demo


class Count(Sink):
    """As short as a sink can be."""

    beats = 0

    async def send(self, item: Item) -> None:
        self.beats += isinstance(item, Beat)


async def test_every_sink_gets_every_item() -> None:
    still = {"start": 0, "cuff": False}
    devices: list[str | Device] = [demo(30, id="a", **still), demo(30, id="b", seed=2, **still)]
    keep, count = Keep(), Count()
    await run(devices, [keep, count], cuffs=["a=122/74@5", "b=130/80"], model=shipped())
    assert count.beats == len(estimates(keep.items)) > 40
    assert {item.device for item in keep.items if isinstance(item, Waveform)} == {"a", "b"}
    last = {beat.device: beat.calibration for beat in estimates(keep.items)}
    assert (last["b"].sbp, last["b"].dbp) == (130, 80)


async def test_beats_are_those_of_the_pipeline() -> None:
    keep = Keep()
    await run(demo(60, start=0), keep, duration=25, model=shipped())
    items, _, _ = await asyncio.to_thread(stream_all, [demo(60, start=0)], duration=25)
    assert len(estimates(items)) > 15
    assert same(estimates(keep.items), estimates(items))


async def test_a_name_and_a_reading() -> None:
    count = Count()
    await run("demo?duration=8", FanOut([count]), cuffs="122/74", model=shipped())
    assert count.beats > 2


async def test_two_of_one_name() -> None:
    with pytest.raises(ValueError, match="one name"):
        await run(["demo", "demo"], Count())


TWO: list[str | Device] = ["demo", "demo?id=b"]


@pytest.mark.parametrize(("devices", "cuff"), [(TWO, "128/79"), ("demo", "b=128/79")])
async def test_whose_reading(devices: str | list[str | Device], cuff: str) -> None:
    with pytest.raises(ValueError, match="reading"):
        await run(devices, Count(), cuffs=cuff)


async def test_no_such_device() -> None:
    with pytest.raises(NotFound, match="no device is called 'demmo'"):
        await run("demmo", Count())
