"""`innpar.live`: connects on entering, yields beats, leaves nothing running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

import innpar
from innpar.devices import Chunk, Event, HostClock, Lost, NotFound, Pace, Refused, Tap, open_device
from innpar.devices.simulated.device import Simulated
from innpar.stream.library.live import LiveBeats
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.wearer import enrol
from support.harness import VirtualClock, estimates, same, shipped, stream_all
from support.items import beat as item
from support.listening import Listener
from support.sessions import MAX, demo


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    yield
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if "innpar/" in repr(task)]


async def test_beats_are_those_of_the_pipeline() -> None:
    device = demo(40, start=10**18)
    async with innpar.live(device, model=shipped()) as beats:
        taken = [beat async for beat in beats]
    items, _, _ = await asyncio.to_thread(stream_all, [device])
    assert len(taken) > 25
    assert same(taken, estimates(items))
    assert beats.dropped == 0
    assert beats.device is device


async def test_names_as_the_command_line_takes_them() -> None:
    async with innpar.live("demo:3?id=me", cuff="122/74@1", rate=28, model=shipped()) as beats:
        beat = await anext(beats)
    assert beat.device == "me"
    assert beat.valid


async def test_a_reading_while_it_runs() -> None:
    device = demo(60, start=10**18, cuff=False)
    async with innpar.live(device, model=shipped()) as beats:
        before = await anext(beats)
        beats.calibrate(141, 83)
        after = [beat async for beat in beats]
    assert before.calibration.state == "none"
    assert (after[-1].calibration.sbp, after[-1].calibration.dbp) == (141, 83)


async def test_an_impossible_reading() -> None:
    async with innpar.live(demo(20), model=shipped()) as beats:
        await anext(beats)
        with pytest.raises(ValueError, match="128/79"):
            beats.calibrate(79, 128)


class Fails:
    """A device that fails on entering or after some samples."""

    id = "fails"
    source: Literal["simulated"] = "simulated"
    polarity: Literal[-1] = -1
    site = "wrist"
    by_clock = False

    def __init__(self, after: int) -> None:
        self.after = after

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        if not self.after:
            raise NotFound("nowhere: switch it on")
        yield self._items(clock)

    async def _items(self, clock: HostClock) -> AsyncIterator[Chunk | Event]:
        for one in Simulated(id=self.id, duration=self.after, pace=MAX).items(clock.now()):
            await asyncio.sleep(0)
            yield one
        raise Lost("gone: come back")


async def test_what_is_not_there_is_said_on_entering() -> None:
    with pytest.raises(NotFound, match="switch it on"):
        async with innpar.live(Fails(0), model=shipped()):
            pytest.fail("entered")


async def test_a_failure_comes_after_the_beats_before_it() -> None:
    taken = []

    async def body() -> None:
        async with innpar.live(Fails(30), model=shipped()) as beats:
            async for beat in beats:
                taken.append(beat)

    with pytest.raises(Lost, match="come back"):
        await body()
    assert len(taken) > 15


@pytest.mark.slow
async def test_a_failure_is_not_lost_where_nobody_iterates() -> None:
    with pytest.raises(Lost, match="come back"):
        async with innpar.live(Fails(10), model=shipped()):
            await asyncio.sleep(5)


async def test_an_error_of_the_body_comes_through() -> None:
    with pytest.raises(RuntimeError, match="mine"):
        async with innpar.live(demo(), model=shipped()):
            raise RuntimeError("mine")


async def test_what_goes_by_the_clock_drops_the_oldest_and_counts() -> None:
    beats = LiveBeats(enrol(demo(), Engine(shipped()), VirtualClock()), room=3)
    for seq in range(5):
        await beats.send(item(seq))
    assert beats.dropped == 2
    assert [(await anext(beats)).seq for _ in range(3)] == [2, 3, 4]


async def test_what_can_wait_waits_for_room() -> None:
    beats = LiveBeats(enrol(demo(), Engine(shipped()), VirtualClock()), room=2)
    await beats.send(item(0))
    await asyncio.wait_for(beats.ready(), 1)
    await beats.send(item(1))
    waiting = asyncio.create_task(beats.ready())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await anext(beats)
    await asyncio.wait_for(waiting, 1)


async def test_a_broker_gets_the_same_beats(
    mosquitto: Callable[..., Any], listen: Callable[..., Listener]
) -> None:
    broker = mosquitto()
    heard = listen(broker.port, "bp/estimates")
    async with innpar.live(demo(20), broker=broker.url, model=shipped()) as beats:
        taken = [beat async for beat in beats]
    messages = await asyncio.to_thread(heard.wait, lambda found: len(found) >= len(taken))
    assert [message.json["seq"] for message in messages] == [beat.seq for beat in taken]


async def test_no_such_broker() -> None:
    with pytest.raises(innpar.InnparError, match="not an MQTT URL"):
        async with innpar.live(demo(), broker="http://here", model=shipped()):
            pytest.fail("entered")


async def test_a_cuff_is_no_sensor() -> None:
    with pytest.raises(Refused, match="as `cuff`"):
        async with innpar.live("cuff"):
            pytest.fail("entered")


async def test_a_rate_belongs_to_a_name() -> None:
    with pytest.raises(ValueError, match="leave `rate` out"):
        async with innpar.live(open_device("demo", pace=Pace(2)), rate=55):
            pytest.fail("entered")
