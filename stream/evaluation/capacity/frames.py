"""Sensors that send recorded Polar frames: the real driver's link and decoder, without a radio."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import numpy as np

from innpar.devices.base import NS, Chunk, Event, HostClock, Source, Tap
from innpar.devices.link.inbox import Arrival, Inbox
from innpar.devices.link.reconnect import LiveDevice, ReconnectingDevice
from innpar.devices.sensors.polar.decoder import DATA, PolarDecoder
from innpar.devices.sensors.polar.frames import MeasurementKind
from innpar.devices.simulated.device import Simulated
from innpar.devices.virtual.sensors.polar_encoder import encode
from innpar.stream.evaluation.capacity.core_clock import CoreClock

RATE = 55.0
"""Hz, a Verity Sense's in its normal mode."""
ROOM = 229
"""Bytes of a notification."""
AHEAD = 120
"""Samples offered for a frame, more than fit."""

Frame = tuple[int, bytes]
"""ns from the first sample to the last one in a notification, and its bytes."""


def record(person: int, seconds: float) -> list[Frame]:
    """Return the notifications of a simulated person at rest."""
    simulated = Simulated(
        seed=person, rate=RATE, duration=seconds, episodes=False, motion=False, dropouts=False
    )
    counts = np.concatenate(
        [
            item.data
            for item in simulated.items(0)
            if isinstance(item, Chunk) and item.signal == "ppg"
        ]
    ).astype(np.int64)
    times = np.rint(np.arange(len(counts)) * (NS / RATE)).astype(np.int64)
    frames, first = list[Frame](), 0
    while first < len(counts):
        part = slice(first, first + AHEAD)
        raw, taken = encode(MeasurementKind.PPG, 0x80, times[part], counts[part], ROOM)
        first += taken
        frames.append((int(times[first - 1]), raw))
    return frames


class FrameGenerator:
    """The radio's part: hands over the frames of all sensors at their times.

    Attributes:
        spent: CPU time of this thread in it so far, s.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: CoreClock) -> None:
        self._loop = loop
        self._clock = clock
        self.spent = 0.0

    def play(self, frames: Sequence[Frame], start: int, inbox: Inbox) -> None:
        """Begin to deliver frames.

        Args:
            start: Time of the first sample, ns since the Unix epoch.
            inbox: Their destination.
        """
        coming = iter(frames)
        following = next(coming, None)

        def deliver() -> None:
            nonlocal following
            began = time.thread_time()
            while following is not None and start + following[0] <= self._clock.now():
                inbox.post(Arrival(DATA, start + following[0], following[1]))
                following = next(coming, None)
            if following is not None:
                self._loop.call_at(self._clock.at(start + following[0]) + 1e-6, deliver)
            self.spent += time.thread_time() - began

        self._loop.call_soon(deliver)


class FrameDevice(LiveDevice):
    """A sensor that sends recorded frames.

    Args:
        number: Of the wearer; determines its name and its phase.
        frames: To send.
        generator: Delivers them.

    Attributes:
        available: When the frame that is being processed was received, ns since the Unix epoch.
    """

    source: Source = "simulated"
    polarity = -1
    site = "wrist"
    kind, who = "bench", ""

    def __init__(self, number: int, frames: Sequence[Frame], generator: FrameGenerator) -> None:
        self._id = f"bench-{number}"
        self.frames = frames
        self.generator = generator
        self.phase = number * 618_033_989 % NS  # golden-section steps: spread evenly for any count
        self.available = 0

    @property
    def id(self) -> str:
        return self._id

    def _connection(self, clock: HostClock, tap: Tap | None) -> ReconnectingDevice:
        return _FrameConnection(self, clock, tap)


class _FrameConnection(ReconnectingDevice):
    """A link that is always there."""

    def __init__(self, device: FrameDevice, clock: HostClock, tap: Tap | None) -> None:
        super().__init__(device, clock, tap)
        self._device = device
        self._polar = PolarDecoder(device.id, (RATE,))

    async def _connect_link(self, stack: AsyncExitStack) -> Inbox:
        inbox = Inbox(self._clock, "the frames are at their end")
        device = self._device
        device.generator.play(device.frames, self._clock.now() + device.phase, inbox)
        return inbox

    @property
    def _decoder(self) -> PolarDecoder:
        return self._polar

    def _decode(self, arrival: Arrival) -> list[Chunk | Event]:
        self._device.available = arrival.time
        return super()._decode(arrival)

    def _describe(self) -> dict[str, Any]:
        return {"rate": RATE, "channels": 4}

    async def _restart(self) -> None:
        """Do nothing: the frames are at their end."""


def sensors(
    count: int, people: int, seconds: float, generator: FrameGenerator
) -> list[FrameDevice]:
    """Return `count` sensors, worn by so many different people in turn."""
    recorded = [record(person, seconds) for person in range(min(people, count))]
    frames = itertools.cycle(recorded)
    return [FrameDevice(number, next(frames), generator) for number in range(count)]
