"""A cuff beside a virtual sensor, on the same wearer: now and then it reads their pressure.

It errs as a cuff does, by a few mmHg.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np

from innpar.devices.base import NS, Chunk, Event, HostClock, Source, Tap
from innpar.devices.sensors.cuff import CuffDevice, Measurement
from innpar.devices.simulated.device import CUFF_SPAN, read_cuff
from innpar.devices.virtual.device import Air, VirtualDevice, called, on_air
from innpar.devices.virtual.sensors.cuff import VirtualCuff

FIRST = 20.0
"""Seconds after which it reads for the first time."""
EVERY = 180.0
"""Seconds from a reading to the next."""


class VirtualCuffDevice(CuffDevice):
    """The real driver of a cuff, with a virtual one on a virtual radio.

    Args:
        cuff: The driver as it was asked for.
        wearers: Everybody who wears a virtual sensor.
        air: The radio.
    """

    def __init__(
        self, cuff: CuffDevice, wearers: Sequence[VirtualDevice], air: Air = "bumble"
    ) -> None:
        super().__init__(cuff.who, wearer=cuff.wearer, user=cuff.user, identity=cuff.id)
        self._wearers = tuple(wearers)
        self._air: Air = air

    @property
    def source(self) -> Source:
        """Never ``live``: nobody wears it."""
        return "simulated"

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Put the cuff on the air, then open the driver; see `Device.open`."""
        cuff = VirtualCuff()
        called(cuff, self.who)
        async with on_air(self._air, cuff, self):
            reading = asyncio.ensure_future(self._read(cuff, clock))
            try:
                async with super().open(clock=clock, tap=tap) as items:
                    yield items
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, cuff: VirtualCuff, clock: HostClock) -> None:
        rng = np.random.default_rng(0xC0FF)
        due = clock.now() + round(FIRST * NS)
        while True:
            await clock.sleep_until(due)
            due += round(EVERY * NS)
            sbp, dbp = self._pressures(rng)
            cuff.tell(Measurement(sbp, dbp, round((sbp + 2 * dbp) / 3, 1), user=self.user))

    def _pressures(self, rng: np.random.Generator) -> tuple[float, float]:
        """Return what it reads, mmHg; NaN where the wearer's pressure is not known."""
        felt = next((w.felt for w in self._wearers if self.is_for(w.id) and w.felt), None)
        if felt is None:
            return math.nan, math.nan
        times = np.concatenate([chunk.times for chunk in felt])
        abp = np.concatenate([chunk.data[:, 0] for chunk in felt])
        return read_cuff(abp[times > times[-1] - CUFF_SPAN * NS], rng)
