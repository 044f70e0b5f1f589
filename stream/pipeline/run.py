"""The whole of it: devices in, beats out.

::

    device ─▶ prepare (resample, window, condition, judge) ─▶ engine (the network, shared)
           ─▶ finish (combine, beats, plausibility) ─▶ sink
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

from innpar.devices import (
    Chunk,
    Device,
    DeviceError,
    Event,
    HostClock,
    NoticeCode,
    by_clock,
    notice,
)
from innpar.stream.calibration.types import Question
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.prepare import Prepared
from innpar.stream.pipeline.tape import NO_TAPE, Tape
from innpar.stream.pipeline.wearer import SILENCE, DurationElapsed, Wearer
from innpar.stream.results import DeviceInfo, Item, Presence, State
from innpar.stream.sinks.base import Sink

log: logging.Logger = logging.getLogger(__name__)


async def run(
    wearers: Sequence[Wearer],
    engine: Engine,
    sink: Sink,
    clock: HostClock,
    tape: Tape = NO_TAPE,
) -> None:
    """Stream every wearer until the sources end, the duration is over, or this is cancelled.

    Args:
        wearers: Whom to stream.
        engine: The network they share.
        sink: Where results go.
        clock: The host's.
        tape: Gets what the devices deliver before the pipeline does.

    Raises:
        DeviceError: A device could not be opened, or failed later; then the others first run to
            their own ends.
    """
    failures: list[DeviceError] = []

    async def one(wearer: Wearer) -> None:
        try:
            await stream(wearer, engine, sink, clock, tape)
        except DeviceError as error:
            if not error.after_start:
                raise
            failures.append(error)

    async with engine.running():
        try:
            async with asyncio.TaskGroup() as group:
                streams = [
                    group.create_task(one(wearer), name=wearer.device.id) for wearer in wearers
                ]
                watch = group.create_task(watch_silence(wearers, sink, clock), name="silence")
                group.create_task(_end_with(watch, streams), name="end")
        except* Exception as group_error:
            raise _first(group_error) from None
    if failures:
        raise failures[0]


async def _end_with(watch: asyncio.Task[None], streams: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(streams)
    watch.cancel()


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def stream(
    wearer: Wearer,
    engine: Engine,
    sink: Sink,
    clock: HostClock,
    tape: Tape = NO_TAPE,
) -> None:
    """Stream one wearer."""
    device = wearer.device
    async with device.open(clock=clock, tap=tape.tap(device)) as items:
        wearer.found()
        required = wearer.finisher.require_calibration
        tape.enrol(device, wearer.preparer.birth.session, required)
        await sink.send(State(device.id, "online"))
        if by_clock(device):
            wearer.finisher.summaries.begin(clock.now())
        await send([*wearer.recall(clock.now())], device, sink)
        failure: DeviceError | None = None
        try:
            try:
                await _follow(wearer, items, engine, sink, clock, tape)
            except DeviceError as error:
                failure = error
                failure.after_start = wearer.first is not None
            await deliver(wearer, wearer.preparer.flush(), engine, sink)
            await send(wearer.finisher.flush(), device, sink)
        finally:
            wearer.heard = 0
            for summary in wearer.finisher.summaries.flush(wearer.finisher.birth):
                await sink.send(summary)
            await sink.send(State(device.id, "offline"))
        if failure is not None:
            raise failure


async def _follow(
    wearer: Wearer,
    items: AsyncIterator[Chunk | Event],
    engine: Engine,
    sink: Sink,
    clock: HostClock,
    tape: Tape,
) -> None:
    """Take what the device yields, until it ends or the duration is over."""
    try:
        async with wearer.patient(clock.now()):
            async for item in items:
                if wearer.over(item):
                    return
                if isinstance(item, Chunk) and item.signal == "ppg":
                    wearer.heard = clock.now()
                for part in wearer.cut(item):
                    await send([*tape.take(part)], wearer.device, sink)
                    await advance(wearer, part, engine, sink)
                await wearer.keep()
                if (kept := wearer.finisher.kept) is not None:
                    tape.learnt(wearer.device.id, kept, wearer.last)
    except DurationElapsed:
        now = clock.now()
        text = f"{wearer.duration:g} s are over, with {wearer.seconds:.0f} s of signal in them"
        await sink.send(notice(wearer.device.id, now, NoticeCode.DURATION_OVER, text))


async def advance(wearer: Wearer, item: Chunk | Event, engine: Engine, sink: Sink) -> None:
    """Take one item of a device all the way."""
    if isinstance(item, Chunk) and item.signal == "abp":
        await send(wearer.finisher.truth(item), wearer.device, sink)
    else:
        await deliver(wearer, wearer.preparer.push(item), engine, sink)


async def deliver(
    wearer: Wearer,
    ready: list[Prepared | Event | DeviceInfo],
    engine: Engine,
    sink: Sink,
) -> None:
    """Reconstruct what is ready and publish what follows from it, in order."""
    asked: list[Prepared | Question] = []
    for one in ready:
        if isinstance(one, Prepared) and not one.blank:
            asked += [one, *one.asides]
    answers = iter(await engine.reconstruct(asked) if asked else ())
    for one in ready:
        if not isinstance(one, Prepared):
            await send(wearer.finisher.told(one), wearer.device, sink)
            continue
        if not one.blank:
            answer, asides = next(answers), [next(answers).abp for _ in one.asides]
            await send(wearer.finisher.push(one, answer, asides), wearer.device, sink)
        await send(wearer.finisher.passed(one), wearer.device, sink)


async def send(items: Sequence[Item], device: Device, sink: Sink) -> None:
    """Publish; what can wait waits for room, what goes by the clock must not."""
    for item in items:
        if not by_clock(device):
            await sink.ready()
        await sink.send(item)


async def watch_silence(wearers: Sequence[Wearer], sink: Sink, clock: HostClock) -> None:
    """Say when a device stops sending, connected or not, and when it sends again.

    Summaries go on meanwhile, by the clock; one that is silent at the end of its duration is ended.
    """
    clocked = [wearer for wearer in wearers if by_clock(wearer.device)]
    links: dict[str, Presence] = {}
    while True:
        await asyncio.sleep(1)
        for wearer in clocked:
            summaries, now = wearer.finisher.summaries, clock.now()
            summaries.silent = bool(wearer.heard) and now - wearer.heard > SILENCE
            link = summaries.link
            if wearer.heard and link != links.setdefault(wearer.device.id, "online"):
                links[wearer.device.id] = link
                await sink.send(State(wearer.device.id, link))
            for summary in summaries.reached(now, wearer.finisher.birth):
                await sink.send(summary)
            wearer.end_in_vain(now)
