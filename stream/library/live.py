"""`live`: one device, its beats as they come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from innpar.devices import Device, Event
from innpar.devices.timing.pace import SystemClock
from innpar.stream.library.parts import predictor_beside, reading_from, sensor_from
from innpar.stream.mqtt.address import check_root
from innpar.stream.mqtt.broker import broker_for
from innpar.stream.mqtt.sink import MqttSink
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.steering import inject
from innpar.stream.pipeline.wearer import Wearer, enrol
from innpar.stream.results import Beat, Item, State
from innpar.stream.sinks.base import FanOut, Sink

if TYPE_CHECKING:
    from innpar.models.predictor import Predictor

ROOM = 1024
"""Beats that wait to be taken: a quarter of an hour."""


class LiveBeats:
    """The beats of one device, in order; made by `live`. Iterate over it with ``async for``.

    Attributes:
        dropped: Beats that were dropped, the oldest first, because too many were waiting. Only a
            device that goes by the clock drops any; a recording waits.
    """

    def __init__(self, wearer: Wearer, room: int = ROOM) -> None:
        self.dropped: int = 0
        self._wearer = wearer
        self._room = room
        self._beats: deque[Beat] = deque()
        self._online: bool = False
        self._news = asyncio.Event()
        self._taken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._raised: bool = False

    @property
    def device(self) -> Device:
        """The device; its `id` is final."""
        return self._wearer.device

    def __aiter__(self) -> AsyncIterator[Beat]:
        return self

    async def __anext__(self) -> Beat:
        while not self._beats:
            if self._ended():
                raise StopAsyncIteration
            await self._wait()
        self._taken.set()
        return self._beats.popleft()

    def calibrate(self, sbp: float, dbp: float) -> None:
        """Give a cuff reading, mmHg, taken now.

        Raises:
            ValueError: These are no possible pressures, or the device has sent nothing yet.
        """
        reading = reading_from((sbp, dbp))
        if self._wearer.first is None:
            raise ValueError("the device has sent nothing yet; give the reading after a beat")
        name, at = self.device.id, self._wearer.last
        inject(self._wearer, Event(name, "cuff", at, at, {"sbp": reading.sbp, "dbp": reading.dbp}))

    async def send(self, item: Item) -> None:
        """Keep a beat; never waits. Called by the pipeline."""
        if isinstance(item, State) and item.state == "online":
            self._online = True
            self._news.set()
        elif isinstance(item, Beat):
            if len(self._beats) >= self._room:
                self._beats.popleft()
                self.dropped += 1
            self._beats.append(item)
            self._news.set()

    async def ready(self) -> None:
        """Return when there is room. Called by the pipeline, of devices that can wait."""
        while len(self._beats) >= self._room:
            self._taken.clear()
            await self._taken.wait()

    async def _follow(self, task: asyncio.Task[None]) -> None:
        """Return once the device is connected, or the stream has ended."""
        self._task = task
        task.add_done_callback(lambda _: self._news.set())
        while not self._online and not self._ended():
            await self._wait()

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _ended(self) -> bool:
        """Return whether the stream has ended; raise the error that ended it."""
        if self._task is None or not self._task.done():
            return False
        self._raised = True
        self._task.result()
        return True

    async def _end(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        """Disconnect; raise the error that ended the stream unless it has been raised already."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        failed = None if self._task.cancelled() else self._task.exception()
        if failed is not None and error is None and not self._raised:
            raise failed


@asynccontextmanager
async def live(
    device: str | Device,
    *,
    cuff: str | tuple[float, float] | None = None,
    rate: float | None = None,
    model: str | Path | Predictor | None = None,
    broker: str | None = None,
    topic: str = "bp",
) -> AsyncIterator[LiveBeats]:
    """Connect to a device, and yield its beats; leaving disconnects and leaves no task.

    ::

        async with innpar.live("polar-verity", cuff="128/79") as beats:
            async for beat in beats:
                print(beat.time, beat.sbp, beat.dbp, beat.valid, beat.reasons)

    A live device reconnects by itself and its beats never end; those of a recording end with it.
    Up to 1024 beats wait to be taken; then the oldest are dropped and counted in
    ``beats.dropped``. One device; `innpar.stream.run` takes several, and gives waveforms and
    events as well. Nothing is recorded, remembered or published, but for `broker`. The network runs
    in a thread of its own; with ``torch.set_num_threads(1)`` a busy neighbour does not delay it.

    Args:
        device: Its name as ``--device`` takes it (``"demo"``, ``"replay:FILE"``), or a device of
            your own. ``open_device("replay:FILE", pace=Pace(math.inf))`` of `innpar.devices` makes
            one that is as fast as its beats are taken.
        cuff: A cuff reading: (sbp, dbp) in mmHg, ``"128/79"``, or ``"128/79@60"`` after 60 s of
            signal. `LiveBeats.calibrate` takes later ones.
        rate: Hz, of devices that have a choice.
        model: A ``manifest.json``, its folder or a `Predictor`; the network of this package where
            not given.
        broker: Also publish there: ``mqtt://host:port``, or ``"embedded"`` for a broker of our own.
        topic: First levels of every MQTT topic.

    Raises:
        NotFound, Refused: On entering: the device is not there, or said no.
        DeviceError: While iterating: it failed for good.
        BrokerError: On entering: there is no such broker.
        ModelError: There is no such model.
        ValueError: The reading is none.
    """
    sensor = sensor_from(device, rate)
    cuffs = [] if cuff is None else [reading_from(cuff)]
    clock, engine = SystemClock(), Engine(await predictor_beside(model))
    wearer = enrol(sensor, engine, clock, cuffs=cuffs)
    beats = LiveBeats(wearer)
    async with AsyncExitStack() as stack:
        sinks: list[Sink] = [beats]
        if broker is not None:
            check_root(topic)
            own = broker == "embedded"
            address = await stack.enter_async_context(
                broker_for(None if own else broker, embedded=own)
            )
            sinks.append(await stack.enter_async_context(MqttSink.open(address, topic=topic)))
        stack.push_async_exit(beats._end)
        task = asyncio.create_task(run([wearer], engine, FanOut(sinks), clock), name="live")
        await beats._follow(task)
        yield beats
