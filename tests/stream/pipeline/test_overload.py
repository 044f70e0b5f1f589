"""More work than a computer can do: delays stay bounded, and what is left out is said."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from innpar.devices import NS, Event
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace
from innpar.models.predictor import Prediction
from innpar.stream.evaluation.capacity.core_clock import EPOCH, CoreClock
from innpar.stream.evaluation.capacity.frames import (
    Frame,
    FrameDevice,
    FrameGenerator,
    record,
)
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.overload import BEHIND, CALM, PATIENCE, Backlog, ProcessLoad
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.wearer import Wearer, enrol
from innpar.stream.results import Beat, Item, Waveform
from support.harness import same, shipped
from support.simulated_loop import SimulatedLoop, run_simulated

HOP = 1.024
"""s between two windows of a wearer."""


class SlowPredictor:
    """The shipped network, which holds the loop for a time that the test chooses."""

    def __init__(self, loop: SimulatedLoop, cost: Callable[[float], float]) -> None:
        self._loop, self._cost = loop, cost
        self._network = shipped()

    def __getattr__(self, name: str) -> Any:
        return "native" if name == "backend" else getattr(self._network, name)

    def __call__(self, ppg: npt.NDArray[np.float32], *rest: Any, **more: Any) -> Prediction:
        self._loop.work(len(ppg) * self._cost(self._loop.now))
        return self._network(ppg, *rest, **more)


@dataclass
class Watched:
    """Sink that keeps every item, and the delay of each beat behind its frame, s."""

    clock: CoreClock
    devices: Mapping[str, FrameDevice | Flood]
    items: list[tuple[float, Item]] = field(default_factory=list)
    delays: list[tuple[float, str, float]] = field(default_factory=list)

    async def ready(self) -> None: ...

    async def send(self, item: Item) -> None:
        at = (self.clock.now() - EPOCH) / NS
        self.items.append((at, item))
        if isinstance(item, Beat):
            available = (self.devices[item.device].available - EPOCH) / NS
            self.delays.append((at, item.device, at - available))

    def gaps(self, since: float = 0.0) -> list[Event]:
        return [
            item
            for at, item in self.items
            if at >= since and isinstance(item, Event) and item.detail.get("why") == "overload"
        ]


class Flood(Simulated):
    """A device that claims to be in real time and sends thirty times as fast."""

    available = 0
    is_real_time = True

    def __init__(self, name: str) -> None:
        super().__init__(name, seed=1, lead=0, pace=Pace(30.0), episodes=False, cuff=False)


def served(
    frames: Sequence[Sequence[Frame]],
    seconds: float,
    cost: Callable[[float], float],
    *more: Flood,
) -> tuple[Watched, list[Wearer]]:
    """Serve one wearer for each recording; `cost` is that of a window, s, by the time."""
    loop = SimulatedLoop()
    clock = CoreClock(loop)
    began = loop.now
    generator = FrameGenerator(loop, clock)
    devices: list[FrameDevice | Flood] = [
        FrameDevice(number, frames[number], generator) for number in range(len(frames))
    ]
    devices += more
    watched = Watched(clock, {device.id: device for device in devices})
    engine = Engine(SlowPredictor(loop, lambda now: cost(now - began)))  # type: ignore[arg-type]
    wearers = [enrol(device, engine, clock) for device in devices]

    async def main() -> None:
        task = asyncio.create_task(run(wearers, engine, watched, clock))
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            task.result()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    run_simulated(loop, main())
    return watched, wearers


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return record(0, 60.0)


def test_an_overload_of_three_delays_by_less_than_two_seconds_and_ends_soon(
    frames: list[Frame],
) -> None:
    count, relief = 10, 25.0
    load = 3.0 * HOP / count
    watched, wearers = served([frames] * count, 36.0, lambda at: load if at < relief else 0.001)
    assert max(delay for _, _, delay in watched.delays) < 2.0
    left_out = [wearer.preparer.backlog.left_out for wearer in wearers]
    computed = [wearer.preparer.windows for wearer in wearers]
    assert sum(left_out) == len(watched.gaps()) > 3 * count
    assert max(computed) - min(computed) <= 0.5 * min(computed)  # no wearer is forgotten
    assert not watched.gaps(since=relief + 5)
    late = [delay for at, _, delay in watched.delays if at > relief + 5]
    assert late
    assert max(late) < 0.1


def test_the_newest_window_covers_those_left_out(frames: list[Frame]) -> None:
    """With half of the windows or more left out, nearly all of the waveform is there."""
    watched, wearers = served([frames] * 8, 25.0, lambda _: 3.0 * HOP / 8)
    left_out = sum(wearer.preparer.backlog.left_out for wearer in wearers)
    assert left_out > 0.4 * sum(wearer.preparer.windows for wearer in wearers)
    span = missing = 0
    for wearer in wearers:
        waves = [
            item
            for _, item in watched.items
            if isinstance(item, Waveform) and (item.device, item.kind) == (wearer.device.id, "ppg")
        ]
        ends = [one.start + round(len(one.samples) * NS / one.rate) for one in waves]
        span += ends[-1] - waves[0].start
        missing += sum(one.start - end for one, end in zip(waves[1:], ends, strict=False))
    assert span > 60 * NS
    assert missing < 0.1 * span


def test_a_pause_of_the_whole_computer_leaves_nothing_out(frames: list[Frame]) -> None:
    paused = [False]

    def cost(at: float) -> float:
        if at > 15 and not paused[0]:
            paused[0] = True
            return 4.0
        return 0.004

    watched, _ = served([frames] * 3, 30.0, cost)
    assert paused[0]
    assert not watched.gaps()
    assert max(delay for _, _, delay in watched.delays) > 2.0
    assert max(delay for at, _, delay in watched.delays if at > 21) < 0.1


def test_a_flood_harms_its_own_wearer_only(frames: list[Frame]) -> None:
    """One device sends thirty times as fast as it should; two others as usual."""
    usual, _ = served([frames, frames], 14.0, lambda _: 0.05)
    watched, wearers = served([frames, frames], 14.0, lambda _: 0.05, Flood("flood"))
    assert wearers[2].preparer.backlog.left_out > 20
    assert {gap.device for gap in watched.gaps()} == {wearers[2].device.id}
    for wearer in wearers[:2]:
        name = wearer.device.id
        beats = [b for _, b in usual.items if isinstance(b, Beat) and b.device == name]
        flooded = [b for _, b in watched.items if isinstance(b, Beat) and b.device == name]
        assert len(beats) > 5
        assert same(beats, flooded[: len(beats)])
        assert max(delay for _, device, delay in watched.delays if device == name) < 0.3


def test_a_wearer_alone_is_never_behind(frames: list[Frame]) -> None:
    watched, wearers = served([frames], 30.0, lambda _: 0.5 * HOP)
    assert not watched.gaps()
    assert wearers[0].preparer.windows > 20


def leaves_out(backlog: Backlog, arrival: int, now: int) -> bool:
    backlog.take(arrival, now)
    return backlog.leaves_out()


def test_patience_and_calm() -> None:
    backlog, late = Backlog(ProcessLoad()), BEHIND + 1
    assert not leaves_out(backlog, 0, 10**18)  # unknown
    assert not leaves_out(backlog, NS, NS + late)
    assert not leaves_out(backlog, NS + PATIENCE - 1, NS + PATIENCE - 1 + late)
    assert leaves_out(backlog, NS + PATIENCE, NS + PATIENCE + late)
    assert not leaves_out(backlog, 3 * NS, 3 * NS)  # the newest
    assert leaves_out(backlog, 4 * NS - late, 4 * NS)  # without patience so soon after
    assert not leaves_out(backlog, 4 * NS + CALM + 1, 4 * NS + CALM + 1)
    assert not leaves_out(backlog, 5 * NS + CALM - late, 5 * NS + CALM)


def test_however_late_a_wearer_has_its_turn() -> None:
    """Of windows that are always late, as many are computed as of the others."""
    load = ProcessLoad()
    early, last = Backlog(load), Backlog(load)
    computed = {early: 0, last: 0}
    for k in range(20, 400):
        now = k * NS // 4
        for backlog, wait in ((early, BEHIND // 2 if k % 4 == 0 else NS), (last, NS)):
            computed[backlog] += not leaves_out(backlog, now - wait, now)
    assert 0 < computed[last] < 200
    assert computed[early] <= 3 * computed[last]


def test_a_clock_that_is_set_leaves_nothing_out() -> None:
    backlog, hour = Backlog(ProcessLoad()), 3600 * NS
    for k in range(1, 20):
        assert not leaves_out(backlog, k * NS, k * NS)
    assert not leaves_out(backlog, 20 * NS, 20 * NS + hour)
    for k in range(21, 40):
        assert not leaves_out(backlog, k * NS + hour, k * NS + hour)
    for k in range(41, 60):  # and set back
        assert not leaves_out(backlog, k * NS, k * NS - hour)
