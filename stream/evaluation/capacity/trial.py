"""One trial of the benchmark: so many wearers in a process of its own, measured from inside.

python -m innpar.stream.evaluation.capacity.trial '{"wearers": 10, "broker": "mqtt://…"}'
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from innpar.devices.base import NS
from innpar.models.predictor import Predictor
from innpar.stream.calibration.types import PlannedCuff
from innpar.stream.evaluation.capacity.core_clock import CoreClock, CoreLoop
from innpar.stream.evaluation.capacity.frames import FrameDevice, FrameGenerator, sensors
from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.publisher import MOST_WAVES, MessageOptions
from innpar.stream.mqtt.sink import MqttSink
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.wearer import Wearer, enrol
from innpar.stream.results import Beat, Item

WARM_UP = 25.0
"""s of signal ahead of the measurement: first windows, and a cuff reading of every wearer."""
CUFFS = 10.0, 20.0
"""Seconds between which the cuff readings are spread."""
PEOPLE = 8


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """Settings of a trial.

    Attributes:
        wearers: Their number.
        broker: URL of the broker.
        seconds: Of signal that are measured.
        model: Of the network; None for the shipped one.
        backend: See `Predictor.load`.
        waveforms: Whether they are published; None as in a run of so many.
    """

    wearers: int
    broker: str
    seconds: float = 20.0
    model: str | None = None
    backend: str | None = None
    waveforms: bool | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """Result of a trial.

    Attributes:
        wearers: Their number.
        core: Share of a core that the process used, generator and clock of the benchmark aside.
        cpu_ms: CPU time a wearer and second of signal, ms.
        p50_ms, p95_ms, p99_ms: From the receipt of the frame that completed a beat until the beat
            was handed to the socket, ms of a core of its own.
        beats: In the measured time.
        messages: A second, acknowledged by the broker or written to it.
        shed: Windows left out because the process was too slow.
        lost: Waveforms and beats dropped, and notifications.
        rss_mb: Memory of the process.
        generator_ms: CPU time of the generator a wearer and second, ms.
        wall: Wall time of the measured seconds, s.
        seconds: Measured, on that clock.
        whole: The same with the warm-up.
    """

    wearers: int
    core: float
    cpu_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    beats: int
    messages: float
    shed: int
    lost: int
    rss_mb: float
    generator_ms: float
    wall: float
    seconds: float
    whole: float


class TimingSink:
    """Sink that notes when the frame behind each beat was received, ahead of the MQTT sink."""

    def __init__(self, mqtt: MqttSink, devices: dict[str, FrameDevice], clock: CoreClock) -> None:
        self._mqtt = mqtt
        self._devices = devices
        self._clock = clock
        self._available: dict[tuple[str, str], int] = {}
        self.delays: list[float] = []
        mqtt.watch_handover(self._handed)

    async def send(self, item: Item) -> None:
        if isinstance(item, Beat):
            key = item.device, str(item.seq)
            self._available[key] = self._devices[item.device].available
        await self._mqtt.send(item)

    async def ready(self) -> None:
        await self._mqtt.ready()

    def _handed(self, parcel: Parcel) -> None:
        sequence = dict(parcel.headers).get("seq", "")
        available = self._available.pop((parcel.topics[-1].split("/")[2], sequence), None)
        if available is not None:
            self.delays.append((self._clock.now() - available) / 1e6)


@dataclass(frozen=True, slots=True)
class _Mark:
    """Readings of all counters at one moment."""

    time: float
    wall: float
    cpu: float
    aside: float
    generator: float
    delays: int
    messages: int
    shed: int
    lost: int


class _Process:
    """The process under test."""

    def __init__(self, settings: TrialSettings, loop: CoreLoop) -> None:
        self.settings = settings
        self._loop = loop
        self.predictor = Predictor.load(
            Path(settings.model) if settings.model else None, backend=settings.backend, threads=1
        )

    async def measure(self) -> Trial:
        settings, loop = self.settings, self._loop
        with tempfile.TemporaryDirectory() as folder:
            waves = settings.waveforms
            if waves is None:
                waves = settings.wearers <= MOST_WAVES
            async with MqttSink.open(
                Address.parse(settings.broker),
                node="bench",
                topic="bench",
                state=Path(folder),
                options=MessageOptions("json" if waves else "off"),
            ) as mqtt:
                loop.dedicate(lambda: mqtt.awaits)
                clock, began = CoreClock(loop), loop.time()
                generator = FrameGenerator(loop, clock)
                length = WARM_UP + settings.seconds + 5.0
                devices = sensors(settings.wearers, PEOPLE, length, generator)
                sink = TimingSink(mqtt, {device.id: device for device in devices}, clock)
                engine = Engine(self.predictor)
                wearers = [self._wearer(device, engine, clock) for device in devices]
                task = asyncio.create_task(run(wearers, engine, sink, clock))
                marks = []
                for pause in (WARM_UP, settings.seconds):
                    await asyncio.wait({task}, timeout=pause)
                    if task.done():
                        task.result()
                    marks.append(_mark(loop, generator, sink, mqtt, wearers))
                whole = loop.time() - began
                result = _trial(settings, marks[0], marks[1], sink.delays, whole)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                await mqtt.flush()
        return result

    def _wearer(self, device: FrameDevice, engine: Engine, clock: CoreClock) -> Wearer:
        first, last = CUFFS
        at = first + device.phase / NS * (last - first)
        return enrol(device, engine, clock, cuffs=[PlannedCuff(124.0, 78.0, None, at)])


def _mark(
    loop: CoreLoop,
    generator: FrameGenerator,
    sink: TimingSink,
    mqtt: MqttSink,
    wearers: list[Wearer],
) -> _Mark:
    counts = mqtt.counts
    return _Mark(
        loop.time(),
        time.monotonic(),
        time.process_time(),
        generator.spent + loop.reading,
        generator.spent,
        len(sink.delays),
        counts["published"],
        sum(wearer.preparer.backlog.left_out for wearer in wearers),
        counts["dropped"] + counts["dropped_waveforms"],
    )


def _trial(
    settings: TrialSettings, begin: _Mark, end: _Mark, delays: list[float], whole: float
) -> Trial:
    span = end.time - begin.time
    generator = end.generator - begin.generator
    cpu = end.cpu - begin.cpu - (end.aside - begin.aside)
    wearer_seconds = settings.wearers * span
    own = delays[begin.delays : end.delays]
    p50, p95, p99 = np.percentile(own or [float("nan")], (50, 95, 99)).tolist()
    return Trial(
        wearers=settings.wearers,
        core=cpu / span,
        cpu_ms=1e3 * cpu / wearer_seconds,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        beats=len(own),
        messages=(end.messages - begin.messages) / span,
        shed=end.shed - begin.shed,
        lost=end.lost - begin.lost,
        rss_mb=resident_mb(),
        generator_ms=1e3 * generator / wearer_seconds,
        wall=end.wall - begin.wall,
        seconds=span,
        whole=whole,
    )


def resident_mb() -> float:
    """Return the memory of this process, MB; its peak where the present is unknown."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure(settings: TrialSettings) -> Trial:
    """Run a trial in this process."""
    loop = CoreLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(_Process(settings, loop).measure())


def main(arguments: list[str]) -> int:
    """Run a trial and print its result as JSON."""
    # Its warning is about the wall clock.
    logging.getLogger("innpar.stream.mqtt.loop_lag").setLevel(logging.ERROR)
    given: dict[str, Any] = json.loads(arguments[0])
    print(json.dumps(asdict(measure(TrialSettings(**given)))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
