"""The pipeline of every wearer: a device in, beats out.

::

    device       Chunk, Event
      │   wearer.place         injected events and cuff readings ahead of their samples; duration
      │   tape.take            recording
      ▼
    prepare      windows.resample ─▶ windows.window ─▶ windows.channel (filter, quality)
      │          ─▶ windows.motion ─▶ calibration.tracker             Prepared, one a window
      ▼
    engine       the network, shared by all wearers                   Reconstructed
      ▼
    finish       windows.quality ─▶ calibration.apply ─▶ beats.combine ─▶ beats.detector
      │          ─▶ beats.plausibility ─▶ calibration.check ─▶ beats.summary ─▶ beats.reference
      ▼
    sink         Beat, EarlyBeat, Waveform, Summary, DeviceInfo, State, Event

`advance` takes one item all the way. The stages run in the order of the calls in `Preparer.push`
and `Finisher.push`: a new stage is a file of its own and one call there.
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
    is_real_time,
    notice,
)
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.prepare import Prepared, Ready
from innpar.stream.pipeline.supervision import ENDS_THE_RUN, first_of, report_failure
from innpar.stream.pipeline.tape import NO_TAPE, Tape
from innpar.stream.pipeline.wearer import DurationElapsed, Wearer
from innpar.stream.results import Item, State
from innpar.stream.sinks.base import Sink

log: logging.Logger = logging.getLogger(__name__)


async def run(
    wearers: Sequence[Wearer],
    engine: Engine,
    sink: Sink,
    clock: HostClock,
    tape: Tape = NO_TAPE,
) -> None:
    """Stream every wearer until the devices end, the duration has elapsed, or cancellation.

    Args:
        wearers: To stream.
        engine: The network they share.
        sink: Destination of the results.
        clock: The host's.
        tape: Recording of the devices' items, ahead of the pipeline.

    Raises:
        DeviceError: A device could not be opened, or failed later; in the latter case the others
            first stream to their own ends. So they do after any unforeseen error of one stream,
            which is then raised as it is.
    """
    failures: list[Exception] = []

    async def one(wearer: Wearer) -> None:
        try:
            await stream(wearer, engine, sink, clock, tape)
        except Exception as raised:
            error = first_of(raised)
            if isinstance(error, DeviceError) and error.after_start:
                failures.append(error)
            elif isinstance(error, Exception) and not isinstance(error, ENDS_THE_RUN):
                failures.append(error)
                await report_failure(wearer, error, sink, clock)
            else:
                raise

    async with engine.running():
        try:
            async with asyncio.TaskGroup() as group:
                streams = [
                    group.create_task(one(wearer), name=wearer.device.id) for wearer in wearers
                ]
                watch = group.create_task(watch_silence(wearers, sink, clock), name="silence")
                group.create_task(_end_with(watch, streams), name="end")
        except ExceptionGroup as group_error:
            raise first_of(group_error) from None
    if failures:
        raise failures[0]


async def _end_with(watch: asyncio.Task[None], streams: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(streams)
    watch.cancel()


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
        wearer.opened()
        tape.enrol(device, wearer.info.session, wearer.require_calibration, wearer.mode)
        await sink.send(State(device.id, "online"))
        if is_real_time(device):
            wearer.begin(clock.now())
        await send([*wearer.recall(clock.now())], device, sink)
        failure: DeviceError | None = None
        try:
            try:
                await _follow(wearer, items, engine, sink, clock, tape)
            except DeviceError as error:
                failure = error
                failure.after_start = wearer.first is not None
            await deliver(wearer, wearer.preparer.flush(), engine, sink)
            await send(wearer.finisher.flush(wearer.info), device, sink)
        finally:
            for summary in wearer.close():
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
    """Take the device's items until they end or the duration has elapsed."""
    try:
        async with wearer.patient(clock.now()):
            async for item in items:
                async with engine.turn(is_real_time(wearer.device)):
                    if wearer.over(item):
                        return
                    if isinstance(item, Chunk) and item.signal == "ppg":
                        wearer.arrived(item, clock.now())
                    for part in wearer.place(item):
                        await send([*tape.take(part)], wearer.device, sink)
                        await advance(wearer, part, engine, sink)
                await wearer.store()
                tape.learnt(wearer.device.id, wearer.effective, wearer.last)
    except DurationElapsed:
        now = clock.now()
        text = f"{wearer.duration:g} s have elapsed, with {wearer.seconds:.0f} s of signal"
        await sink.send(notice(wearer.device.id, now, NoticeCode.DURATION_OVER, text))


async def advance(wearer: Wearer, item: Chunk | Event, engine: Engine, sink: Sink) -> None:
    """Take one item of a device through the whole pipeline."""
    if isinstance(item, Chunk) and item.signal == "abp":
        await send(wearer.finisher.truth(item), wearer.device, sink)
    else:
        await deliver(wearer, wearer.prepare(item), engine, sink)


async def deliver(
    wearer: Wearer,
    ready: Sequence[Ready],
    engine: Engine,
    sink: Sink,
) -> None:
    """Reconstruct the windows that are ready and publish the results, in order."""
    windows = [one for one in ready if isinstance(one, Prepared) and not one.blank]
    found = dict(zip(windows, await engine.reconstruct(windows), strict=True))
    for one in ready:
        if not isinstance(one, Prepared):
            await send(wearer.note(one), wearer.device, sink)
            continue
        if not one.blank:
            await send(wearer.finish(one, found[one]), wearer.device, sink)
        await send(wearer.passed(one), wearer.device, sink)
    if windows:  # the turn of the other streams: a flood of windows delays them by one
        await asyncio.sleep(0)


async def send(items: Sequence[Item], device: Device, sink: Sink) -> None:
    """Publish; a device in real time must not wait for room, any other waits."""
    for item in items:
        if not is_real_time(device):
            await sink.ready()
        await sink.send(item)


async def watch_silence(wearers: Sequence[Wearer], sink: Sink, clock: HostClock) -> None:
    """Publish when a device stops sending, connected or not, and when it sends again.

    Summaries continue meanwhile, by the clock; a device that is silent at the end of its duration
    is ended.
    """
    real_time = [wearer for wearer in wearers if is_real_time(wearer.device)]
    while True:
        await asyncio.sleep(1)
        for wearer in list(real_time):
            now = clock.now()
            try:
                for item in wearer.tick(now):
                    await sink.send(item)
                wearer.end_if_silent(now)
            except ENDS_THE_RUN:
                raise
            except Exception:
                log.exception("%s: its presence is no longer watched", wearer.device.id)
                real_time.remove(wearer)
