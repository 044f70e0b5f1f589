"""A virtual sensor that samples its light at a steady rate and sends in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from innpar.devices.base import NS, HostClock
from innpar.devices.link.inbox import wait
from innpar.devices.virtual.radio.peripheral import Characteristic, Send
from innpar.devices.virtual.sensors.simple import Simple
from innpar.devices.virtual.world.faults import Faults, Mishaps, cut
from innpar.devices.virtual.world.light import Ints, Light

Batch = list[tuple[str, bytes]]
"""Notifications of samples taken together: (characteristic, value)."""


def _cut(batch: Batch, share: float) -> Batch:
    return [(uuid, cut(raw, share)) for uuid, raw in batch]


class Feeding(Simple):
    """A `Simple` that samples its light at a steady rate, in batches.

    Samples lie on a grid that begins when the sensor is made; those not received were still taken.

    Args:
        name, services, advertised, address: See `Simple`.
        clock: The host clock, by which the sensor acts.
        light: Light at its sensor.
        rate: Sampling rate, Hz.
        batch: Samples sent together.
        faults: May be changed at any time, except the rate and the MTU.

    Attributes:
        on: Whether it sends.
    """

    def __init__(
        self,
        name: str,
        services: Mapping[str, Sequence[Characteristic]],
        clock: HostClock,
        light: Light,
        rate: float,
        batch: int,
        *,
        advertised: tuple[str, ...] = (),
        address: str,
        faults: Faults | None = None,
    ) -> None:
        self.faults: Faults = faults or Faults()
        mtu = self.faults.mtu or 247
        super().__init__(name, services, advertised=advertised, address=address, mtu=mtu)
        self._mishaps: Mishaps[Batch] = Mishaps(self.faults, np.random.default_rng(0), _cut)
        self._clock, self._light = clock, light
        self._rate, self._batch = rate * self.faults.off_rate, batch
        self._on_at = clock.now()
        self.on = True

    def encode(self, number: int, counts: Ints) -> Batch:
        """Return the notifications of one batch, (samples, 4) counts."""
        raise NotImplementedError

    async def run(self, send: Send, mtu: Callable[[], int]) -> None:
        """Serve one connection until cancelled."""
        number = self._number(self._clock.now())
        while True:
            while self._out:
                await send(*self._out.popleft())
            while self._due(number) <= self._clock.now():
                for uuid, data in self._sample(number):
                    await send(uuid, data)
                number += 1
            self._news.clear()
            await wait(self._news, self._due(number), self._clock)

    def _sample(self, number: int) -> Batch:
        places = np.arange(number * self._batch, (number + 1) * self._batch)
        times = self._on_at + np.rint(places * (NS / self._rate)).astype(np.int64)
        batch = self.encode(number, self._light(times))
        left = self._mishaps.of(batch)
        return [frame for one in left for frame in one] if self.on else []

    def _number(self, now: int) -> int:
        """Return the number of the batch being taken at `now`."""
        return int((now - self._on_at) * self._rate / NS) // self._batch

    def _due(self, number: int) -> int:
        return self._on_at + round((number + 1) * self._batch * NS / self._rate)


class Gain:
    """Automatic gain: scales an inverted waveform to a range, as oximeters do.

    Args:
        low: Lowest level.
        high: Highest level.
    """

    def __init__(self, low: int, high: int) -> None:
        self._range = low, high
        self._low = self._high = float("nan")

    def __call__(self, counts: Ints) -> list[int]:
        """Return the levels of (samples,) counts of reflected light."""
        low, high = self._range
        levels = []
        for absorbed in (-counts).tolist():
            self._low = min(np.nan_to_num(self._low, nan=absorbed), absorbed)
            self._high = max(np.nan_to_num(self._high, nan=absorbed), absorbed)
            span = max(self._high - self._low, 1.0)
            levels.append(low + round((high - low) * (absorbed - self._low) / span))
            self._low, self._high = self._low + span * 2e-4, self._high - span * 2e-4
        return levels
