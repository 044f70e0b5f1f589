"""A virtual cuff beside a virtual sensor, on the same wearer: it reads their pressure now and then.

Its readings err by a few mmHg, as those of real cuffs do.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import numpy as np

from innpar.devices.base import NS, Chunk, Event, HostClock, Source, Tap
from innpar.devices.sensors.cuff import CuffDevice, Measurement
from innpar.devices.simulated.device import CUFF_SPAN, read_cuff
from innpar.devices.virtual.device import VirtualDevice
from innpar.devices.virtual.sensors.bluetooth import RadioKind
from innpar.devices.virtual.sensors.cuff import VirtualCuff

FIRST = 20.0
"""Seconds until the first reading."""
EVERY = 180.0
"""Seconds between two readings."""


class VirtualCuffDevice(CuffDevice):
    """The real driver of a cuff, with a virtual cuff on a virtual radio.

    Args:
        cuff: The driver as it was created.
        wearers: All virtual devices of the run.
        radio: The virtual radio.
    """

    source: Source = "simulated"

    def __init__(
        self,
        cuff: CuffDevice,
        wearers: Sequence[VirtualDevice],
        radio: RadioKind = "bumble",
    ) -> None:
        super().__init__(cuff.who, wearer=cuff.wearer, user=cuff.user, identity=cuff.id)
        self._wearers = tuple(wearers)
        self._radio_kind: RadioKind = radio

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Put the cuff on the air, then open the driver; see `Device.open`."""
        cuff = VirtualCuff()
        cuff.answer_to(self.who)
        async with cuff.on_air(self._radio_kind, self):
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
            taken = datetime.fromtimestamp(clock.now() // NS)
            mean = round((sbp + 2 * dbp) / 3, 1)
            cuff.indicate(Measurement(sbp, dbp, mean, taken, user=self.user))

    def _pressures(self, rng: np.random.Generator) -> tuple[float, float]:
        """Return a reading, mmHg; NaN where the wearer's pressure is not known."""
        pressure = next(
            (w.pressure for w in self._wearers if self.is_for(w.id) and w.pressure), None
        )
        if pressure is None:
            return math.nan, math.nan
        times = np.concatenate([chunk.times for chunk in pressure])
        abp = np.concatenate([chunk.data[:, 0] for chunk in pressure])
        return read_cuff(abp[times > times[-1] - CUFF_SPAN * NS], rng)
